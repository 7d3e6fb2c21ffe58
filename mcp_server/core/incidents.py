"""Turns an exception nobody expected into an incident id and a log line without its text.

The text and the locals of a foreign exception may hold a value, so the log gets only the type's
name and the places it passed, and the caller gets the id.
"""

from __future__ import annotations

import logging
import traceback
from types import TracebackType

from mcp_server.core.errors import InternalError, SecretsError

__all__ = ["contain", "passed", "report"]

_log = logging.getLogger("secret_management")


def report(error: BaseException) -> InternalError:
    """Log where ``error`` happened, without what it says, and give the error to raise instead."""
    incident = InternalError()
    where = passed(error.__traceback__)
    _log.error("incident %s: %s at %s", incident.incident, type(error).__name__, where)
    return incident


def passed(trace: TracebackType | None) -> str:
    """The last eight places of a traceback, innermost first: functions and lines, no text."""
    frames = traceback.extract_tb(trace, limit=-8)
    return " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))


def contain(error: Exception) -> SecretsError:
    """The error itself when it is one of ours, else an incident."""
    return error if isinstance(error, SecretsError) else report(error)
