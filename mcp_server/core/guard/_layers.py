"""Texts hidden inside a text: what its own marks say can be decoded, a bounded number of layers."""

from __future__ import annotations

import base64
import binascii
import html
import re
import unicodedata
import zlib
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from mcp_server.core.guard._needles import fold_unicode
from mcp_server.core.guard._views import views

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ahocorasick_rs import BytesAhoCorasick

__all__ = ["TooDeepError", "layers"]

_MAX_DEPTH = 3
_MAX_TEXTS = 64
_MAX_INFLATED = 1 << 20
_MAX_BYTES = 16 << 20

_PERCENT = re.compile(rb"%[0-9A-Fa-f]{2}")
_ENTITY = re.compile(rb"&(?:amp;)*(?:#|[A-Za-z]{2,6};)")
_CODE = re.compile(
    r"(?<!\\)\\+(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|U([0-9A-Fa-f]{8})|u\{([0-9A-Fa-f]{1,6})\})"
)
_LAST_CODE_POINT = 0x10FFFF
_ASCII = bytes(range(0x80))

# How the headers of gzip (RFC 1952) and zlib (RFC 1950, any level) begin in base64 and in hex.
_ZLIB_HEADS = {"eJ": "wxyz", "eN": "opqr", "eA": "EFGH", "eF": "4567"}
_BASE64_HEADS = (
    b"H4sI",
    *((start + end).encode() for start, ends in _ZLIB_HEADS.items() for end in ends),
)
_BASE64_PACKED = re.compile(rb"(?:H4sI|eJ[w-z]|eN[o-r]|eA[E-H]|eF[4-7])[A-Za-z0-9+/_-]{10,}")
_HEX_HEADS = (b"1f8b08", b"1F8B08", b"789c", b"789C", b"78da", b"78DA")
_HEX_PACKED = re.compile(rb"(?i:1f8b08|789c|78da)(?:[0-9A-Fa-f]{2}){12,}")
_CODE_HEADS = (b"\\u", b"\\x", b"\\U")
_URL_ALPHABET = bytes.maketrans(b"-_", b"+/")


class TooDeepError(Exception):
    """More is hidden in this text than the guard is willing to open."""


def layers(text: bytes) -> Iterator[bytes]:
    """Every text that decoding yields, from the outside in; the text itself is not repeated.

    Raises:
        TooDeepError: The bound on the number or the size of decoded texts is reached.
    """
    budget = _Budget(text)
    level = [text]
    for _ in range(_MAX_DEPTH):
        level = [inner for outer in level for inner in _decoded(outer) if budget.admits(inner)]
        if not level:
            return
        yield from level


class _Budget:
    """Lets each decoded text through once, and not too many."""

    def __init__(self, text: bytes) -> None:
        self._texts = _MAX_TEXTS
        self._bytes = _MAX_BYTES
        self._seen = {text}

    def admits(self, text: bytes) -> bool:
        if text in self._seen:
            return False
        self._seen.add(text)
        self._texts -= 1
        self._bytes -= len(text)
        if self._texts < 0 or self._bytes < 0:
            raise TooDeepError
        return True


@cache
def _marks() -> BytesAhoCorasick:
    from ahocorasick_rs import BytesAhoCorasick  # noqa: PLC0415 - start-up does not need it

    return BytesAhoCorasick([*_CODE_HEADS, *_BASE64_HEADS, *_HEX_HEADS])


def _marks_in(text: bytes) -> tuple[bool, bool, bool]:
    """Whether there are escapes of characters, compressed base64, compressed hex."""
    codes = len(_CODE_HEADS)
    numbers = {found[0] for found in _marks().find_matches_as_indexes(text)}
    last = codes + len(_BASE64_HEADS)
    return (
        any(number < codes for number in numbers),
        any(codes <= number < last for number in numbers),
        any(number >= last for number in numbers),
    )


def _decoded(text: bytes) -> Iterator[bytes]:
    escaped, base64_head, hex_head = _marks_in(text)
    if escaped or not text.isascii():
        yield from _unescaped(text, escaped=escaped)
    if b"%" in text and _PERCENT.search(text):
        yield unquote_to_bytes(text)
    if b"&" in text and _ENTITY.search(text):
        yield html.unescape(text.decode("utf-8", "replace")).encode("utf-8", "replace")
    if base64_head:
        # The exact view has lost the line breaks of wrapped base64.
        for found in _BASE64_PACKED.finditer(views(text).exact):
            yield from _inflate(_from_base64(found.group()))
    if hex_head:
        for found in _HEX_PACKED.finditer(text):
            yield from _inflate(binascii.unhexlify(found.group()))


def _unescaped(text: bytes, *, escaped: bool) -> Iterator[bytes]:
    """The text without escapes and in folded form, if that is another text."""
    plain = text.decode("utf-8", "replace")
    if escaped:
        plain = _CODE.sub(_character, plain)
        # Two escapes may be the halves of one character (RFC 8259, section 7).
        plain = plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    encoded = plain.encode("utf-8", "replace")
    if _folds(encoded):
        yield fold_unicode(plain).encode("utf-8", "replace")
    elif escaped:
        yield encoded


def _folds(text: bytes) -> bool:
    """Whether folding changes more than the case of ASCII letters, which the views ignore."""
    rest = text.translate(None, _ASCII).decode("utf-8", "replace")
    return fold_unicode(rest) != rest or any(map(unicodedata.combining, set(rest)))


def _character(code: re.Match[str]) -> str:
    point = int(code[code.lastindex or 0], 16)
    return chr(point) if point <= _LAST_CODE_POINT else ""


def _from_base64(run: bytes) -> bytes:
    run = run.translate(_URL_ALPHABET)
    return base64.b64decode(run[: len(run) - len(run) % 4])


def _inflate(packed: bytes) -> Iterator[bytes]:
    """What a possibly cut compressed text holds; nothing if it is none.

    Raises:
        TooDeepError: It holds more than 1 MiB.
    """
    opener = zlib.decompressobj(zlib.MAX_WBITS | 32)
    plain = b""
    try:
        plain = opener.decompress(packed, _MAX_INFLATED)
    except zlib.error:
        return
    if opener.unconsumed_tail:
        raise TooDeepError
    if plain:
        yield plain
