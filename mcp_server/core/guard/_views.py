"""The two views of a text in which the guard searches (see the package docstring)."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Views", "folded_positions", "packed_positions", "views"]

# White space, control characters and the quoting of JSON, YAML, shells and C.
_DROPPED = bytes(range(0x21)) + b"\x7f\"'\\,"
_UNFOLDED = bytes(c for c in range(0x80) if not chr(c).isalnum())
_LOWER = bytes(c + 32 if 0x41 <= c <= 0x5A else c for c in range(256))  # noqa: PLR2004 - A to Z

_LINE_ESCAPE = rb"\\[nrt]"
# UTF-8 of characters that show nothing: soft hyphen, joiners, zero-width and directional marks,
# variation selectors, no-break spaces, tag characters (Unicode Default_Ignorable_Code_Point).
_INVISIBLE = (
    rb"\xc2[\xa0\xad]|\xcd\x8f|\xe1\xa0[\x8b-\x8f]|\xe2\x80[\x80-\x8f\xa8-\xaf]"
    rb"|\xe2\x81[\x9f-\xaf]|\xe3\x80\x80|\xe3\x85\xa4|\xef\xb8[\x80-\x8f]|\xef\xbb\xbf"
    rb"|\xf3\xa0[\x80-\x87][\x80-\xbf]"
)
_ESCAPES = re.compile(_LINE_ESCAPE)
_ESCAPES_AND_INVISIBLE = re.compile(_LINE_ESCAPE + rb"|" + _INVISIBLE)


class Views(NamedTuple):
    """A text in both views."""

    exact: bytes
    folded: bytes

    def __repr__(self) -> str:
        return "<views>"


def views(text: bytes) -> Views:
    """Both views of a text."""
    pattern = _ESCAPES if text.isascii() else _ESCAPES_AND_INVISIBLE
    exact = pattern.sub(b"", text).translate(None, _DROPPED)
    return Views(exact, exact.translate(_LOWER, _UNFOLDED))


def packed_positions(text: bytes) -> list[int]:
    """For each byte of the exact view, its place in the text. Slow; only called after a hit."""
    places: list[int] = []
    at = 0
    for found in _ESCAPES_AND_INVISIBLE.finditer(text):
        places.extend(i for i in range(at, found.start()) if text[i] not in _DROPPED)
        at = found.end()
    places.extend(i for i in range(at, len(text)) if text[i] not in _DROPPED)
    return places


def folded_positions(exact: bytes) -> list[int]:
    """For each byte of the folded view, its place in the exact view."""
    return [i for i, byte in enumerate(exact) if byte not in _UNFOLDED]
