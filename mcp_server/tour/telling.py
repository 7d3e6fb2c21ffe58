"""How the tour speaks: chapters, what the model says and hears, and the verdict."""

from __future__ import annotations

import json
import os
import shutil
import textwrap
from typing import Final, TextIO

__all__ = ["Telling"]

_BOLD, _DIM, _GREEN, _RED, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[0m"
_WIDEST: Final = 107
_INDENT: Final = 11


class Telling:
    """Prints to one stream; colours only on a terminal.

    Args:
        stream: Where to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colours = stream.isatty() and "NO_COLOR" not in os.environ
        self._width = min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns)
        self._chapter = 0

    def chapter(self, title: str) -> None:
        """A new step."""
        self._chapter += 1
        self._line(f"\n{self._chapter}. {title}", _BOLD)

    def note(self, text: str) -> None:
        """A sentence to the reader, which the model does not see."""
        self._line(f"   {text}", _DIM)

    def said(self, who: str, text: str) -> None:
        """What one side said, cut to the width of a page."""
        room = self._width - _INDENT
        for line in text.splitlines() or [""]:
            shown = line if len(line) <= room else line[: room - 1] + "…"
            self._line(f"   {who:<7} {shown}")

    def asked(self, who: str, text: str) -> None:
        """A question, whole."""
        for line in text.splitlines():
            for part in textwrap.wrap(line, self._width - _INDENT, break_on_hyphens=False):
                self._line(f"   {who:<7} {part}")

    def transcript(self, lines: list[str]) -> None:
        """Everything the model saw, whole."""
        wrapped = textwrap.TextWrapper(
            self._width, initial_indent="   | ", subsequent_indent="   |   ", break_on_hyphens=False
        )
        for line in lines:
            for part in wrapped.wrap(line):
                self._line(part, _DIM)

    def verdict(self, text: str, *, good: bool) -> None:
        """The result of a check."""
        self._line(f"   {'ok' if good else 'FAILED'}: {text}", _GREEN if good else _RED)

    def end(self, *, clean: bool, followed: bool) -> None:
        """The last line.

        Args:
            clean: Everything went as told and no value was seen.
            followed: The person answered as the tour asked them to.
        """
        text = "The tour found a problem; see FAILED above."
        if clean:
            text = "The whole job was done, and no value entered the model's context."
        elif not followed:
            text = "You decided otherwise than the tour asks; FAILED above may come from that."
        self._line(f"\n{text}", _BOLD)

    def _line(self, text: str, style: str = "") -> None:
        coloured = f"{style}{text}{_PLAIN}" if self._colours and style else text
        self._stream.write(coloured + "\n")
        self._stream.flush()


def compact(value: object) -> str:
    """JSON on one line."""
    return json.dumps(value, ensure_ascii=False)
