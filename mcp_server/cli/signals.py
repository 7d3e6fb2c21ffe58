"""Passes signals on to the command that ``secrets run`` started."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

__all__ = ["passing_on", "stop_here"]

_PASSED_ON: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
    signal.SIGTSTP,
    signal.SIGWINCH,
)


@contextmanager
def passing_on(send: Callable[[int], None]) -> Iterator[None]:
    """Call ``send`` for each signal that arrives; one that was ignored before stays ignored.

    The handlers run between retries of a blocked read or write (PEP 475), so that a stalled
    reader of the output does not hold a signal up.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        send(number)

    before = {number: signal.getsignal(number) for number in _PASSED_ON}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_here() -> None:
    """Stop this process as the terminal's stop key does; comes back when it is continued.

    In a process group that no shell watches the kernel discards the stop (POSIX, orphaned
    process group), and this comes back at once.
    """
    handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, handler)
