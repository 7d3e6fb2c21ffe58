"""A filter for the output of a child process that was given values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_server.core.guard._guard import Guard

__all__ = ["StreamFilter"]

# Longer than any needle with its separators, so that a match is complete before its first byte
# leaves, and the rest of the run around it is still here.
_HOLD = 512
_CONTEXT = 1024
_REACH = 256
# What fully escaped text and printed bytes are made of.
_CODES = b"0123456789abcdefABCDEFxuU%&#;:\\ \t\r\n"
_RUN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-=%")


class StreamFilter:
    r"""Replaces values in an endless stream of bytes; one filter per stream.

    Covers what needs no decoding of the stream: the value itself, each stretch of six characters
    of it, each of its lines; any quoting, escaping of special characters and inserted separators;
    other case of ASCII letters; base64 (standard, URL, unpadded, any alignment, wrapped), of
    UTF-16LE too, and twice; base32; hex in every punctuation; percent encoding of special or of
    all bytes, once or twice; character references and ``\u`` escapes of special or of all
    characters; reversal and rot13; masks; hashes. Not covered, other than by ``Guard.check``:
    compression, full-width letters, other case of letters beyond ASCII, and text in which
    arbitrary single characters are escaped. For values over 256 bytes ``_needles`` tells how much
    of each is needed.

    What is replaced reaches to the ends of the run of letters, digits and ``+/_-=%`` around the
    match, at most 256 bytes on each side.

    Args:
        guard: Knows the values.
        marker: Stands in for each stretch.
    """

    def __init__(self, guard: Guard, marker: bytes = b"[secret]") -> None:
        self._guard = guard
        self._marker = marker
        self._context = b""
        self._held = b""
        self._marked = False

    def __repr__(self) -> str:
        return "<stream filter>"

    def feed(self, chunk: bytes) -> bytes:
        """Take output; give what may be shown now. The last 512 bytes stay until more follow."""
        self._held += chunk
        return self._release(_HOLD)

    def idle(self) -> bytes:
        """Give all that is held, since nothing has followed for a while (a prompt, say).

        At most five characters of a value can be among it, when its writer stopped within them.
        """
        return self._release(0)

    def flush(self) -> bytes:
        """Give the rest at the end of the stream."""
        return self._release(0)

    def _release(self, hold: int) -> bytes:
        size = len(self._held) - hold
        if size <= 0:
            return b""
        shown = len(self._context)
        text = self._context + self._held
        cut = shown + size
        output = self._masked(text, shown, cut)
        self._context = text[max(0, cut - _CONTEXT) : cut]
        self._held = text[cut:]
        return output

    def _masked(self, text: bytes, shown: int, cut: int) -> bytes:
        pieces: list[bytes] = []
        at = shown
        continues, self._marked = self._marked, False
        for start, end in self._stretches(text):
            if end <= shown or start >= cut:
                continue
            pieces.append(text[at : max(start, at)])
            if start >= shown or not continues:
                pieces.append(self._marker)
            at = min(end, cut)
            self._marked = end >= cut
        pieces.append(text[at:cut])
        return b"".join(pieces)

    def _stretches(self, text: bytes) -> list[tuple[int, int]]:
        wide: list[tuple[int, int]] = []
        for found in self._guard.locate(text):
            start, end = _widened(text, *found)
            if wide and _joined(text[wide[-1][1] : start]):
                wide[-1] = (wide[-1][0], max(end, wide[-1][1]))
            else:
                wide.append((start, end))
        return wide


def _joined(gap: bytes) -> bool:
    """Whether what lies between two stretches is more of the same encoded value."""
    return len(gap) <= _HOLD and not gap.translate(None, _CODES)


def _widened(text: bytes, start: int, end: int) -> tuple[int, int]:
    """The stretch with the run around it; an equals sign before it is no part of the run."""
    first, last = max(0, start - _REACH), min(len(text), end + _REACH)
    while start > first and text[start - 1] in _RUN and text[start - 1 : start] != b"=":
        start -= 1
    while end < last and text[end] in _RUN:
        end += 1
    return start, end
