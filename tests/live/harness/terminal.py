"""A person at a terminal: a program in tmux, its screen read, its keys pressed.

Everything waits for something to be seen; nothing waits for time to pass.

For the leak scan two files below ``sandbox.recording`` are kept: ``bytes``, all that the program
wrote, and ``screens``, every screen that was looked at. A full-screen program sends only what
differs from the screen before, so a text may be whole on the screen and nowhere in the bytes;
while a test waits, the screen is looked at every 50 ms.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections import deque
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from tests.live.harness.client import Client, Sandbox

__all__ = ["ClientSession", "Terminal"]

_POLL = 0.05  # seconds between two looks at the screen
_LOST = 3.0  # seconds after which a key that changed nothing is taken for lost

_FIRST_RUN = {
    "Detected a custom API key": "Yes",
    "trust this folder": "Yes, I trust this folder",
}
_FORM = "requests your input"
_CURSOR = "\u276f"
_PROMPT = rf"^{_CURSOR}"  # a menu indents its cursor, the prompt does not


class Terminal:
    """A program in a tmux of its own. Use as a context manager.

    Args:
        sandbox: Whose environment and project the program gets.
        command: The program and its arguments.
        environment: Instead of the sandbox's.

    All that the program shows is recorded below ``sandbox.recording``.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._sandbox = sandbox
        self._command = [str(part) for part in command]
        self._environment = environment or sandbox.environment
        self._socket = sandbox.root / "tmux"
        self._exit_code = sandbox.root / "exit-code"
        self._screens: set[str] = set()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.close)
            self._start()
            self._settle()
            stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the program and its terminal."""
        self._tmux("kill-server")

    def _start(self) -> None:
        self._sandbox.recording.mkdir(exist_ok=True)
        self._exit_code.unlink(missing_ok=True)
        # The pane's command waits for a line, so that recording has begun before it starts. It
        # notes the exit code itself: tmux sometimes does not learn it.
        script = 'read -r _; code=$1; shift; "$@"; echo $? > "$code"'
        gate = ["sh", "-c", script, "sh", str(self._exit_code), *self._command]
        size = ["-x", "180", "-y", "60"]
        self._tmux("new-session", "-d", *size, "-c", str(self._sandbox.project), *gate)
        self._tmux("set-option", "remain-on-exit", "on")
        self._tmux("pipe-pane", f"cat >> '{self._sandbox.recording / 'bytes'}'")
        self.press("Enter")

    def _settle(self) -> None:
        """Bring the program to where the test begins; here it already is."""

    def press(self, *keys: str) -> None:
        """Press named keys (``Enter``, ``Up``, ``Escape``, ``C-c`` …)."""
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type text as it is."""
        self._tmux("send-keys", "-l", text)

    def screen(self) -> str:
        """What is on the screen now, as text."""
        screen = self._tmux("capture-pane", "-p", "-J")
        if screen not in self._screens:
            self._screens.add(screen)
            with (self._sandbox.recording / "screens").open("a") as screens:
                screens.write(screen)
        return screen

    def ended(self) -> int | None:
        """The program's exit code, or None while it runs."""
        written = self._exit_code.read_text() if self._exit_code.exists() else ""
        return int(written) if written.endswith("\n") else None

    def wait_for(self, *patterns: str, seconds: float = 60) -> str:
        """The screen, once it matches all patterns.

        Raises:
            TimeoutError: It did not within ``seconds``; the message holds the last screen.
        """
        complaint = f"not on the screen: {patterns}"
        everything = [re.compile(pattern, re.MULTILINE) for pattern in patterns]
        return self._wait(
            lambda screen: all(pattern.search(screen) for pattern in everything),
            time.monotonic() + seconds,
            complaint,
        )

    def wait_until_ended(self, seconds: float = 60) -> int:
        """The exit code, once the program has ended; raises ``TimeoutError`` otherwise."""
        deadline = time.monotonic() + seconds
        self._wait(lambda _: self.ended() is not None, deadline, "still running")
        return self.ended() or 0

    def choose(self, label: str, seconds: float = 30) -> None:
        """In a menu, move the cursor to the choice ``label`` (a regex for its text) and take it.

        Returns once the menu no longer shows the cursor there.

        Raises:
            TimeoutError: There is no such choice, or taking it changed nothing.
        """
        deadline = time.monotonic() + seconds
        wanted = re.compile(rf"{_CURSOR}\s*(\d\.\s*)?{label}\s*$")
        while not wanted.search(line := self._menu_line(deadline)):
            self._press_until("Down", _settled(other_than=line), deadline)
        self._press_until("Enter", _settled(other_than=line), deadline)

    def _menu_line(self, deadline: float) -> str:
        return _cursor_line(self._wait(_settled(), deadline, "no menu"))

    def _press_until(self, key: str, seen: Callable[[str], bool], deadline: float) -> str:
        """Press a key, again every few seconds: one that comes before the menu listens is lost."""
        while True:
            self.press(key)
            again = time.monotonic() + _LOST
            with suppress(TimeoutError):
                return self._wait(seen, min(again, deadline), "")
            if time.monotonic() >= deadline:
                msg = f"{key} changed nothing\n{self.screen()}"
                raise TimeoutError(msg)

    def _wait(self, seen: Callable[[str], bool], deadline: float, complaint: str) -> str:
        while not seen(screen := self.screen()):
            if time.monotonic() >= deadline:
                msg = f"{complaint}\n{screen}"
                raise TimeoutError(msg)
            time.sleep(_POLL)
        return screen

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, "-f", "/dev/null", *arguments],
            env=self._environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout


