"""What both ways of connecting a child share."""

from __future__ import annotations

import os
import select
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["CHUNK", "Program", "exit_status", "write_all"]

CHUNK: Final = 65_536  # bytes read at once
_SIGNALLED: Final = 128


@dataclass(frozen=True, slots=True, repr=False)
class Program:
    """What to start: absolute executable with arguments, folder, and its whole environment."""

    command: tuple[str, ...]
    folder: str
    environment: Mapping[bytes, bytes]


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it, waiting for a slow reader, also on a descriptor that does not block.

    Raises:
        OSError: Nobody reads it any more.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            select.select([], [descriptor], [])


def exit_status(code: int) -> int:
    """As a shell gives it: 128 + N for the end by signal N."""
    return code if code >= 0 else _SIGNALLED - code
