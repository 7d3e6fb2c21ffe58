"""``python -m mcp_server``: the server with no argument, else the ``secrets`` command line."""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> int:
    """Serve MCP, or run a verb of the command line; return the exit status.

    The server does not load the command line, nor the other way round.
    """
    if arguments in ([], ["serve"]):
        from mcp_server.server import main as serve  # noqa: PLC0415 - each starts without the other

        return serve()
    from mcp_server.cli import main as command  # noqa: PLC0415 - each starts without the other

    return command(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