def _cursor_line(screen: str) -> str:
    """The lowest line with a cursor; empty when there is none."""
    return next((line for line in reversed(screen.splitlines()) if _CURSOR in line), "")


def _settled(other_than: str = "") -> Callable[[str], bool]:
    """Whether the cursor stands on another line for three looks: nothing is drawn in one go."""
    looks: deque[str] = deque(maxlen=3)

    def settled(screen: str) -> bool:
        looks.append(_cursor_line(screen))
        return len(looks) == 3 and len(set(looks)) == 1 and looks[0] != other_than

    return settled


def _stands_before(label: str, screen: str) -> bool:
    return f"{_CURSOR} {label}" in screen


class ClientSession(Terminal):
    """The client's interactive session."""

    def __init__(self, client: Client, sandbox: Sandbox, *options: str | Path) -> None:
        super().__init__(sandbox, [client.executable, *options])

    def _settle(self) -> None:
        """Answer the first-run dialogs, until it waits for a prompt with its server connected."""
        pending = dict(_FIRST_RUN)
        while True:
            screen = self.wait_for("|".join([*pending, _PROMPT]))
            shown = next((text for text in pending if text in screen), None)
            if shown is None:
                break
            self.choose(pending.pop(shown))  # once: its text may outlive it for a frame
        # The prompt comes before the server does; a session's start does not wait for it.
        self._wait(lambda _: self._connected(), time.monotonic() + 60, "no MCP server connected")

    def _connected(self) -> bool:
        return "Connection established" in self._sandbox.server_log()

    def say(self, prompt: str) -> None:
        """Type a prompt and send it."""
        self.type(prompt)
        self.wait_for(re.escape(prompt))
        self.press("Enter")

    def fill_form(self, button: str, *, ticked: bool) -> None:
        """Answer a form dialog that has one box; ``button`` is Accept or Decline."""
        deadline = time.monotonic() + 60
        self.wait_for(_FORM, r"\u2610")
        if ticked:
            self._press_until("Space", lambda now: "\u2612" in now, deadline)
        self._press_until("Down", partial(_stands_before, "Accept"), deadline)
        if button == "Decline":
            self._press_until("Right", partial(_stands_before, "Decline"), deadline)
        self._press_until("Enter", lambda now: _FORM not in now, deadline)
