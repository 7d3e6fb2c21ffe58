"""``secrets list``."""

from __future__ import annotations

from mcp_server.cli import show
from mcp_server.cli.arguments import Parser, whole_number
from mcp_server.cli.console import opened

__all__ = ["run"]


def run(arguments: list[str]) -> int:
    """Show one page of names."""
    parser = Parser("list", "Show the names directly below a prefix.")
    parser.add_argument("prefix", nargs="?", default="local://", help="default: local://")
    parser.add_argument("--details", action="store_true", help="with state, version and owner")
    parser.add_argument("--cursor", help="continue after the page before")
    parser.add_argument("--limit", type=whole_number, default=100, help="names on one page")
    options = parser.parse_args(arguments)
    with opened(options) as (engine, console):
        page = engine.broker.list_names(
            options.prefix, cursor=options.cursor, limit=options.limit, details=options.details
        )
        console.receipt(page, show.listing)
    return 0
