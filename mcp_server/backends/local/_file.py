"""The file of a local store: read whole, replaced whole, by one process at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcp_server.clients import files
from mcp_server.core.errors import ConflictError, LimitError

__all__ = ["Stamp", "StoreFile"]

MAX_BYTES: Final = 16 * 1024 * 1024
_LOCK_SECONDS: Final = 10.0
_TAIL: Final = 1024


@dataclass(frozen=True, slots=True)
class Stamp:
    """Tells one state of the file from another without reading all of it.

    Its end holds the MAC, which is never the same twice, so that a file of the same size, time
    and recycled inode is still another one.
    """

    device: int
    inode: int
    size: int
    modified_ns: int
    tail: bytes


class StoreFile:
    """One file.

    Args:
        path: Absolute; nothing is opened or created before it is needed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def look(self) -> Stamp | None:
        """The state of the file now; ``None`` when there is none.

        Raises:
            ConfigError: It is a link or not a regular file.
            PermissionDeniedError, StoreError: It cannot be read.
        """
        with self._opened() as descriptor:
            return None if descriptor is None else _stamp(descriptor)

    def read(self) -> tuple[Stamp, bytes] | None:
        """The state of the file and all of it.

        Raises:
            LimitError: It is larger than any that a store writes.
            ConfigError, PermissionDeniedError, StoreError: As ``look``.
        """
        with self._opened() as descriptor:
            if descriptor is None:
                return None
            stamp = _stamp(descriptor)
            if stamp.size > MAX_BYTES:
                raise LimitError("The store's file is too large to be read.")
            with open(descriptor, "rb", closefd=False) as file:
                return stamp, file.read(stamp.size)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only writer.

        Raises:
            StoreTimeoutError: Another process is, for ten seconds.
            PermissionDeniedError, StoreError: The lock cannot be made.
        """
        with files.locked(self._path.with_name(f".{self._path.name}.lock"), _LOCK_SECONDS):
            yield

    def replace(self, data: bytes, seen: Stamp | None) -> None:
        """Put ``data`` in its place; the caller holds the lock.

        Args:
            data: The whole file.
            seen: The state that ``data`` was made from. Programs that know nothing of the lock
                (sops itself) are noticed by it.

        Raises:
            ConflictError: The file changed since.
            LimitError, OutcomeUnknownError, PermissionDeniedError, StoreError: As
                ``clients.files.replace``.
        """
        if self.look() != seen:
            raise ConflictError("The store's file changed in between; nothing was written.")
        files.replace(self._path, data)

    @contextmanager
    def _opened(self) -> Iterator[int | None]:
        descriptor = files.open_regular(self._path)
        try:
            with files.translated():
                yield descriptor
        finally:
            if descriptor is not None:
                os.close(descriptor)


def _stamp(descriptor: int) -> Stamp:
    info = os.fstat(descriptor)
    tail = os.pread(descriptor, _TAIL, max(0, info.st_size - _TAIL))
    return Stamp(info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, tail)
