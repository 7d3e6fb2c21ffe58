# ruff: noqa: S311 - reproducible test data, no cryptography
"""What a leak looks like, for every leak test: values, their disguises, and a slow, plain search.

Nothing here shares code with the guard: ``find`` is the oracle that also checks the guard.
"""

from __future__ import annotations

import base64
import codecs
import gzip
import hashlib
import html
import json
import random
import re
import shlex
import string
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from tests.leaks.ordinary import frame, ordinary

__all__ = ["STRONG", "VALUES", "encodings", "find", "frame", "ordinary"]

_ALPHANUMERIC = string.ascii_letters + string.digits


def _invented(seed: str, length: int, alphabet: str = _ALPHANUMERIC) -> str:
    return "".join(random.Random(seed).choices(alphabet, k=length))


def _pem(seed: str, size: int) -> bytes:
    body = base64.b64encode(random.Random(seed).randbytes(size)).decode()
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return "\n".join(
        ["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----", ""]
    ).encode()


# Values that a guard must find.
STRONG: Mapping[str, bytes] = {
    "random 24": _invented("r24", 24).encode(),
    "random 12": _invented("r12", 12).encode(),
    "random 32 hex": _invented("hex", 32, "0123456789abcdef").encode(),
    "punctuated": b'p@ss"w\\ord/+CANARY-7391&<x>',
    "random 30 of all printable": _invented("all", 30, string.printable[:94]).encode(),
    "PEM": _pem("pem", 300),
    "JSON": json.dumps(
        {"username": "app", "password": _invented("json", 24), "port": 5432}
    ).encode(),
    "DSN": f"postgres://app:{_invented('dsn', 20)}@db.internal.example:5432/app".encode(),
    "Unicode": "Ключ-канарейки-Ζωή-7f3kQ-größe".encode(),
    "awkward": b"canary k9Q$(x)'z7\n\x00\"vB3m\\nT8w\t$HOME#r5Jq",
    "64 KB": _pem("large", 48_000),
}
# Values about which no equality signal may exist (P1b): a guard must ignore them.
WEAK: Mapping[str, bytes] = {
    "PIN": b"482913",
    "true": b"true",
    "common word": b"password",
    "words": b"production-database",
}
VALUES: Mapping[str, bytes] = {**STRONG, **WEAK}

_LONG, _LARGE = 256, 8192
_ZERO_WIDTH = "\u200b"


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _core(value: bytes) -> str:
    """The longest stretch without white space, quotes, brackets or URL punctuation."""
    runs: list[str] = re.findall(r"[^\s\"'\\{}\[\],:@\x00]+", _text(value))
    return max(runs, key=len)


def _part(value: bytes) -> int:
    """How many characters of a value are already a leak: the guard's rule for short and long."""
    if len(_text(value)) <= 12:
        return 4
    if not set(value) - set(b"0123456789abcdefABCDEF"):
        return 8
    if len(value) > _LARGE:
        return 24
    return 6 if len(value) <= _LONG else 9


def _variety(part: str) -> int:
    """Changes between classes of characters: where a value reads least like words."""
    classes = [(c.isalpha(), c.isdigit(), c.isupper()) for c in part]
    return sum(a != b for a, b in pairwise(classes))


def _base64_forms(value: bytes) -> Iterator[tuple[str, bytes]]:
    standard = base64.b64encode(value)
    yield "base64", standard
    yield "base64 unpadded", standard.rstrip(b"=")
    yield "base64 URL alphabet", base64.urlsafe_b64encode(value)
    yield "base64 at offset 1", base64.b64encode(b"svc:" + value + b":x")
    yield "base64 at offset 2", base64.b64encode(b"admin:" + b"ab" + value)
    yield "base64 wrapped", base64.encodebytes(value)
    yield "base64 of UTF-16LE", base64.b64encode(_text(value).encode("utf-16-le"))
    yield "base64 twice", base64.b64encode(standard)
    yield "base32", base64.b32encode(value)
    yield "gzip and base64", base64.b64encode(gzip.compress(b"log: " + value, mtime=0))
    yield "zlib and base64", base64.b64encode(zlib.compress(b"log: " + value))
    yield "basic authorization", b"Authorization: Basic " + base64.b64encode(b"app:" + value)


