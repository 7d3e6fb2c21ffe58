"""Small files that outlive a kill and a power cut: whole or absent, and their names too.

A new name is on the disk only when its folder is (``fsync``). Raises ``OSError``; callers say what
it means. Source: fsync(2), link(2).
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

__all__ = ["create", "make_folder", "sync_folder", "write_all", "write_new"]


def create(path: Path, content: bytes) -> None:
    """Make the file, 0600, unless something is there. Needs no lock: one of several succeeds.

    A killed process can leave ``.NAME.*`` beside it.

    Raises:
        FileExistsError: Something is there.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_new(partial, content)
    try:
        os.link(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_new(path: Path, content: bytes) -> None:
    """Make the file, 0600, its content on the disk but its name not yet; on failure there is none.

    A killed process can leave a part of it, so it is the first step towards another name.

    Raises:
        FileExistsError: Something is there.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, content)
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make the folder, 0700, and those above it that are missing."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        sync_folder(each.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in the folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, content: bytes) -> None:
    """Write every byte: a disk that fills up takes a part first."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
