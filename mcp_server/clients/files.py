"""Files that are whole or absent, whoever is killed and whatever is full.

A file is written beside its place, made durable (``fsync``), put in place in one step
(``rename`` or ``link``), and the folder is made durable. Files are 0600, new folders 0700.
A lock is ``flock`` on a file of its own, which is left behind.

Source: rename(2), link(2), fsync(2), flock(2).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mcp_server.core.durable import make_folder, sync_folder, write_new
from mcp_server.core.errors import (
    ConfigError,
    LimitError,
    OutcomeUnknownError,
    PermissionDeniedError,
    SecretsError,
    StoreError,
    StoreTimeoutError,
)

__all__ = ["create", "locked", "open_regular", "replace", "translated"]

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_MISPLACED: Final = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG})
_FIRST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.05


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold the lock file ``path``; one holder at a time, among processes and threads.

    Raises:
        StoreTimeoutError: Somebody else held it all the time.
    """
    with translated():
        descriptor = _open_lock(path)
    try:
        _wait(descriptor, seconds)
        yield
    finally:
        os.close(descriptor)


def open_regular(path: Path) -> int | None:
    """Open for reading; ``None`` when there is no such file.

    Raises:
        ConfigError: It is a link or not a regular file.
        PermissionDeniedError: It may not be read.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    with translated():
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigError("The file is not a regular file.")
    return descriptor


def replace(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of ``path``; call it under a lock of the caller's.

    Raises:
        LimitError: The disk is full; the old file stands as it was.
        OutcomeUnknownError: The new file is in place, but a power cut may bring the old one back.
        PermissionDeniedError, StoreError: It cannot be written; the old file stands as it was.
    """
    with translated():
        partial = _write_beside(path, data)
        try:
            partial.rename(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
    _make_folder_durable(path.parent)


def create(path: Path, data: bytes) -> bool:
    """Put ``data`` at ``path`` unless something is there; call it under a lock of the caller's.

    Returns:
        Whether it was created.

    Raises:
        LimitError, OutcomeUnknownError, PermissionDeniedError, StoreError: As ``replace``.
    """
    with translated():
        make_folder(path.parent)
        partial = _write_beside(path, data)
        try:
            os.link(partial, path)
        except FileExistsError:
            return False
        finally:
            partial.unlink(missing_ok=True)
    _make_folder_durable(path.parent)
    return True


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the operating system says into an error of ours, without its text."""
    try:
        yield
    except OSError as error:
        raise _translate(error) from None


def _translate(error: OSError) -> SecretsError:
    if error.errno in _FULL:
        return LimitError(
            "The disk is full; nothing was changed.", next_step="Free disk space, then retry."
        )
    if error.errno in _DENIED:
        return PermissionDeniedError(
            "The file or its folder may not be accessed by this user.",
            next_step="Correct the permissions of the file and its folder, then retry.",
        )
    if error.errno in _MISPLACED:
        return ConfigError(
            "The file's place is a link, a folder, or below something that is no folder.",
            next_step="Name the regular file itself in the configuration.",
        )
    return StoreError(
        "The file could not be read or written; nothing was changed.",
        next_step="Check the disk that holds it, then retry.",
    )


def _open_lock(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        make_folder(path.parent)
        return os.open(path, flags, 0o600)


def _wait(descriptor: int, seconds: float) -> None:
    deadline, pause = time.monotonic() + seconds, _FIRST_PAUSE
    while not _taken(descriptor):
        if time.monotonic() > deadline:
            raise StoreTimeoutError(
                "Another process holds the store; nothing was changed.",
                next_step="Wait for it to end, or end it, then retry.",
            )
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_beside(path: Path, data: bytes) -> Path:
    """Write a durable file that awaits its name. One that a killed process left is removed."""
    partial = path.with_name(f".{path.name}.part")
    partial.unlink(missing_ok=True)
    write_new(partial, data)
    return partial


def _make_folder_durable(folder: Path) -> None:
    try:
        sync_folder(folder)
    except OSError:
        raise OutcomeUnknownError(
            "The file was written, but the disk did not confirm its name."
        ) from None
