"""Starts the command of ``secrets run`` with its values and gives its exit status.

Values are in the child's environment or on its standard input, and nowhere else: not in an
argument, not in this process's environment, not in a file. What the child writes is searched for
them on its way (``core.guard.StreamFilter``). On a terminal the child gets one of its own
(``terminal``), else pipes (``pipes``).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mcp_server.cli import pipes
from mcp_server.cli.relay import Program
from mcp_server.core.errors import InputError, LimitError
from mcp_server.core.guard import Guard
from mcp_server.core.requests import STDIN

__all__ = ["Launch", "start"]

_NOT_FOUND: Final = 127
_NOT_STARTED: Final = 126


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a command.

    Attributes:
        command: Absolute executable and arguments.
        folder: Where.
        environment: Plain variables; the values are added to them.
    """

    command: tuple[str, ...]
    folder: str
    environment: Mapping[str, str] = field(default_factory=dict)


def start(launch: Launch, values: Mapping[str, bytes], guard: Guard) -> int:
    """Run the command to its end.

    Args:
        launch: What to run.
        values: By variable; ``STDIN`` goes to standard input. Not kept.
        guard: Knows the values.

    Returns:
        The command's exit status, 128 + N when signal N ended it, 126 or 127 when it could not
        be started or found.

    Raises:
        InputError, LimitError: A value does not fit into an environment.
    """
    given = values.get(STDIN)
    program = Program(launch.command, launch.folder, _environment(launch, values))
    try:
        if given is None and _is_terminal():
            from mcp_server.cli import terminal  # noqa: PLC0415 - needs what pipes do not

            return terminal.run(program, guard)
        return pipes.run(program, given, guard)
    except OSError as error:
        if error.errno == errno.E2BIG:
            raise LimitError(
                "The values are too large for an environment.",
                next_step="Give a large one on standard input: --pipe REF.",
            ) from None
        return _NOT_FOUND if error.errno in {errno.ENOENT, errno.ENOTDIR} else _NOT_STARTED


def _environment(launch: Launch, values: Mapping[str, bytes]) -> dict[bytes, bytes]:
    plain = {os.fsencode(name): os.fsencode(text) for name, text in launch.environment.items()}
    secret = {name.encode(): value for name, value in values.items() if name != STDIN}
    if any(b"\0" in value for value in secret.values()):
        raise InputError(
            "A value with a zero byte cannot be in an environment.",
            next_step="Give it on standard input: --pipe REF.",
        )
    return {**plain, **secret}


def _is_terminal() -> bool:
    """Whether we have the terminal, all of it, and are in its foreground."""
    return all(map(os.isatty, (0, 1, 2))) and os.tcgetpgrp(0) == os.getpgrp()
