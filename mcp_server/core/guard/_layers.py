"""Texts hidden inside a text: what its own marks say can be decoded, a bounded number of layers."""

from __future__ import annotations

import base64
import binascii
import html
import re
import zlib
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from mcp_server.core.guard._needles import fold_unicode

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TooDeepError", "layers"]

_MAX_DEPTH = 3
_MAX_TEXTS = 64
_MAX_INFLATED = 1 << 20
_MAX_BYTES = 16 << 20

_PERCENT = re.compile(rb"%[0-9A-Fa-f]{2}")
_ENTITY = re.compile(rb"&(?:amp;)*(?:#|[A-Za-z]{2,6};)")
_CODE = re.compile(r"\\+(?:u\{?([0-9A-Fa-f]{4,6})\}?|x([0-9A-Fa-f]{2})|U([0-9A-Fa-f]{8}))")
_LAST_CODE_POINT = 0x10FFFF
_RUN = rb"[A-Za-z0-9+/_-]{10,}"
# How base64 text of a gzip (RFC 1952) or zlib (RFC 1950) header begins, for the usual levels.
_PACKED = tuple(
    (mark, re.compile(pattern + _RUN))
    for mark, pattern in (
        (b"H4sI", rb"H4sI"),
        (b"eJ", rb"eJ[w-z]"),
        (b"eN", rb"eN[o-r]"),
        (b"eA", rb"eA[E-H]"),
        (b"eF", rb"eF[4-7]"),
    )
)
_PACKED_HEX = re.compile(rb"(?i:1f8b08|789c|78da|7801|785e)(?:[0-9A-Fa-f]{2}){12,}")
_BREAKS = re.compile(rb"\\+[nrt]|[\s\\\"']")
_URL_ALPHABET = bytes.maketrans(b"-_", b"+/")


class TooDeepError(Exception):
    """More is hidden in this text than the guard is willing to open."""


def layers(text: bytes) -> Iterator[bytes]:
    """Every text that decoding yields, from the outside in; the text itself is not repeated.

    Raises:
        TooDeepError: The bound on the number or the size of decoded texts is reached.
    """
    budget = _Budget()
    level = [text]
    for _ in range(_MAX_DEPTH):
        level = [inner for outer in level for inner in _decoded(outer) if budget.admits(inner)]
        if not level:
            return
        yield from level


class _Budget:
    def __init__(self) -> None:
        self._texts = _MAX_TEXTS
        self._bytes = _MAX_BYTES
        self._seen: set[bytes] = set()

    def admits(self, text: bytes) -> bool:
        if text in self._seen:
            return False
        self._seen.add(text)
        self._texts -= 1
        self._bytes -= len(text)
        if self._texts < 0 or self._bytes < 0:
            raise TooDeepError
        return True


def _decoded(text: bytes) -> Iterator[bytes]:
    if not text.isascii() or b"\\u" in text or b"\\x" in text or b"\\U" in text:
        yield from _other_than(text, _unescaped(text))
    if b"%" in text and _PERCENT.search(text):
        yield unquote_to_bytes(text)
    if b"&" in text and _ENTITY.search(text):
        unescaped = html.unescape(text.decode("utf-8", "replace")).encode("utf-8", "replace")
        yield from _other_than(text, unescaped)
    yield from _inflated(text)


def _other_than(text: bytes, decoded: bytes) -> Iterator[bytes]:
    if decoded != text:
        yield decoded


def _unescaped(text: bytes) -> bytes:
    plain = _CODE.sub(_character, text.decode("utf-8", "replace"))
    # Two escapes may be the halves of one character (RFC 8259, section 7).
    joined = plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return fold_unicode(joined).encode("utf-8", "replace")


def _character(code: re.Match[str]) -> str:
    point = int(code[1] or code[2] or code[3], 16)
    return chr(point) if point <= _LAST_CODE_POINT else ""


def _inflated(text: bytes) -> Iterator[bytes]:
    joined: bytes | None = None
    for mark, pattern in _PACKED:
        if mark in text:
            joined = _BREAKS.sub(b"", text) if joined is None else joined
            for found in pattern.finditer(joined):
                yield from _inflate(_from_base64(found.group()))
    for found in _PACKED_HEX.finditer(text) if _may_hold_packed_hex(text) else ():
        yield from _inflate(binascii.unhexlify(found.group()))


def _may_hold_packed_hex(text: bytes) -> bool:
    return b"1f8b08" in text or b"789c" in text or b"78da" in text or b"1F8B08" in text


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