def _hex_forms(value: bytes) -> Iterator[tuple[str, bytes]]:
    pairs = [f"{byte:02x}" for byte in value]
    yield "hex", "".join(pairs).encode()
    yield "HEX", "".join(pairs).upper().encode()
    yield "colon hex", ":".join(pairs).encode()
    yield "spaced hex", " ".join(pairs).encode()
    yield "backslash x", "".join("\\x" + pair for pair in pairs).encode()
    yield "percent, every byte", "".join("%" + pair for pair in pairs).encode()


def _escaped_forms(value: bytes) -> Iterator[tuple[str, bytes]]:
    text = _text(value)
    percent = quote(value, safe="")
    yield "percent", percent.encode()
    yield "percent, lower case", re.sub(r"%..", lambda m: m.group().lower(), percent).encode()
    yield "percent twice", quote(percent, safe="").encode()
    yield "JSON", json.dumps(text).encode()
    yield "JSON twice", json.dumps(json.dumps(text)).encode()
    units = text.encode("utf-16-be")
    codes = (f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
    yield "\\u, every character", "".join(codes).encode()
    yield "HTML", html.escape(text).encode()
    yield "HTML twice", html.escape(html.escape(text)).encode()
    yield "HTML, every character", "".join(f"&#{ord(c)};" for c in text).encode()
    yield "HTML hex, every character", "".join(f"&#x{ord(c):x};" for c in text).encode()
    yield "XML attribute", quoteattr(text).encode()
    yield "YAML single", ("'" + text.replace("'", "''") + "'").encode()
    yield "YAML double", json.dumps(text, ensure_ascii=False).encode()
    yield "YAML folded", (">-\n  " + "\n  ".join(_chunks(text, 20))).encode()
    yield "shell", shlex.quote(text).encode()
    yield "C", repr(value)[2:-1].encode()


def _chunks(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def _rewritten_forms(value: bytes) -> Iterator[tuple[str, bytes]]:
    text = _text(value)
    half = len(text) // 2
    yield "reversed", text[::-1].encode()
    yield "rot13", codecs.encode(text, "rot13").encode()
    yield "upper case", text.upper().encode()
    yield "lower case", text.lower().encode()
    yield "spaces between", " ".join(text).encode()
    yield "zero width between", _ZERO_WIDTH.join(text).encode()
    yield "line breaks between", "\n".join(_chunks(text, 5)).encode()
    yield "list of characters", json.dumps(list(text), ensure_ascii=False).encode()
    yield "list of pieces", json.dumps(_chunks(text, 3), ensure_ascii=False).encode()
    yield "two fields", json.dumps({"a": text[:half], "b": text[half:]}).encode()
    yield "full width", "".join(_full_width(c) for c in text).encode()


def _full_width(character: str) -> str:
    return chr(ord(character) + 0xFEE0) if "!" <= character <= "~" else character


def _partial_forms(value: bytes) -> Iterator[tuple[str, bytes]]:
    core, size = _core(value), _part(value)
    middle = max(range(len(core) - size + 1), key=lambda at: _variety(core[at : at + size]))
    yield "first characters", core[:size].encode()
    yield "last characters", core[-size:].encode()
    yield "middle characters", core[middle : middle + size].encode()
    yield "prefix mask", (_sensitive(value)[:5] + "*****").encode()
    yield "suffix mask", ("*****" + _sensitive(value)[-5:]).encode()
    lines = [line for line in value.splitlines() if len(line) > 8 and b"-----" not in line]
    if len(lines) > 1:
        yield "first line", lines[0]
        yield "last line", lines[-1]
        yield "a line in base64", base64.b64encode(max(lines, key=len))


def _sensitive(value: bytes) -> str:
    """What remains of a value without its armour: the body of a PEM, the core of a structure."""
    text = _text(value)
    if text.startswith("-----BEGIN"):
        return "".join(line for line in text.splitlines() if "-----" not in line)
    return _core(value) if text.startswith(("{", "postgres:")) else text.strip()


def _used_forms(value: bytes) -> Iterator[tuple[str, bytes]]:
    text = quote(value, safe="")
    yield "URL userinfo", f"https://app:{text}@db.internal.example/v1".encode()
    yield "DSN", b"host=db.internal.example user=app password='" + value + b"' dbname=app"
    yield "bearer", b"Authorization: Bearer " + value
    yield "MD5", hashlib.md5(value, usedforsecurity=False).hexdigest().encode()
    yield "SHA-1", hashlib.sha1(value, usedforsecurity=False).hexdigest().encode()
    yield "SHA-256", hashlib.sha256(value).hexdigest().encode()
    yield "SHA-256 of the line", hashlib.sha256(value.rstrip() + b"\n").hexdigest().encode()
    yield "SHA-256 in base64", base64.b64encode(hashlib.sha256(value).digest())


def encodings(value: bytes) -> Mapping[str, bytes]:
    """Every form in which this value may not leave, by name."""
    forms = {"raw": value}
    for group in (
        _base64_forms,
        _hex_forms,
        _escaped_forms,
        _rewritten_forms,
        _partial_forms,
        _used_forms,
    ):
        forms.update(group(value))
    return forms


# --- the oracle ---------------------------------------------------------------------------


def find(haystack: bytes, value: bytes) -> list[str]:
    """Names of the forms of this value in these bytes; empty when there is none.

    Slow and plain: every form is looked for in the bytes as they are, in what JSON strings in
    them mean, up to three levels deep, and in each of these again without case and without anything
    but letters, digits and non-ASCII characters. Parts of a value count unless ordinary tool
    output contains them too. For a value under the floor only its forms as a whole count.
    """
    texts = _readings(haystack)
    squeezed = [_squeeze(text) for text in texts]
    found = {
        name
        for name, form, bare in _wanted(value)
        if _occurs(form, texts) or (len(bare) >= 6 and _occurs(bare, squeezed))
    }
    if _holds_part(texts, value):
        found.add("part")
    if any(value in opened for opened in _opened(texts)):
        found.add("compressed")
    return sorted(found)


def _occurs(form: bytes, texts: list[bytes]) -> bool:
    return any(form in text for text in texts)


@cache
def _wanted(value: bytes) -> list[tuple[str, bytes, bytes]]:
    """Name, form and squeezed form of everything to look for."""
    return [(name, form, _squeeze(form)) for name, form in _forms(value)]


def _forms(value: bytes) -> Iterator[tuple[str, bytes]]:
    weak = value in WEAK.values()
    for name, form in encodings(value).items():
        if not (weak and name.endswith(("characters", "mask"))):
            yield name, form
    if len(value) < 12:
        return
    for shift in range(3):
        # The first and the last four characters may depend on what stands beside the value.
        blob = base64.b64encode(bytes(shift) + value)[4:-4]
        yield "base64 in a blob", blob
        yield "base64 in a blob", blob.translate(bytes.maketrans(b"+/", b"-_"))


def _readings(haystack: bytes) -> list[bytes]:
    texts = [haystack]
    while len(texts) < 4:
        inner = _unescape(texts[-1])
        if inner == texts[-1]:
            break
        texts.append(inner)
    return texts


_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_SHORT = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


def _unescape(text: bytes) -> bytes:
    def meaning(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        return chr(int(code, 16)) if code else _SHORT.get(match[3], match[3])

    plain = _ESCAPE.sub(meaning, text.decode("utf-8", "surrogateescape"))
    joined = plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return joined.encode("utf-8", "replace")


def _squeeze(text: bytes) -> bytes:
    shown = text.decode("utf-8", "replace").casefold()
    return "".join(c for c in shown if c.isalnum()).encode()


def _holds_part(texts: list[bytes], value: bytes) -> bool:
    if value in WEAK.values():
        return False
    core, size = _core(value).encode(), max(_part(value), 6)
    parts = {core[at : at + size] for at in range(len(core) - size + 1)} - _ordinary_parts(size)
    return any(
        not parts.isdisjoint(text[at : at + size] for at in range(len(text))) for text in texts
    )


@cache
def _ordinary_parts(size: int) -> set[bytes]:
    text = b"\n".join(ordinary("what is ordinary", 200))
    return {text[at : at + size] for at in range(len(text))}


def _opened(texts: list[bytes]) -> Iterator[bytes]:
    for text in texts:
        joined = re.sub(rb"\\[nrt]|[\s\"'\\]", b"", text)
        for match in re.finditer(rb"(?:H4sI|eJ|eN|eA|eF)[A-Za-z0-9+/_-]{8,}", joined):
            run = match.group().translate(bytes.maketrans(b"-_", b"+/"))
            packed = base64.b64decode(run[: len(run) // 4 * 4])
            try:
                yield zlib.decompressobj(47).decompress(packed)
            except zlib.error:
                continue
