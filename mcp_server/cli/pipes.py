"""A child on pipes: standard output and error filtered, standard input its parent's or a value.

Where both outputs go to the same place they share one pipe, so their order is kept; else it is
kept as far as the kernel tells it. What a slow reader has not taken stays in the child. The relay
ends when all writers closed their end, as a shell's pipeline does.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
from contextlib import suppress
from typing import Final

from mcp_server.cli.relay import CHUNK, Program, exit_status, write_all
from mcp_server.cli.signals import passing_on, stop_here
from mcp_server.core.guard import Guard, StreamFilter

__all__ = ["run"]

_IDLE: Final = 0.1  # seconds of silence after which what is held back is shown
_KEYBOARD: Final = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP})


class _Stream:
    """One output of the child on its way to one of ours."""

    def __init__(self, target: int, guard: Guard) -> None:
        self.reading, self.writing = os.pipe()
        self._target = target
        self._filter = StreamFilter(guard)

    def forward(self) -> bool:
        """Take what there is; False when nothing will follow or nobody listens any more."""
        chunk = os.read(self.reading, CHUNK)
        output = self._filter.feed(chunk) if chunk else self._filter.flush()
        return self._put(output) and bool(chunk)

    def settle(self) -> None:
        """Show what is held back: nothing followed for a while, or the other stream speaks."""
        self._put(self._filter.idle())

    def _put(self, output: bytes) -> bool:
        try:
            write_all(self._target, output)
        except OSError:
            return False
        return True


class _Child:
    """The child as a receiver of signals; those that come before it exists wait for it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []

    def started(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        for number in self._early:
            self.send(number)

    def send(self, number: int) -> None:
        if self.process is None:
            self._early.append(number)
            return
        if number == signal.SIGWINCH or (number in _KEYBOARD and _came_from_the_keyboard()):
            pass  # the terminal gave it to the child too
        elif self.process.poll() is None:
            self.process.send_signal(number)
        elif number in {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}:
            raise KeyboardInterrupt  # only some program that the child left behind still writes
        if number == signal.SIGTSTP:
            stop_here()


def run(program: Program, given: bytes | None, guard: Guard) -> int:
    """Run the program to its end and give its exit status.

    Args:
        program: What to start.
        given: What it reads on standard input; ours when ``None``.
        guard: Knows the values.
    """
    out = _Stream(1, guard)
    err = out if _same_place(1, 2) else _Stream(2, guard)
    streams = {out, err}
    child = _Child()
    with passing_on(child.send):
        try:
            process = subprocess.Popen(
                program.command,
                cwd=program.folder,
                env=program.environment,
                stdin=None if given is None else subprocess.PIPE,
                stdout=out.writing,
                stderr=err.writing,
            )
        finally:
            for stream in streams:
                os.close(stream.writing)
        child.started(process)
        with suppress(KeyboardInterrupt):
            _relay(streams, process, given or b"")
        return exit_status(process.wait())


def _relay(streams: set[_Stream], process: subprocess.Popen[bytes], given: bytes) -> None:
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream.reading, selectors.EVENT_READ, stream)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        speaking: _Stream | None = None
        while selector.get_map():
            events = selector.select(None if speaking is None else _IDLE)
            if not events:
                _settle(speaking)
                speaking = None
            for key, _ in events:
                if key.data is None:
                    given = _feed(selector, process, given)
                elif speaking is not key.data:
                    _settle(speaking)
                    speaking = _forwarded(selector, key.data)
                else:
                    speaking = _forwarded(selector, speaking)


def _settle(stream: _Stream | None) -> None:
    if stream is not None:
        stream.settle()


def _forwarded(selector: selectors.BaseSelector, stream: _Stream) -> _Stream | None:
    """Pass on what there is; give the stream if it holds something back."""
    if stream.forward():
        return stream
    selector.unregister(stream.reading)
    os.close(stream.reading)
    return None


def _feed(
    selector: selectors.BaseSelector, process: subprocess.Popen[bytes], given: bytes
) -> bytes:
    """Give the child what fits of its standard input, and close that after the last byte."""
    if process.stdin is None:
        return b""
    try:
        given = given[os.write(process.stdin.fileno(), given) :]
    except BrokenPipeError:
        given = b""
    if not given:
        selector.unregister(process.stdin)
        process.stdin.close()
    return given


def _same_place(one: int, other: int) -> bool:
    try:
        return os.path.sameopenfile(one, other)
    except OSError:
        return False


def _came_from_the_keyboard() -> bool:
    """Whether a terminal gives its signals to the group that we and the child are in.

    There an interrupt that some program sends to us alone looks the same, and is not passed on.
    """
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
