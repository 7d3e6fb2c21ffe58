"""The real process over its pipes: starts offline, keeps the wire clean, withholds a plant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mcp_server.core.guard import Guard
from mcp_server.server import GuardedWire
from tests.leaks.corpus import find
from tests.wire.conftest import ERAS

REPOSITORY = Path(__file__).resolve().parents[2]
CANARY = b"canary-Zq7vR2mK9xLw4Tn8"
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "pipes", "version": "1.0.0"},
}


class Pipes:
    """One server process and what went over its pipes, byte for byte."""

    def __init__(self, process: subprocess.Popen[bytes], era: str) -> None:
        self._process = process
        self._modern = era == "auto"
        self._last = 0
        self.received = b""
        if not self._modern:
            hello = {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "pipes", "version": "1.0.0"},
            }
            self.request("initialize", hello)
            self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._last += 1
        if self._modern:
            params = {**params, "_meta": MODERN}
        self.send({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params})
        while True:
            assert self._process.stdout is not None
            line = self._process.stdout.readline()
            assert line, "the server closed its output"
            self.received += line
            answer = json.loads(line)
            if answer.get("id") == self._last:
                return dict(answer)

    def call(self, tool: str, **arguments: object) -> dict[str, Any]:
        return self.request("tools/call", {"name": tool, "arguments": arguments})["result"]

    def send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()


@contextmanager
def serving(home: Path, era: str, *setup: str) -> Iterator[tuple[Pipes, subprocess.Popen[bytes]]]:
    """The server as a process; ``setup`` is run in it before it serves."""
    start = ";".join((*setup, "import sys; from mcp_server.server import main; sys.exit(main())"))
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", start],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    with process:
        try:
            yield Pipes(process, era), process
        finally:
            process.kill()


def ended(process: subprocess.Popen[bytes]) -> bytes:
    """Let the server end as clients do, by closing its input; what it said on standard error."""
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.close()
    process.wait(20)
    return process.stderr.read()


@pytest.mark.parametrize("era", ERAS)
def test_the_main_job_over_pipes_leaves_no_value_on_them(home: Path, era: str) -> None:
    (home / "project" / ".env").write_text(f"TOKEN={CANARY.decode()}\n")
    with serving(home, era) as (pipes, process):
        imported = pipes.call("secrets_write", target="memory://dev/app", from_file=".env")
        described = pipes.call("secrets_read", ref="memory://dev/app")
        pipes.call("secrets_list", prefix="memory://dev", details=True)
        stderr = ended(process)
    assert imported["structuredContent"]["state"] == "done"
    assert described["structuredContent"]["keys"] == ["TOKEN"]
    assert (process.returncode, stderr) == (0, b"")
    assert len(pipes.received) > 500
    assert find(pipes.received, CANARY) == []


@pytest.mark.parametrize("era", ERAS)
def test_a_value_that_a_bug_puts_into_a_result_is_withheld_on_the_wire(
    home: Path, era: str
) -> None:
    """The planted bug: a description whose owner is the secret itself."""
    (home / "project" / ".env").write_text(f"TOKEN={CANARY.decode()}\n")
    plant = (
        "from mcp_server.core import show; "
        "import dataclasses; real = show.described; "
        "from mcp_server.core import broker; "
        "broker.described = "
        f"lambda *a: dataclasses.replace(real(*a), untrusted_owner={CANARY.decode()!r})"
    )
    with serving(home, era, plant) as (pipes, _):
        before = pipes.call("secrets_read", ref="memory://dev/app")
        assert find(json.dumps(before).encode(), CANARY), "the plant does not work"
        pipes.received = b""
        pipes.call("secrets_write", target="memory://dev/app", from_file=".env")
        answer = pipes.request(
            "tools/call", {"name": "secrets_read", "arguments": {"ref": "memory://dev/app"}}
        )
        alive = pipes.call("secrets_list", prefix="memory://dev")
    assert "EGRESS_BLOCKED" in answer["error"]["message"]
    assert alive["structuredContent"]["secrets"][0]["name"] == "app"
    assert find(pipes.received, CANARY) == []


def test_starting_contacts_nothing_creates_nothing_and_loads_no_vendor_library(home: Path) -> None:
    """P7, seen from inside after the first ``tools/list``."""
    probe = (
        "import atexit, sys; atexit.register(lambda: sys.stderr.write('LOADED ' + "
        "' '.join(sorted({m.partition('.')[0] for m in sys.modules})) + '\\n'))"
    )
    before = sorted(str(path) for path in home.rglob("*"))
    with serving(home, "auto", probe) as (pipes, process):
        assert len(pipes.request("tools/list", {})["result"]["tools"]) == 6
        loaded = ended(process).decode()
    assert "LOADED" in loaded
    assert "mcp_server" in loaded
    vendors = {
        "hvac",
        "boto3",
        "botocore",
        "anthropic",
        "jinja2",
        "kubernetes",
        "requests",
        "pyrage",
        "keyring",
        "mnemonic",
        "dotenv",
    }
    assert not vendors & set(loaded.split())
    assert sorted(str(path) for path in home.rglob("*")) == before


def test_a_wrong_configuration_says_so_in_one_line(home: Path) -> None:
    path = home / "config" / "secret-management" / "config.yaml"
    path.write_text("stores: {x: {backend: memory}}\nsurprise: canary-Zq7vR2mK9xLw4Tn8\n")
    ended = subprocess.run(
        [sys.executable, "-m", "mcp_server"],
        input=b"",
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        cwd=home,
        timeout=20,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(b"CONFIG_INVALID")
    assert str(path).encode() in ended.stderr
    assert find(ended.stderr + ended.stdout, CANARY) == []


@pytest.mark.anyio
async def test_a_frame_that_cannot_be_searched_is_not_sent() -> None:
    """Fails closed: the guard raising or refusing is a block, and a notification just ends."""
    guard = Guard()
    guard.register(CANARY)
    reader, writer = os.pipe()
    wire = GuardedWire(writer, guard)
    frames = [
        b'{"jsonrpc":"2.0","id":1,"result":{}}\n',
        b'{"jsonrpc":"2.0","id":2,"result":{"x":"' + CANARY + b'"}}\n',
        b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"m":"' + CANARY + b'"}}\n',
    ]
    for frame in frames:
        await wire.write(frame.decode())
        await wire.flush()
    os.close(writer)
    with os.fdopen(reader, "rb") as received:
        lines = received.read().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [1, 2]
    assert "EGRESS_BLOCKED" in json.loads(lines[1])["error"]["message"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
