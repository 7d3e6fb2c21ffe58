"""Is there a person, at a terminal, and not an assistant in their place?

A person is whoever can be asked on the controlling terminal: ``/dev/tty`` opens, standard input
and standard error are terminals, and neither this process nor, on Linux, any ancestor of it
carries a mark that assistants put into what they start. This keeps an assistant that follows its
instructions from answering for its user by mistake or by a hostile text's advice. It is no
defence against a program of the same user that sets out to imitate a terminal (SECURITY.md).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from mcp_server.core.errors import ApprovalNeededError
from mcp_server.core.process import ASSISTANT_MARKS

__all__ = ["absence", "ask", "need", "present"]

_MAX_ANCESTORS = 64
_PARENT = re.compile(rb".*\) . (\d+)", re.DOTALL)  # the name in parentheses may hold anything


def present() -> bool:
    """Whether a person can be asked here."""
    return absence() is None


def absence(environment: Mapping[str, str] = os.environ) -> str | None:
    """Why there is no person to ask, in a sentence; ``None`` when there is one."""
    if not ASSISTANT_MARKS.isdisjoint(environment) or any(_marked(pid) for pid in _ancestors()):
        return "An assistant started this command."
    if not (os.isatty(0) and os.isatty(2) and _has_terminal()):
        return "No terminal is attached."
    return None


def need(what: str, next_step: str) -> None:
    """Go on only with a person.

    Raises:
        ApprovalNeededError: There is none.
    """
    reason = absence()
    if reason is not None:
        raise ApprovalNeededError(
            f"{what} takes a person at a terminal. {reason}", next_step=next_step
        )


def ask(text: str, question: str) -> str:
    """Show ``text``, ask on the terminal, give the answer without its line end.

    What was typed before the question appeared does not answer it.
    """
    import termios  # noqa: PLC0415 - where there is a person there is a terminal

    with Path("/dev/tty").open("r+b", buffering=0) as terminal:
        terminal.write(text.encode() + b"\n")
        termios.tcflush(terminal, termios.TCIFLUSH)
        terminal.write(question.encode())
        return _line(terminal.fileno())


def _line(descriptor: int) -> str:
    typed = b""
    while not typed.endswith(b"\n"):
        more = os.read(descriptor, 1024)
        if not more:
            break
        typed += more
    return typed.decode(errors="replace").strip()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _ancestors() -> Iterator[int]:
    pid = os.getppid()
    for _ in range(_MAX_ANCESTORS):
        if pid <= 1 or sys.platform != "linux":
            return
        yield pid
        try:
            found = _PARENT.match(Path(f"/proc/{pid}/stat").read_bytes())
        except OSError:
            return
        pid = int(found[1]) if found else 0


def _marked(pid: int) -> bool:
    """Whether an ancestor was started with a mark; one of another user cannot be asked."""
    with suppress(OSError):
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        names = {entry.partition(b"=")[0].decode(errors="replace") for entry in entries}
        return not ASSISTANT_MARKS.isdisjoint(names)
    return False
