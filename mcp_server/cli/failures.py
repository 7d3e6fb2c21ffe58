"""What a failed verb says on standard error, and with which status it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import ClassVar, Final

from mcp_server.cli.paint import Paint
from mcp_server.cli.show import beside, in_verbs
from mcp_server.core.errors import ApprovalNeededError, ConfigError, InputError, SecretsError
from mcp_server.core.incidents import contain

__all__ = ["FAILED", "NEEDS_APPROVAL", "USAGE", "UsageError", "show"]

FAILED: Final = 1
USAGE: Final = 2
NEEDS_APPROVAL: Final = 3


class UsageError(InputError):
    """The command line itself is wrong. What was typed is not repeated: it may be a value."""

    code: ClassVar[str] = "USAGE"
    default_next_step: ClassVar[str] = "See `secrets VERB --help`."


def show(error: Exception) -> int:
    """Print code, sentence and next step; an error nobody expected becomes an incident."""
    known = contain(error)
    paint = Paint.for_stream(sys.stderr, os.environ)
    for name, tint, text in (
        (known.code, paint.red, known.message),
        ("Next", paint.dim, in_verbs(known.next_step)),
    ):
        print("\n".join(_line(name, tint, text)), file=sys.stderr)
    return status_of(known)


def _line(name: str, tint: Callable[[str], str], text: str) -> list[str]:
    """Wrapped for a person; a log or a pipe gets one line."""
    head = f"{tint(name)}: "
    return beside(head, len(name) + 2, text) if sys.stderr.isatty() else [f"{head}{text}"]


def status_of(error: SecretsError) -> int:
    """The exit status that stands for an error."""
    if isinstance(error, ApprovalNeededError):
        return NEEDS_APPROVAL
    if isinstance(error, InputError) and not isinstance(error, ConfigError):
        return USAGE
    return FAILED
