"""From a value to what the automata look for.

Limits, so that a large value stays affordable. Up to 256 bytes a run of six or so characters starts
at every character, beyond one of eight at every second, so any nine are found; from 16 KB on
there are 8,192 spread evenly (64 KB: one in 8 characters, so any 16; 1 MB: one in 128). An
encoding of the whole value, or of a stretch of it, is found by 9-byte blocks; up to 256 bytes
they touch, beyond there is one in 48 bytes, and from 24 KB on there are 512 spread evenly (64 KB:
one in 128 bytes). Runs reversed, in rot13 and across escaped characters: at most 128 of each.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
import html
import json
import unicodedata
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from mcp_server.core.guard._parts import parts
from mcp_server.core.guard._surprise import Rule, Surprise
from mcp_server.core.guard._views import views
from mcp_server.core.strength import above_floor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Needles", "fold_unicode", "needles"]

_RUN = Rule(6, 155, 10)
_LONG_VALUE_RUN = Rule(8, 180, 12)
# What must remain of a run once its quotes and separators are dropped.
_SHOWN_RUN = Rule(4, 130, 16)
_SHORT_RUN = Rule(4, 110, 10)
_LEAST_BESIDE_MASK = 80
_VARIANT_RUN = Rule(8, 240, 32)
_BLOCK = Rule(9, 270, 48)
_SHORT_VALUE = 12
_LONG_VALUE = 256
_MAX_WHOLE = 1024
_MAX_RUNS = 8192
_MAX_VARIANT_RUNS = 128
_MAX_BLOCKS = 512
_BLOCK_STRIDE = 48
_LEAST_FOLDED = 8
_MASKS = (b"**", b"..", b"xx", b"XX", b"##", "••".encode(), "…".encode())
_DIGESTS = ("md5", "sha1", "sha256", "sha512")
_DIGEST_HEAD, _DIGEST_HEAD_BASE64 = 12, 16


class Needles(NamedTuple):
    """What to look for in each view."""

    exact: frozenset[bytes]
    folded: frozenset[bytes]

    def __repr__(self) -> str:
        return "<needles>"


def needles(value: bytes, generated_bits: int | None) -> Needles:
    """What to look for to find this value; nothing where it is guessable or public.

    Args:
        value: The value.
        generated_bits: As for ``strength.above_floor``; it vouches for the value as a whole.
    """
    exact: set[bytes] = set()
    folded: set[bytes] = set()
    for part in parts(value):
        vouched = generated_bits if part == value else None
        if above_floor(part, generated_bits=vouched):
            exact.update(_exact(part))
            folded.update(_folded(part))
    if folded or exact:
        folded.update(_digests(value))
    return Needles(frozenset(exact), frozenset(folded))


def _exact(part: bytes) -> Iterator[bytes]:
    exact = views(part).exact
    surprise = Surprise(exact)
    yield from _exact_runs(part)
    if _LEAST_FOLDED <= len(exact) <= _MAX_WHOLE and not exact.isalnum():
        yield exact
    if len(_text(part)) <= _SHORT_VALUE:
        yield from surprise.runs(_SHORT_RUN)
    yield from _masked(exact, surprise)


def _exact_runs(part: bytes) -> Iterator[bytes]:
    """What the folded view would find only as a longer run: punctuation and mixed case.

    Characters count before the view drops quotes and separators, since a reader sees those too.
    """
    folded = set(_runs(Surprise(views(part).folded), part))
    for run in _runs(Surprise(part), part):
        exact = views(run).exact
        if exact.lower() not in folded and Surprise(exact).satisfies(_SHOWN_RUN):
            yield exact


def _runs(surprise: Surprise, part: bytes) -> Iterator[bytes]:
    if len(part) <= _LONG_VALUE:
        return surprise.runs(_RUN)
    return surprise.runs(_LONG_VALUE_RUN, max(2, _stride(part, _MAX_RUNS)))


def _masked(exact: bytes, surprise: Surprise) -> Iterator[bytes]:
    """The first or last four or five characters beside a mask; six are found without one."""
    for length in (4, 5):
        last = len(exact) - length
        if last >= 0 and surprise.total(0, length) >= _LEAST_BESIDE_MASK:
            yield from (exact[:length] + mask for mask in _MASKS)
        if last >= 0 and surprise.total(last, len(exact)) >= _LEAST_BESIDE_MASK:
            yield from (mask + exact[last:] for mask in _MASKS)


def _folded(part: bytes) -> Iterator[bytes]:
    plain = views(part).folded
    surprise = Surprise(plain)
    yield from _runs(surprise, part)
    if _LEAST_FOLDED <= len(plain) <= _MAX_WHOLE:
        # A value made of words alone has no surprising run.
        yield from (plain, _reversed(plain), _rot13(plain))
    for run in surprise.runs(_VARIANT_RUN, max(4, _stride(plain, _MAX_VARIANT_RUNS))):
        yield _reversed(run)
        yield _rot13(run)
    for variant in _variants(part):
        other = views(variant).folded
        if other != plain:
            stride = max(2, _stride(other, _MAX_VARIANT_RUNS))
            found = Surprise(other).runs(_VARIANT_RUN, stride)
            yield from (run for run in found if run not in plain)
    yield from _long_enough(_encoded_blocks(part))
    yield from _digests(part)


def _stride(text: bytes, most: int) -> int:
    return max(1, -(-len(text) // most))


def _reversed(run: bytes) -> bytes:
    return run.decode("utf-8", "ignore")[::-1].encode()


def _rot13(run: bytes) -> bytes:
    return codecs.encode(run.decode("latin-1"), "rot13").encode("latin-1")


def _variants(part: bytes) -> Iterator[bytes]:
    """The value as other syntaxes write its special characters."""
    text = _text(part)
    yield json.dumps(text).encode()
    yield fold_unicode(text).encode("utf-8", "replace")
    escaped = html.escape(text)
    yield escaped.encode("utf-8", "replace")
    yield html.escape(escaped).encode("utf-8", "replace")
    yield text.encode("ascii", "xmlcharrefreplace")
    yield repr(part)[2:-1].encode()
    percent = quote(part, safe="")
    yield percent.encode()
    yield quote(percent, safe="").encode()


def _text(part: bytes) -> str:
    try:
        return part.decode("utf-8")
    except UnicodeDecodeError:
        return part.decode("latin-1")


def fold_unicode(text: str) -> str:
    """Compatibility and case forms made one (Unicode NFKC, then full case folding)."""
    return unicodedata.normalize("NFKC", text).casefold()


def _encoded_blocks(part: bytes) -> Iterator[bytes]:
    stride = max(_BLOCK_STRIDE, _stride(part, _MAX_BLOCKS))
    if len(part) <= _LONG_VALUE:
        stride = 1
    blocks = list(Surprise(part).blocks(_BLOCK, stride))
    for block in blocks or [part[:_MAX_WHOLE]]:
        for encode in _ENCODERS:
            yield from encode(block)


def _long_enough(encodings: Iterator[bytes]) -> Iterator[bytes]:
    folded = (views(encoding).folded for encoding in encodings)
    return (needle for needle in folded if len(needle) >= _LEAST_FOLDED)


def _hex(block: bytes) -> Iterator[bytes]:
    """Also colon-separated, spaced and fully percent-encoded: the view drops the marks."""
    digits = [f"{byte:02x}" for byte in block]
    yield "".join(digits).encode()
    yield "".join("25" + pair for pair in digits).encode()
    yield "".join(str(byte) for byte in block).encode()


def _code_points(block: bytes) -> Iterator[bytes]:
    """Escapes and character references of every character, in hex and decimal."""
    points = [ord(character) for character in block.decode("utf-8", "ignore")]
    yield "".join(f"x{point:02x}" for point in points).encode()
    yield "".join(f"u{point:04x}" for point in points).encode()
    yield "".join(str(point) for point in points).encode()
    yield "".join(f"x{byte:02x}" for byte in block).encode()


def _aligned(block: bytes, encode: Callable[[bytes], bytes], group: int, bits: int) -> list[bytes]:
    """What stays of the encoded block wherever it lies in a longer text.

    Args:
        block: The bytes.
        encode: The encoding.
        group: Bytes in one unit of the encoding: 3 for base64, 5 for base32.
        bits: Bits in one character of the encoding.
    """
    return [
        encode(bytes(shift) + block)[-(-8 * shift // bits) : 8 * (shift + len(block)) // bits]
        for shift in range(group)
    ]


def _base64(block: bytes) -> Iterator[bytes]:
    yield from _aligned(block, base64.b64encode, 3, 6)


def _base64_of_utf16(block: bytes) -> Iterator[bytes]:
    yield from _base64(block.decode("utf-8", "ignore").encode("utf-16-le"))


def _base64_twice(block: bytes) -> Iterator[bytes]:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for inner in _aligned(block, encode, 3, 6):
            yield from _base64(inner)


def _base32(block: bytes) -> Iterator[bytes]:
    yield from _aligned(block, base64.b32encode, 5, 5)


_ENCODERS = (_hex, _code_points, _base64, _base64_of_utf16, _base64_twice, _base32)


def _digests(part: bytes) -> Iterator[bytes]:
    """The head of unsalted hashes, in hex and base64; as short as digests are ever shown."""
    for data in {part, part.strip(), part.rstrip() + b"\n"}:
        for name in _DIGESTS:
            digest = hashlib.new(name, data, usedforsecurity=False)
            yield digest.hexdigest()[:_DIGEST_HEAD].encode()
            yield views(base64.b64encode(digest.digest())[:_DIGEST_HEAD_BASE64]).folded
