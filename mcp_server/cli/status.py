"""``secrets status``."""

from __future__ import annotations

from mcp_server.cli import show
from mcp_server.cli.arguments import Parser
from mcp_server.cli.console import opened
from mcp_server.core.status import status

__all__ = ["run"]


def run(arguments: list[str]) -> int:
    """Show what is configured and whether it answers."""
    parser = Parser("status", "Show stores, identity, missing rights, policy and what waits.")
    with opened(parser.parse_args(arguments)) as (engine, console):
        console.receipt(status(engine.broker), show.status)
    return 0
