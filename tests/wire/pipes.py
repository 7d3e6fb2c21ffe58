"""The real server as a process, driven over its pipes, every byte of them kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["REPOSITORY", "Pipes", "ended", "serving"]

REPOSITORY = Path(__file__).resolve().parents[2]
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}

_INFO = "io.modelcontextprotocol/clientInfo"


class Pipes:
    """One server process and what went over its pipes, byte for byte."""

    def __init__(
        self, process: subprocess.Popen[bytes], era: str, client: str = "pipes/1.0.0"
    ) -> None:
        self._process = process
        self._modern = era == "auto"
        self._last = 0
        name, _, version = client.partition("/")
        self._info = {"name": name, "version": version}
        self.received = b""
        if not self._modern:
            hello = {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": self._info,
            }
            self.request("initialize", hello)
            self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._last += 1
        if self._modern:
            params = {**params, "_meta": {**MODERN, _INFO: self._info}}
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
def serving(
    home: Path,
    era: str,
    *setup: str,
    wrapper: Sequence[str] = (),
    client: str = "pipes/1.0.0",
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[Pipes, subprocess.Popen[bytes]]]:
    """The server as a process; ``setup`` is run in it before it serves.

    Args:
        home: Its working directory.
        era: ``auto`` or ``legacy``.
        setup: Statements.
        client: What the client calls itself.
        wrapper: A program that runs it, such as a tracer.
        environment: Set on top of this process's.
    """
    start = ";".join((*setup, "import sys; from mcp_server.server import main; sys.exit(main())"))
    process = subprocess.Popen(
        [*wrapper, sys.executable, "-W", "error", "-c", start],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=home,
        start_new_session=True,
        env={**os.environ, **(environment or {}), "PYTHONPATH": str(REPOSITORY)},
    )
    with process:
        try:
            yield Pipes(process, era, client), process
        finally:
            process.kill()


def ended(process: subprocess.Popen[bytes]) -> bytes:
    """Let the server end as clients do, by closing its input; what it said on standard error."""
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.close()
    process.wait(20)
    return process.stderr.read()
