"""What was done here, by whom and by what right: an append-only, hash-chained file.

One JSON object a line. Each line carries the hash of the line before it, so an altered, inserted
or removed line is found by ``verify``; cutting lines off the end is not, and nothing here claims
it is. No values and no fingerprints: references, versions, verbs, codes, times.

Several processes append under ``flock``. A change or delivery is journaled durably (``fsync``)
before it happens; if that fails it does not happen. Descriptions are appended without ``fsync``.
A crash in the middle of an append leaves a torn line; the next writer starts a new line and says
so in it, and ``verify`` accepts exactly that.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from mcp_server.core.durable import make_folder, sync_folder, write_all
from mcp_server.core.errors import JournalError

__all__ = ["Event", "Journal", "Kind", "Record", "Report"]

_GENESIS: Final = "0" * 64
_TAIL = 65_536
_MAX_LINE = 16_384


class Kind(StrEnum):
    """What an entry says about its verb."""

    READ = "read"  # described or listed, no value involved
    PLANNED = "planned"
    DECIDED = "decided"  # allowed or declined
    INTENT = "intent"  # about to happen; durable before it does
    DONE = "done"
    FAILED = "failed"


_KINDS: Final = frozenset(Kind)


@dataclass(frozen=True, slots=True)
class Event:
    """What to journal; every field is safe to show."""

    kind: Kind
    verb: str
    ref: str
    session: str
    plan: str | None = None
    channel: str | None = None
    version: str | None = None
    code: str | None = None


_FIELDS: Final = tuple(field.name for field in fields(Event))


@dataclass(frozen=True, slots=True)
class Record:
    """One entry as read back. ``number`` counts from 1."""

    number: int
    time: str
    event: Event


@dataclass(frozen=True, slots=True)
class Report:
    """Result of ``verify``: entries read, torn lines, number of the first broken link."""

    entries: int
    torn: int
    broken_at: int | None

    @property
    def intact(self) -> bool:
        """Whether every link of the chain holds."""
        return self.broken_at is None


@dataclass(frozen=True, slots=True)
class _Tail:
    """The end of the file: its size, last number and hash.

    ``torn`` when unreadable lines follow the last entry, ``open`` when the last line has no end.
    """

    size: int
    number: int
    digest: str
    torn: bool = False
    open: bool = False


class Journal:
    """The journal file of one user.

    Args:
        path: The file; its folder is created with mode 0700, the file with 0600.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = _Tail(0, 0, _GENESIS)

    def record(self, event: Event, *, durable: bool) -> None:
        """Append one entry.

        Args:
            event: What happened or is about to.
            durable: Wait until it is on the disk.

        Raises:
            JournalError: It could not be written whole; the file is as it was before.
        """
        try:
            with self._locked() as descriptor:
                tail = self._tail(descriptor)
                line, digest = _line(event, tail)
                _append(descriptor, line, tail.size, durable=durable)
                self._known = _Tail(tail.size + len(line), tail.number + 1, digest)
        except OSError as error:
            raise JournalError(_reason(error)) from None

    def records(self) -> Iterator[Record]:
        """Every readable entry, oldest first; unreadable lines are left to ``verify``."""
        for line in self._lines():
            entry = _parse(line)
            if entry is not None:
                yield _record(entry)

    def verify(self) -> Report:
        """Follow the chain from the first line to the last."""
        entries = torn = 0
        digest, pending_torn, broken = _GENESIS, False, None
        for line in self._lines():
            entry = _parse(line)
            if entry is None:
                torn, pending_torn = torn + 1, True
                continue
            entries += 1
            whole = _holds(entry, line, digest, entries) and pending_torn == ("torn" in entry)
            if broken is None and not whole:
                broken = entries
            digest, pending_torn = str(entry.get("hash")), False
        return Report(entries, torn, broken)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(self.path, flags, 0o600)
        except FileNotFoundError:
            make_folder(self.path.parent)
            descriptor = os.open(self.path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_size == 0:
                sync_folder(self.path.parent)
            yield descriptor
        finally:
            os.close(descriptor)

    def _tail(self, descriptor: int) -> _Tail:
        size = os.fstat(descriptor).st_size
        if size == self._known.size:
            return self._known
        return _read_tail(descriptor, size)

    def _lines(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                while line := file.readline(_MAX_LINE):
                    yield line
        except FileNotFoundError:
            return


def _line(event: Event, tail: _Tail) -> tuple[bytes, str]:
    body: dict[str, object] = {
        "n": tail.number + 1,
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **{name: value for name in _FIELDS if (value := getattr(event, name)) is not None},
        "prev": tail.digest,
    }
    if tail.torn:
        body["torn"] = True
    text = json.dumps(body, separators=(",", ":")).encode()
    digest = hashlib.sha256(text).hexdigest()
    line = text[:-1] + _ending(digest)
    if len(line) >= _MAX_LINE:
        raise JournalError("The entry is too long for the journal; nothing was done.")
    return (b"\n" if tail.open else b"") + line, digest


def _ending(digest: str) -> bytes:
    """What closes a line: the hash of the object as it was written without it."""
    return f',"hash":"{digest}"}}\n'.encode()


def _append(descriptor: int, line: bytes, size: int, *, durable: bool) -> None:
    """Write all of ``line`` or leave the file as it was: a full disk gives short writes."""
    try:
        write_all(descriptor, line)
        if durable:
            os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, size)
        raise


def _read_tail(descriptor: int, size: int) -> _Tail:
    start = max(0, size - _TAIL)
    chunk = os.pread(descriptor, size - start, start)
    lines = chunk.split(b"\n")
    unended = lines[-1] != b""
    torn = False
    for line in filter(None, reversed(lines)):
        entry = _parse(line)
        if entry is not None:
            return _Tail(size, _number(entry), str(entry.get("hash")), torn, unended)
        torn = True
    return _Tail(size, 0, _GENESIS, torn, unended)


def _parse(line: bytes) -> dict[str, object] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and "hash" in entry else None


def _holds(entry: dict[str, object], line: bytes, previous: str, number: int) -> bool:
    """Whether the line is what we wrote, byte for byte, and continues the chain."""
    text = line.rpartition(b',"hash":')[0]
    digest = hashlib.sha256(text + b"}").hexdigest()
    return (
        line.removesuffix(b"\n") + b"\n" == text + _ending(digest)
        and entry.get("prev") == previous
        and entry.get("n") == number
    )


def _record(entry: dict[str, object]) -> Record:
    def text(name: str) -> str | None:
        value = entry.get(name)
        return value if isinstance(value, str) else None

    kind = text("kind")
    event = Event(
        Kind(kind) if kind in _KINDS else Kind.FAILED,
        text("verb") or "",
        text("ref") or "",
        text("session") or "",
        text("plan"),
        text("channel"),
        text("version"),
        text("code"),
    )
    return Record(_number(entry), text("time") or "", event)


def _number(entry: dict[str, object]) -> int:
    number = entry.get("n")
    return number if isinstance(number, int) else 0


def _reason(error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return "The disk that holds the journal is full; nothing was done."
    return JournalError.default_message
