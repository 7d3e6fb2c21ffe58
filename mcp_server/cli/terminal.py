"""A child on a terminal of its own, copied from ours, with the filter in between.

Ours is put into raw mode, so keys reach the child's terminal and do there what they do anywhere
(interrupt, quit, stop); it is put back when the child ends, stops, or anything here fails. The
size follows ours. ``_monitor`` leads the child's session.
"""

from __future__ import annotations

import fcntl
import os
import select
import selectors
import signal
import subprocess
import sys
import termios
import tty
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from mcp_server.cli.relay import CHUNK, Program, exit_status, write_all
from mcp_server.cli.signals import passing_on, stop_here
from mcp_server.core.guard import Guard, StreamFilter

__all__ = ["run"]

_MONITOR: Final = str(Path(__file__).with_name("_monitor.py"))
_IDLE: Final = 0.02  # seconds of silence after which what is held back is shown; an echo waits it
_CATCH_UP: Final = 64  # reads at most before we stop too
_SIZE: Final = b"\0" * 8  # struct winsize
_KEYBOARD, _DISPLAY = 0, 1


def run(program: Program, guard: Guard) -> int:
    """Run the program to its end on a terminal and give its exit status.

    Standard input, output and error must be our terminal, in the foreground.
    """
    screen, theirs = os.openpty()
    events, told = os.pipe()
    termios.tcsetattr(theirs, termios.TCSANOW, termios.tcgetattr(_KEYBOARD))
    session = _Session(screen, events, guard)
    session.match_size()
    try:
        with passing_on(session.send):
            try:
                monitor = subprocess.Popen(
                    [sys.executable, "-I", "-S", _MONITOR, str(told), *program.command],
                    cwd=program.folder,
                    env=program.environment,
                    stdin=theirs,
                    stdout=theirs,
                    stderr=theirs,
                    start_new_session=True,
                    pass_fds=(told,),
                )
            finally:
                os.close(theirs)
                os.close(told)
            session.relay()
            return exit_status(monitor.wait())
    finally:
        os.close(screen)  # hangs up on whatever is left
        os.close(events)


class _Session:
    """The child's terminal seen from outside.

    Args:
        screen: The controlling side of the child's terminal.
        events: Where the monitor tells of stops; closed when it ends.
        guard: Knows the values.
    """

    def __init__(self, screen: int, events: int, guard: Guard) -> None:
        os.set_blocking(screen, False)
        self._screen = screen
        self._events = events
        self._ours = _OurTerminal()
        self._filter = StreamFilter(guard)
        self._typed = b""
        self._held = self._over = False
        self._selector = selectors.DefaultSelector()

    def match_size(self) -> None:
        """Give the child's terminal the size of ours; the kernel tells the child."""
        with suppress(OSError):
            size = fcntl.ioctl(_KEYBOARD, termios.TIOCGWINSZ, _SIZE)
            fcntl.ioctl(self._screen, termios.TIOCSWINSZ, size)

    def send(self, number: int) -> None:
        """Give a signal to whatever is in the foreground there.

        Continuing is left to ``_suspend``, which first gets our own terminal ready.
        """
        if number == signal.SIGWINCH:
            self.match_size()
        elif number != signal.SIGCONT:
            self._signal(number)

    def _signal(self, number: int) -> None:
        with suppress(OSError):
            foreground = os.tcgetpgrp(self._screen)
            if foreground > 1:
                os.killpg(foreground, number)

    def relay(self) -> None:
        """Pass keys and output on until the child's terminal is closed."""
        with self._selector as selector, self._ours:
            selector.register(_KEYBOARD, selectors.EVENT_READ, self._read_keys)
            selector.register(self._screen, selectors.EVENT_READ, self._exchange)
            selector.register(self._events, selectors.EVENT_READ, self._hear)
            while self._screen in selector.get_map():
                ready = selector.select(_IDLE if self._held or self._over else None)
                if not ready:
                    self._settle()
                for key, mask in ready:
                    key.data(mask)
            self._show(self._filter.flush())

    def _read_keys(self, _mask: int) -> None:
        try:
            typed = os.read(_KEYBOARD, CHUNK)
        except OSError:  # our terminal is gone
            typed = b""
        if not typed:
            self._selector.unregister(_KEYBOARD)
            return
        self._typed += typed
        self._await_room()

    def _await_room(self) -> None:
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._typed else 0)
        with suppress(KeyError):  # closed meanwhile
            self._selector.modify(self._screen, wanted, self._exchange)

    def _exchange(self, mask: int) -> None:
        """With the child's terminal: give it keys where it has room, take what it shows."""
        try:
            if mask & selectors.EVENT_WRITE:
                self._typed = self._typed[os.write(self._screen, self._typed) :]
                self._await_room()
            output = os.read(self._screen, CHUNK) if mask & selectors.EVENT_READ else None
        except BlockingIOError:
            return
        except OSError:  # EIO: the last program closed it
            output = b""
        if output == b"":
            self._finish()
        elif output is not None:
            self._show(self._filter.feed(output))
            self._held = True

    def _finish(self) -> None:
        with suppress(KeyError):
            self._selector.unregister(self._screen)

    def _settle(self) -> None:
        """Nothing came for a while: show a prompt, or end where the monitor did."""
        self._show(self._filter.idle())
        self._held = False
        if self._over:
            self._finish()

    def _hear(self, _mask: int) -> None:
        """The command was stopped, or the monitor ended."""
        if os.read(self._events, 1):
            self._suspend()
        else:
            self._over = True
            self._selector.unregister(self._events)

    def _suspend(self) -> None:
        self._catch_up()
        self._settle()
        self._ours.give_back()
        stop_here()
        self._ours.take()
        self.match_size()
        self._signal(signal.SIGCONT)

    def _catch_up(self) -> None:
        """Show what the command wrote before it stopped; others may write on meanwhile."""
        for _ in range(_CATCH_UP):
            if not select.select([self._screen], [], [], _IDLE)[0]:
                return
            self._exchange(selectors.EVENT_READ)

    def _show(self, output: bytes) -> None:
        with suppress(OSError):  # our terminal is gone; the child hears of it by its own signal
            write_all(_DISPLAY, output)


class _OurTerminal:
    """Raw while the child has it, as it was before whenever it is the shell's."""

    def __init__(self) -> None:
        self._before = termios.tcgetattr(_KEYBOARD)

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()

    def take(self) -> None:
        """Every key is the child's."""
        with suppress(termios.error):
            tty.setraw(_KEYBOARD, termios.TCSADRAIN)

    def give_back(self) -> None:
        """As it was."""
        with suppress(termios.error):
            termios.tcsetattr(_KEYBOARD, termios.TCSADRAIN, self._before)
