"""Our own server over streamable HTTP, with the suite's fixtures beside its tools.

The plugin ships stdio only; HTTP is what the conformance suite speaks. Run as a program: it prints
the address, then serves until it is told to stop. With the argument ``bare`` it has no fixtures,
which shows what the suite lets pass without looking.
"""

from __future__ import annotations

import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from mcp.types import EmptyResult, SetLevelRequestParams, SubscribeRequestParams

from mcp_server import engine as engines
from mcp_server.server import create_server
from tests.wire import conformance_content, conformance_questions

if TYPE_CHECKING:
    from mcp.server import MCPServer

__all__ = ["build"]


def build(project: Path, *, bare: bool = False) -> MCPServer:
    """The server as the plugin starts it for a project, plus the fixtures unless ``bare``."""
    server = create_server(engines.start(project))
    if bare:
        return server
    conformance_content.mount(server)
    conformance_questions.mount(server)
    _accept_older_requests(server)
    return server


def _accept_older_requests(server: MCPServer) -> None:
    """Requests of 2025-11-25 that our server has no use for and the suite asks for."""

    async def accept(context: object, params: object) -> EmptyResult:
        del context, params
        return EmptyResult()

    lowlevel = server._lowlevel_server  # the SDK has no public way to these
    lowlevel.add_request_handler("resources/subscribe", SubscribeRequestParams, accept)
    lowlevel.add_request_handler("resources/unsubscribe", SubscribeRequestParams, accept)
    lowlevel.add_request_handler("logging/setLevel", SetLevelRequestParams, accept)


def main() -> None:
    """Serve on a free loopback port."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    sys.stdout.write(f"http://127.0.0.1:{port}/mcp\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as project:
        app = build(Path(project), bare=sys.argv[1:] == ["bare"]).streamable_http_app()
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main()
