"""Server processes to measure: ours and the least one that the SDK allows, over real pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["BARE", "OURS", "Server", "home", "running"]

REPOSITORY = Path(__file__).resolve().parents[1]
OURS = "import sys; from mcp_server.server import main; sys.exit(main())"
BARE = """
from mcp.server.mcpserver import MCPServer
server = MCPServer("bare")
@server.tool()
async def echo(text: str) -> str:
    return text
server.run("stdio")
"""
_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1.0.0"},
}


class Server:
    """One process; requests are strictly one after another."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._last = 0

    def request(self, method: str, params: Mapping[str, object]) -> dict[str, Any]:
        """Send one request and wait for its answer."""
        self._last += 1
        body = {
            "jsonrpc": "2.0",
            "id": self._last,
            "method": method,
            "params": {**params, "_meta": _META},
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(body).encode() + b"\n")
        self.process.stdin.flush()
        while True:
            answer = json.loads(self.process.stdout.readline())
            if answer.get("id") == self._last:
                if "error" in answer or answer["result"].get("isError"):
                    raise RuntimeError(str(answer)[:500])
                return dict(answer["result"])

    def call(self, tool: str, **arguments: object) -> dict[str, Any]:
        """Call a tool."""
        return self.request("tools/call", {"name": tool, "arguments": arguments})

    def seconds(self, tool: str, **arguments: object) -> float:
        """How long one call takes."""
        begun = time.perf_counter()
        self.call(tool, **arguments)
        return time.perf_counter() - begun

    def finish(self) -> None:
        """Close its input, as a client does to end it, and wait."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)

    def peak_kib(self) -> int:
        """Peak resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0])


@contextmanager
def running(code: str, environment: Mapping[str, str]) -> Iterator[Server]:
    """A server process in ``environment``."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
    )
    with process:
        try:
            yield Server(process)
        finally:
            process.kill()


@contextmanager
def home(config: str = "") -> Iterator[dict[str, str]]:
    """An empty home with an operator's configuration; the environment that points there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, ".config", "secret-management", "config.yaml")
        path.parent.mkdir(parents=True)
        path.write_text(config)
        yield {
            "HOME": folder,
            "PATH": os.environ["PATH"],
            "XDG_RUNTIME_DIR": folder,
            "SECRET_MANAGEMENT_PROJECT": folder,
        }
