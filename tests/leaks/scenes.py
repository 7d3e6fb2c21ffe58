"""Every tool, driven against a store in some condition, with canaries as the only values.

A scene runs the real server as a process and keeps what can be seen from outside: both pipes, every
file of its home, and the arguments of every program that ran meanwhile.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.leaks.corpus import STRONG
from tests.wire.pipes import Pipes, serving

__all__ = ["CANARIES", "STEPS", "Captured", "Condition", "play"]

CANARIES: Mapping[str, bytes] = {
    name: STRONG[name] for name in ("random 24", "punctuated", "PEM", "Unicode", "random 32 hex")
}
# A client whose own prompt counts as the approval, so that every plan is carried out.
CLIENT = "claude-code/2.1.331"
# Files that hold values because somebody put them there; the embedded store's is encrypted, and so
# it is searched like any other.
DECLARED = frozenset({"import.json", "run"})

Call = tuple[str, dict[str, object]]


def _steps(store: str) -> list[Call]:
    """Each tool in each of its uses."""
    target = f"{store}/app/db"
    one = {"key": "k", "copy": f"{target}#one"}
    made = [{"key": "password", "generate": "password"}, {"key": "pair", "generate": "ssh-ed25519"}]
    return [
        ("secrets_status", {}),
        ("secrets_write", {"target": target, "from_file": "import.json"}),
        ("secrets_write", {"target": f"{store}/app/made", "keys": made, "owner": "team-a"}),
        ("secrets_write", {"target": f"{store}/app/copy", "copy_from": target}),
        ("secrets_write", {"target": target, "keys": [{"key": "one", "file": "import.json"}]}),
        ("secrets_write", {"target": target, "keys": [{"key": "new", "env": "APP_INVENTED"}]}),
        ("secrets_write", {"target": "runtime://app.json", "copy_from": target}),
        ("secrets_write", {"target": "runtime://one", "keys": [one]}),
        ("secrets_read", {"ref": target}),
        ("secrets_read", {"ref": f"{target}#absent"}),
        ("secrets_read", {"ref": f"{store}/app/absent"}),
        ("secrets_list", {"prefix": f"{store}/app", "details": True}),
        ("secrets_delete", {"target": f"{store}/app/copy"}),
        ("secrets_delete", {"target": f"{store}/app/copy", "mode": "restore"}),
        ("secrets_delete", {"target": target, "mode": "destroy", "versions": ["1"]}),
        ("secrets_delete", {"target": f"{store}/app/copy", "mode": "erase"}),
        ("secrets_status", {}),
    ]


STEPS = len(_steps(""))


@dataclass(frozen=True, slots=True)
class Condition:
    """One state of the world.

    Attributes:
        name: As printed.
        store: Prefix of the store's references.
        expects: Codes or states of which at least one must occur: the condition really happened.
        setup: Statements run in the server process before it serves.
        config: The operator's configuration.
        environment: For the server process.
        kill: Kill the server at its first request that changes something, while it hangs.
    """

    name: str
    store: str
    expects: tuple[str, ...]
    setup: tuple[str, ...] = ()
    config: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    kill: bool = False


@dataclass(slots=True)
class Captured:
    """What a scene left, by channel; and which tools were called."""

    stdout: bytes = b""
    stderr: bytes = b""
    files: dict[str, bytes] = field(default_factory=dict)
    argv: set[bytes] = field(default_factory=set)
    tools: set[str] = field(default_factory=set)

    def channels(self) -> Iterator[tuple[str, bytes]]:
        """Name and bytes of each channel; a path counts as much as a file's content."""
        yield "stdout", self.stdout
        yield "stderr", self.stderr
        for name, content in self.files.items():
            yield f"file {name}", name.encode() + b"\n" + content
        yield "argv", b"\n".join(sorted(self.argv))


def play(home: Path, condition: Condition, era: str) -> Captured:
    """Run all steps; whatever is refused is refused, and looked at like the rest."""
    _prepare(home, condition)
    seen = Captured()
    environment = {"APP_INVENTED": CANARIES["random 24"].decode(), **condition.environment}
    with (
        serving(home, era, *condition.setup, client=CLIENT, environment=environment) as (
            pipes,
            process,
        ),
        _watched_arguments(process.pid, seen),
    ):
        if condition.kill:
            _kill_in_a_call(pipes, process, condition, seen)
        else:
            _all_steps(pipes, condition, seen)
            _close(process, seen)
        seen.stdout = pipes.received
    seen.files = _files(home)
    return seen


def _prepare(home: Path, condition: Condition) -> None:
    values = {name.replace(" ", "_"): value.decode() for name, value in CANARIES.items()}
    project = home / "project"
    text = json.dumps({**values, "one": CANARIES["random 24"].decode()})
    (project / "import.json").write_text(text)
    (home / "config" / "secret-management" / "config.yaml").write_text(condition.config)


def _all_steps(pipes: Pipes, condition: Condition, seen: Captured) -> None:
    for tool, arguments in _steps(condition.store):
        seen.tools.add(tool)
        receipt = _call(pipes, tool, arguments)
        if receipt.get("state") == "planned":
            seen.tools.add("secrets_apply")
            words = {name: receipt[name] for name in ("plan", "change", "affects")}
            _call(pipes, "secrets_apply", words)


def _call(pipes: Pipes, tool: str, arguments: dict[str, object]) -> dict[str, Any]:
    answer = pipes.request("tools/call", {"name": tool, "arguments": arguments})
    return dict(answer.get("result", {}).get("structuredContent") or {})


def _kill_in_a_call(
    pipes: Pipes, process: subprocess.Popen[bytes], condition: Condition, seen: Captured
) -> None:
    """Kill it while it waits for a store that hangs, in the middle of the first write."""
    _, (tool, arguments), *_ = _steps(condition.store)
    seen.tools.add(tool)
    with suppress(AssertionError):  # the pipe closes instead of answering
        killer = threading.Timer(0.7, process.kill)
        killer.start()
        pipes.request("tools/call", {"name": tool, "arguments": arguments})
    process.wait(20)
    assert process.returncode == -9
    assert process.stderr is not None
    seen.stderr = process.stderr.read()


def _close(process: subprocess.Popen[bytes], seen: Captured) -> None:
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.close()
    process.wait(30)
    seen.stderr = process.stderr.read()


def _files(home: Path) -> dict[str, bytes]:
    found = {}
    for path in home.rglob("*"):
        if path.is_file() and not DECLARED.intersection(path.relative_to(home).parts):
            found[str(path.relative_to(home))] = path.read_bytes()
    return found


@contextmanager
def _watched_arguments(server: int, seen: Captured) -> Iterator[None]:
    """Read the arguments of the server and all it starts, again and again, meanwhile."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            seen.argv.update(_arguments(server))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _arguments(server: int) -> Iterator[bytes]:
    """Of every process of the server's session."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ProcessLookupError):
            if os.getsid(int(folder.name)) == server:
                yield (folder / "cmdline").read_bytes()
