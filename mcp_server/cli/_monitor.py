"""Leads the session on the terminal that ``secrets run`` made for a command; runs on its own.

``python -I -S _monitor.py EVENTS COMMAND...`` with the new terminal as descriptors 0 to 2. A
shell's stop key works only for a process group with a parent in its own session (POSIX, orphaned
process group), so this stands between: it takes the terminal, starts the command in the
foreground, writes ``S`` to the descriptor EVENTS when it was stopped, and ends as it ended.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios

_NOT_STARTED, _NOT_FOUND, _SIGNALLED = 126, 127, 128


def main(events: int, command: list[str]) -> int:
    """Start the command, report each stop, give its exit status."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.set_inheritable(events, False)  # noqa: FBT003 - positional only
    child = os.fork()
    if child == 0:
        _become(command)
    _, state = os.waitpid(child, os.WUNTRACED)
    while os.WIFSTOPPED(state):
        os.write(events, b"S")
        _, state = os.waitpid(child, os.WUNTRACED)
    code = os.waitstatus_to_exitcode(state)
    return code if code >= 0 else _SIGNALLED - code


def _become(command: list[str]) -> None:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    for number in (signal.SIGTTOU, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execv(command[0], command)  # noqa: S606 - no shell is what we want
    except FileNotFoundError:
        os._exit(_NOT_FOUND)
    except OSError:
        os._exit(_NOT_STARTED)


if __name__ == "__main__":
    os._exit(main(int(sys.argv[1]), sys.argv[2:]))
