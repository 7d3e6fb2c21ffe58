"""Colour, where a person looks: on a terminal, unless NO_COLOR is set (no-color.org)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

__all__ = ["Paint"]


@dataclass(frozen=True, slots=True)
class Paint:
    """ANSI styles, or none."""

    on: bool = False

    @classmethod
    def for_stream(cls, stream: TextIO, environment: Mapping[str, str]) -> Paint:
        """Colour for a stream that is a terminal of some ability."""
        return cls(stream.isatty() and cls.for_terminal(environment).on)

    @classmethod
    def for_terminal(cls, environment: Mapping[str, str]) -> Paint:
        """Colour for the controlling terminal."""
        return cls(not environment.get("NO_COLOR") and environment.get("TERM") != "dumb")

    def bold(self, text: str) -> str:
        """What the line is about."""
        return self._styled("1", text)

    def dim(self, text: str) -> str:
        """What can be skipped."""
        return self._styled("2", text)

    def red(self, text: str) -> str:
        """Gone, refused, broken."""
        return self._styled("31", text)

    def green(self, text: str) -> str:
        """New, done, well."""
        return self._styled("32", text)

    def yellow(self, text: str) -> str:
        """Changed, waiting, worth a look."""
        return self._styled("33", text)

    def cyan(self, text: str) -> str:
        """A reference."""
        return self._styled("36", text)

    def _styled(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.on and text else text
