"""What a process really asked of the kernel: strace's record of it, read back, and its checks.

A call counts from the line where it begins to the line where it has ended, so that "before" means
ended before the other began, in whichever threads.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.leaks.corpus import find

__all__ = [
    "UNHARDENED",
    "Call",
    "Step",
    "connections",
    "foreign_writes",
    "leaks",
    "out_of_order",
    "read",
    "tracer",
]

UNHARDENED: Final = (
    ()
    if os.geteuid() == 0
    else ("from mcp_server.core import process", "process.harden = lambda: None")
)
"""Statements for the server of a tester who is not root: a hardened process's descriptors have no
names for a tracer without CAP_SYS_PTRACE."""

_WRITES: Final = ("write", "pwrite64", "writev", "pwritev", "sendto", "sendmsg", "sendmmsg")
_NAMES: Final = (
    *("creat", "mkdir", "mkdirat", "mknod", "mknodat", "rename", "renameat", "renameat2", "link"),
    *("linkat", "symlink", "symlinkat", "unlink", "unlinkat", "rmdir", "truncate", "chmod"),
    *("fchmodat", "chown", "lchown", "fchownat", "utimensat"),
)
_TRACED: Final = (
    *("open", "openat", "openat2", "fsync", "fdatasync", "ftruncate", "flock", "execve"),
    *("execveat", "connect", "bind", *_WRITES, *_NAMES),
)
_CHANGING: Final = frozenset(_NAMES)
_OPENING: Final = frozenset({"open", "openat", "openat2"})
_LINE: Final = re.compile(r"(\d+)\s+(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)", re.DOTALL)
_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_LIST: Final = re.compile(r'\[(?:"(?:[^"\\]|\\.)*"(?:, )?)+\]')
_FOLDER: Final = re.compile(r"AT_FDCWD<([^>]*)>|\d+<([^>]*)>")
_OPENED: Final = re.compile(r"\bO_(?:WRONLY|RDWR|CREAT|TRUNC|APPEND)\b")
_PEER: Final = re.compile(r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|AF_INET6, )"([0-9a-f.:]+)"')


@dataclass(frozen=True, slots=True)
class Call:
    """One system call.

    Attributes:
        thread: Its thread.
        name: Of the call.
        text: Arguments and result as strace writes them.
        begin: Line where it begins.
        end: Line where it has ended; of one that never did, the line after the last.
    """

    thread: str
    name: str
    text: str
    begin: int
    end: int

    @property
    def place(self) -> str:
        """The file or socket that its first descriptor stands for."""
        found = re.match(r"\d+<(.*?)>(?=[,)])", self.text)
        return found[1] if found else ""

    @property
    def strings(self) -> list[bytes]:
        """Every quoted argument, unquoted: C's escapes are Python's."""
        return [ast.literal_eval(f"b{text}") for text in _TEXT.findall(self.text)]

    @property
    def arguments(self) -> list[bytes]:
        """The command line that an ``execve`` gives; its environment is not in it."""
        found = _LIST.search(self.text)
        return [ast.literal_eval(f"b{text}") for text in _TEXT.findall(found[0] if found else "")]

    @property
    def paths(self) -> list[Path]:
        """Every path that a call on names gives, made absolute."""
        folder = next((a or b for a, b in _FOLDER.findall(self.text)), "/")
        return [Path(folder, os.fsdecode(text)) for text in self.strings]


def tracer(log: Path, *more: str) -> list[str]:
    """The command that records what follows it: all that writes, names, connects or starts."""
    chosen = ",".join(_TRACED)
    show = ("-f", "-yy", "-qq", "-v", "-s", "1000000", "-o", str(log))
    return ["strace", *show, "-e", f"trace={chosen}", "-e", "signal=none", *more]


def read(log: Path) -> list[Call]:
    """The calls of a record, in the order in which they began.

    Raises:
        ValueError: It holds none.
    """
    lines = log.read_text(errors="surrogateescape").splitlines()
    open_calls: dict[str, tuple[str, str, int]] = {}
    calls: list[Call] = []
    for number, line in enumerate(lines):
        found = _LINE.match(line)
        if not found:
            continue
        thread, resumed, name, rest = found.groups()
        text, begin = "", number
        if resumed:
            name, text, begin = open_calls.pop(thread)
        if rest.endswith("<unfinished ...>"):
            open_calls[thread] = (name, rest.removesuffix("<unfinished ...>"), number)
        else:
            calls.append(Call(thread, name, text + rest, begin, number))
    for thread, (name, text, begin) in open_calls.items():
        calls.append(Call(thread, name, text, begin, len(lines)))
    if not calls:
        raise ValueError("nothing was traced")
    return sorted(calls, key=lambda call: call.begin)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that must happen when it is due.

    Attributes:
        name: As printed.
        matches: What its call looks like.
        once: It must not happen any earlier either.
    """

    name: str
    matches: Callable[[Call], bool]
    once: bool = True


def out_of_order(calls: Sequence[Call], steps: Sequence[Step]) -> Iterator[str]:
    """Name what does not wait until the step before it has ended, or never happens."""
    last, before = -1, "the beginning"
    for step in steps:
        found = [call for call in calls if step.matches(call)]
        due = next((call for call in found if call.begin > last), None)
        if due is None:
            yield f"{step.name} does not come after {before}"
            return
        if step.once and found[0] is not due:
            yield f"{step.name} comes before {before} has ended"
        last, before = due.end, step.name


def foreign_writes(calls: Sequence[Call], allowed: Collection[Path]) -> Iterator[str]:
    """Every file opened for writing, made, renamed, removed or altered outside these folders."""
    named = [call for call in calls if call.name in _CHANGING | _OPENING]
    if not named:
        yield "no file was looked at"
    for call in named:
        if call.name in _OPENING and not _OPENED.search(call.text):
            continue
        for path in call.paths:
            real = Path(os.path.normpath(path))
            if str(real) != os.devnull and not any(map(real.is_relative_to, allowed)):
                yield f"{call.name} {real}"


def connections(calls: Sequence[Call]) -> list[str]:
    """Where it connected to: ``ADDRESS:PORT``, or the whole call for another family."""
    found = []
    for call in calls:
        if call.name == "connect":
            peer = _PEER.search(call.text)
            found.append(f"{peer[2]}:{peer[1]}" if peer else call.text)
    return found


def leaks(
    calls: Sequence[Call], values: Collection[bytes], sinks: Callable[[str], bool]
) -> Iterator[str]:
    """Where a value occurs: in what was written, by descriptor, in a name, or in a command line.

    Args:
        calls: All of them.
        values: What must not occur, in any encoding.
        sinks: Whether a file or socket may hold values.
    """
    content: dict[str, list[bytes]] = {}
    for call in calls:
        if call.name in _WRITES:
            content.setdefault(f"written to {call.place}", []).extend(call.strings)
        elif call.name in {"execve", "execveat"}:
            content.setdefault("a command line", []).extend(call.arguments)
        elif call.name in _CHANGING | _OPENING:
            content.setdefault("a name", []).extend(call.strings)
    if not {"a command line", "a name"} <= content.keys():
        yield "too little was looked at"
    for where, parts in content.items():
        if sinks(where.removeprefix("written to ")):
            continue
        whole = b"\0".join(dict.fromkeys(parts))
        yield from (where for value in values if find(whole, value))
