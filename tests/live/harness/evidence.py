"""Everything a session left behind, collected so that it can be searched for a planted value.

Outside the server's process only: requests as they arrived at the scripted API, files as they
lie on disk, the terminal's bytes. ``intended`` names the files that hold the value on purpose.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.leaks.corpus import find

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from tests.live.harness.client import Sandbox
    from tests.live.harness.messages_api import MessagesApi

__all__ = ["CHANNELS", "Evidence", "Piece", "collect"]

CHANNELS = ("request", "transcript", "server log", "home", "project", "terminal", "output")
"""Where a value could turn up; every session with a person fills all but ``output``."""

_FOLDERS = (
    (".claude/projects/", "transcript"),
    (".cache/claude-cli-nodejs/", "server log"),
)
_ESCAPES = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\-_])")
_FRAME = re.compile(r"[\s\u2500-\u259f]+")  # white space, box drawing, block elements


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of one origin: the channel they belong to and a name for the report."""

    channel: str
    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Evidence:
    """The pieces of one session."""

    pieces: tuple[Piece, ...]

    def summary(self) -> str:
        """Pieces and bytes per channel, for the test's output."""
        counts = Counter(piece.channel for piece in self.pieces)
        sizes: Counter[str] = Counter()
        for piece in self.pieces:
            sizes[piece.channel] += len(piece.content)
        return ", ".join(f"{name}: {counts[name]} ({sizes[name]} bytes)" for name in CHANNELS)

    def leaks(self, values: Collection[bytes]) -> list[tuple[str, str, list[str]]]:
        """Channel, name and forms of every appearance of a value, in any disguise.

        Says on standard output what was searched, for the record of the run.
        """
        assert values, "there is no value to search for"
        print(f"{self.summary()}; {len(values)} values")  # noqa: T201 - see above
        return [
            (piece.channel, piece.name, forms)
            for piece in self.pieces
            for value in values
            if (forms := find(piece.content, value))
        ]

    def require(self, *channels: str) -> None:
        """Raise ``AssertionError`` if nothing was collected from one of the channels."""
        filled = {piece.channel for piece in self.pieces if piece.content}
        empty = sorted(set(channels) - filled)
        assert not empty, f"nothing to search in {empty}; collected {self.summary()}"


def collect(
    sandbox: Sandbox,
    api: MessagesApi,
    *,
    outputs: Mapping[str, str] | None = None,
    intended: Collection[Path] = (),
) -> Evidence:
    """Collect a finished session.

    Args:
        sandbox: Its world; every regular file below its root is read, hidden ones too.
        api: The scripted API it spoke to.
        outputs: Texts the commands wrote, by a name for the report.
        intended: Files and folders left out, because they hold the value by design or are no
            product of the session (installed packages).
    """
    texts = outputs or {}
    return Evidence(
        (
            *(Piece("request", r.path, r.raw) for r in api.requests),
            *_files(sandbox, intended),
            *_terminal(sandbox),
            *(Piece("output", name, text.encode()) for name, text in texts.items()),
        )
    )


def _files(sandbox: Sandbox, intended: Collection[Path]) -> Iterator[Piece]:
    for path in sorted(sandbox.root.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.is_relative_to(sandbox.recording):
            continue
        if any(path.is_relative_to(left_out) for left_out in intended):
            continue
        yield Piece(_channel(sandbox, path), str(path.relative_to(sandbox.root)), path.read_bytes())


def _channel(sandbox: Sandbox, path: Path) -> str:
    if path.is_relative_to(sandbox.project):
        return "project"
    inside = path.relative_to(sandbox.root).as_posix()
    return next((name for part, name in _FOLDERS if part in inside), "home")


def _terminal(sandbox: Sandbox) -> Iterator[Piece]:
    """What the terminal showed, as recorded and once more as nothing but its text.

    A value that is wrapped, framed or coloured is whole only in the second form.
    """
    for path in sorted(sandbox.recording.glob("*")):
        content = path.read_bytes()
        yield Piece("terminal", path.name, content)
        yield Piece("terminal", f"{path.name}, text only", _text_only(content))


def _text_only(content: bytes) -> bytes:
    text = _ESCAPES.sub(b"", content).decode(errors="replace")
    return _FRAME.sub("", text).encode()
