"""The ``secrets`` command as a real process: in a home of its own, on pipes or at a terminal.

A ``Seat`` is a person: the command is the foreground job of a terminal that nobody above it
shares. Its ancestors are nobody's either, so that tests pass under an assistant too.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["PROJECT", "Done", "Home", "Seat", "until"]

PROJECT = Path(__file__).parents[3]
SECONDS = 30.0
_CONFIG = "stores: {local: {backend: local, keyring: false}}\n"
_LEADER = """
import fcntl, os, sys, termios
if os.fork():
    os._exit(0)
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
notes = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
job = os.fork()
if job == 0:
    os.close(notes)
    os.setpgid(0, 0)
    import signal
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[2], sys.argv[2:])
os.write(notes, b"job %d\\n" % job)
while True:
    _, state = os.waitpid(job, os.WUNTRACED)
    if not os.WIFSTOPPED(state):
        break
    os.write(notes, b"stopped\\n")
os.write(notes, b"ended %d\\n" % os.waitstatus_to_exitcode(state))
"""


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ended."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def receipt(self) -> dict[str, Any]:
        """Standard output as one JSON object."""
        found: dict[str, Any] = json.loads(self.stdout)
        return found


class Home:
    """Configuration, state, data and project folder of one user.

    Args:
        root: An empty folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project = root / "project"
        self.config = root / "config" / "secret-management" / "config.yaml"
        self.config.parent.mkdir(parents=True)
        self.project.mkdir()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(root),
            "PYTHONPATH": str(PROJECT),
            "TERM": "xterm",
            "LANG": "C.UTF-8",
            **{
                f"XDG_{name}_HOME": str(root / name.lower()) for name in ("CONFIG", "STATE", "DATA")
            },
        }
        self.configure("")

    def configure(self, more: str) -> None:
        """Write the operator's configuration: the local store and ``more``."""
        self.config.write_text(_CONFIG + more)

    def keep(self, name: str, **values: str) -> None:
        """Store a secret ``local://NAME`` with these values, by the command line."""
        file = self.project / "import.json"
        file.write_text(json.dumps(values))
        done = self.secrets("write", f"local://{name}", "--from-file", "import.json")
        file.unlink()
        assert done.code == 0, (done.stdout, done.stderr)

    def command(self, *arguments: str) -> list[str]:
        """The command line of ``secrets``."""
        return [sys.executable, "-m", "mcp_server", *arguments]

    def secrets(
        self,
        *arguments: str,
        stdin: bytes = b"",
        more: Mapping[str, str] | None = None,
        seconds: float = SECONDS,
    ) -> Done:
        """Run ``secrets`` to its end without a terminal."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.project,
            env={**self.environment, **(more or {})},
            input=stdin,
            capture_output=True,
            timeout=seconds,
            check=False,
            start_new_session=True,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def seat(self, *arguments: str, more: Mapping[str, str] | None = None) -> Seat:
        """A person running ``secrets``."""
        return Seat(self, self.command(*arguments), more or {})

    def seat_of(self, command: Sequence[str], more: Mapping[str, str] | None = None) -> Seat:
        """A person running anything."""
        return Seat(self, command, more or {})


class Seat:
    """A program in the foreground of a terminal of its own. Use as a context manager.

    Args:
        home: Whose environment and project the program gets.
        command: Absolute executable and arguments.
        more: Further variables.
    """

    def __init__(self, home: Home, command: Sequence[str], more: Mapping[str, str]) -> None:
        self._terminal, theirs = os.openpty()
        self.resize(24, 100)
        self._notes = home.root / f"notes-{self._terminal}-{time.monotonic_ns()}"
        self.seen = b""
        subprocess.run(
            [sys.executable, "-I", "-c", _LEADER, str(self._notes), *command],
            cwd=home.project,
            env={**home.environment, **more},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            check=True,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._terminal)  # hangs up

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of the terminal."""
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def modes(self) -> list[Any]:
        """The terminal's modes now."""
        return termios.tcgetattr(self._terminal)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._terminal, keys.encode())

    def expect(self, pattern: str, seconds: float = SECONDS) -> str:
        """Read until what follows the last match holds ``pattern``; give it up to its end.

        Raises:
            AssertionError: It did not; the message holds what was seen.
        """
        deadline = time.monotonic() + seconds
        while not (match := re.search(pattern.encode(), self._unread(), re.DOTALL)):
            assert time.monotonic() < deadline, (pattern, self.seen)
            self._read(0.1)
        read = self._unread()[: match.end()]
        self._matched += match.end()
        return read.decode()

    _matched = 0

    def _unread(self) -> bytes:
        return self.seen[self._matched :]

    def _read(self, patience: float) -> bool:
        if not select.select([self._terminal], [], [], patience)[0]:
            return True
        try:
            self.seen += (chunk := os.read(self._terminal, 65536))
        except OSError:  # EIO: closed by the last program
            return False
        return bool(chunk)

    def notes(self) -> list[str]:
        """What the job's parent saw: ``job PID``, ``stopped``, ``ended CODE``."""
        return self._notes.read_text().splitlines() if self._notes.exists() else []

    @property
    def pid(self) -> int:
        """The process of the command."""
        until(lambda: bool(self.notes()))
        return int(self.notes()[0].removeprefix("job "))

    def signal(self, number: int) -> None:
        """Send a signal to the command alone."""
        os.kill(self.pid, number)

    def resume(self) -> None:
        """What ``fg`` does."""
        os.kill(self.pid, signal.SIGCONT)

    def end(self, seconds: float = SECONDS) -> int:
        """Read to the end and give the exit code, negative for a signal."""
        deadline = time.monotonic() + seconds
        while not (self.notes() and self.notes()[-1].startswith("ended")):
            assert time.monotonic() < deadline, self.seen
            self._read(0.05)
        while self._read(0):
            if not select.select([self._terminal], [], [], 0)[0]:
                break
        return int(self.notes()[-1].removeprefix("ended "))


def until(true: Any, seconds: float = SECONDS) -> None:  # noqa: ANN401 - any predicate
    """Poll until ``true()`` is.

    Raises:
        AssertionError: It was not in time.
    """
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)
