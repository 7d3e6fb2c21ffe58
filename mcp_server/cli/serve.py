"""``secrets serve``."""

from __future__ import annotations

from mcp_server.cli.arguments import Parser

__all__ = ["run"]


def run(arguments: list[str]) -> int:
    """Serve until the client closes the connection."""
    Parser("serve", "Serve MCP on standard input and output, for an assistant.").parse_args(
        arguments
    )
    from mcp_server.server import main  # noqa: PLC0415 - loads what no other verb needs

    return main()
