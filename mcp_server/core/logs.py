"""Logging that cannot carry a value: no exception text, no vendor debug output, guarded stderr.

``botocore`` prints whole requests at DEBUG, ``http.client`` prints headers, and a traceback's last
line is the exception's text; ``asyncio`` puts the exception into its message. So vendor loggers
stay at WARNING whatever the environment says, of a foreign record only its place is shown, and of
an exception only its type and the places it passed.
"""

from __future__ import annotations

import copy
import logging
import os
import sys
import threading
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import Final, TextIO

from mcp_server.core import places
from mcp_server.core.incidents import passed, report

__all__ = ["configure"]

_OWN: Final = "secret_management"
_MAX_FILE: Final = 262_144
_VENDORS: Final = ("botocore", "boto3", "urllib3", "hvac", "requests", "keyring", "dotenv", "httpx")


class _Formatter(logging.Formatter):
    """Level, logger, message; of an exception the type and where, never what it says."""

    def format(self, record: logging.LogRecord) -> str:
        """One record; a copy, since handlers share a record and what they cache in it."""
        shown = copy.copy(record)
        shown.exc_text = shown.stack_info = None
        if record.name.partition(".")[0] != _OWN:
            shown.msg, shown.args = f"at {record.module}:{record.lineno}", None
        return super().format(shown)

    def formatException(  # noqa: N802 - the name is logging's
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        kind, _, trace = ei
        return f"{kind.__name__ if kind else 'error'} at {passed(trace)}"


class _IncidentFile(RotatingFileHandler):
    """Where incidents stay: clients keep nothing of what a server writes once it is connected.

    Made with the first incident, 0600, at most two files of 256 KiB.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=_MAX_FILE, backupCount=1, delay=True, encoding="utf-8")
        self.setLevel(logging.ERROR)

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        private = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return os.fdopen(private, "a", encoding="utf-8")


def configure(stream: TextIO, level: int = logging.WARNING) -> None:
    """Send all logging to ``stream`` and let nothing escape by the interpreter's own hooks.

    Errors go to ``places.incident_log()`` too.
    """
    root = logging.getLogger()
    root.handlers[:] = [logging.StreamHandler(stream), _IncidentFile(places.incident_log())]
    for handler in root.handlers:
        handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root.setLevel(level)
    logging.raiseExceptions = False
    for name in _VENDORS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)  # noqa: FBT003 - the function takes nothing else
    sys.excepthook = _excepthook
    threading.excepthook = lambda hook: _say(hook.exc_value)
    sys.unraisablehook = lambda hook: _say(hook.exc_value)


def _excepthook(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    del trace
    if not issubclass(kind, KeyboardInterrupt):
        _say(error)


def _say(error: BaseException | None) -> None:
    if error is not None:
        sys.stderr.write(f"{report(error)}\n")
