"""Logging that cannot carry a value: no exception text, no vendor debug output, guarded stderr.

``botocore`` prints whole requests at DEBUG, ``http.client`` prints headers, and a traceback's last
line is the exception's text. So vendor loggers stay at WARNING whatever the environment says, and
a record's exception is shown as its type and places only.
"""

from __future__ import annotations

import logging
import sys
import traceback
from types import TracebackType
from typing import Final, TextIO

from mcp_server.core.incidents import report

__all__ = ["configure"]

_VENDORS: Final = ("botocore", "boto3", "urllib3", "hvac", "requests", "keyring", "dotenv", "httpx")


class _Formatter(logging.Formatter):
    """Level, logger, message; of an exception the type and where, never what it says."""

    def formatException(  # noqa: N802 - the name is logging's
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        kind, _, trace = ei
        places = traceback.extract_tb(trace, limit=-8)
        where = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(places))
        return f"{kind.__name__ if kind else 'error'} at {where}"


def configure(stream: TextIO, level: int = logging.WARNING) -> None:
    """Send all logging to ``stream`` and let nothing escape by the interpreter's own hooks."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Formatter("%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.raiseExceptions = False
    for name in _VENDORS:
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.excepthook = _excepthook


def _excepthook(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    del trace
    if issubclass(kind, KeyboardInterrupt):
        return
    sys.stderr.write(f"{report(error)}\n")
