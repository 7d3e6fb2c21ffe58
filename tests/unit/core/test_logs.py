"""Logging in a real process: whatever libraries log, no text of an exception gets out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CANARY = "canary-log-7h3k9w2q"

OURS = f"""
import asyncio, gc, logging, sys, threading, warnings
import mcp_server.core.logs as logs
logs.configure(sys.stderr)
CANARY = "{CANARY}"
def fail():
    raise ValueError(CANARY)
"""
DEFAULT = OURS.replace("logs.configure(sys.stderr)", "logging.basicConfig()")

EVENTS = {
    "logged exception": """
try:
    fail()
except ValueError:
    logging.getLogger("secret_management").exception("it failed")
""",
    "exception in a foreign message": """
try:
    fail()
except ValueError as error:
    logging.getLogger("hvac.adapters").error("failed: %s", error)
""",
    "exception with a cause": """
try:
    try:
        fail()
    except ValueError as error:
        raise RuntimeError(CANARY) from error
except RuntimeError:
    logging.getLogger("mcp.server").exception(CANARY)
""",
    "text cached by another handler": """
class First(logging.Handler):
    def emit(self, record):
        logging.Formatter().format(record)
logging.getLogger("secret_management").addHandler(First())
try:
    fail()
except ValueError:
    logging.getLogger("secret_management").exception("it failed")
""",
    "uncaught": "fail()",
    "uncaught in a thread": """
thread = threading.Thread(target=fail)
thread.start()
thread.join()
""",
    "uncaught in a destructor": """
class Odd:
    def __del__(self):
        fail()
odd = Odd()
del odd
""",
    "a task that nobody awaited": """
async def main():
    async def task():
        fail()
    held = asyncio.ensure_future(task())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del held
    gc.collect()
asyncio.run(main())
""",
    "a warning": "warnings.warn(CANARY)",
    "a formatting error": 'logging.getLogger("secret_management").error("%d", CANARY)',
}


def _run(setup: str, event: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", setup + event],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **environment},
    )
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS.keys())
def test_no_text_of_an_exception_reaches_the_log(event: str) -> None:
    """The control: without our configuration each of these prints it."""
    assert CANARY in _run(DEFAULT, event)
    shown = _run(OURS, event)
    assert CANARY not in shown
    if "formatting" not in event and "%d" not in event:
        assert shown


def test_where_an_exception_was_raised_is_told() -> None:
    shown = _run(OURS, EVENTS["logged exception"])
    assert "ERROR secret_management: it failed" in shown
    assert "ValueError at fail:" in shown


def test_our_own_messages_are_shown_and_of_foreign_ones_the_place() -> None:
    event = """
logging.getLogger("secret_management").warning("number %d", 5)
logging.getLogger("urllib3.connectionpool").warning("GET /v1/secret?token=%s", CANARY)
"""
    shown = _run(OURS, event)
    assert "WARNING secret_management: number 5" in shown
    assert "WARNING urllib3.connectionpool: at <string>:" in shown
    assert CANARY not in shown


DEBUG = {
    "HVAC_LOG_LEVEL": "DEBUG",
    "BOTO_DEBUG": "1",
    "PYTHONASYNCIODEBUG": "1",
    "MCP_LOG_LEVEL": "DEBUG",
    "LOGLEVEL": "DEBUG",
    "LOG_LEVEL": "DEBUG",
    "URLLIB3_DEBUG": "1",
    "FASTMCP_LOG_LEVEL": "DEBUG",
}
VENDORS = ["botocore", "boto3", "urllib3", "hvac", "requests", "keyring", "dotenv", "httpx"]


@pytest.mark.parametrize("name", VENDORS)
def test_the_environment_cannot_make_a_library_talk(name: str) -> None:
    event = f"""
for logger in ("{name}", "{name}.endpoint"):
    logging.getLogger(logger).debug(CANARY)
    logging.getLogger(logger).info(CANARY)
"""
    assert _run(OURS, event, **DEBUG) == ""
    loud = "logging.getLogger().setLevel(logging.DEBUG)\n"
    assert CANARY in _run(DEFAULT, loud + event)
    assert _run(OURS, loud + event) == ""
