"""``secrets read``."""

from __future__ import annotations

from mcp_server.cli import show
from mcp_server.cli.arguments import Parser
from mcp_server.cli.console import opened

__all__ = ["run"]


def run(arguments: list[str]) -> int:
    """Describe one secret."""
    parser = Parser("read", "Describe a secret. No value is read, so none can be shown.")
    parser.add_argument("ref", help="scheme://path, or @name from .secrets.yaml")
    options = parser.parse_args(arguments)
    with opened(options) as (engine, console):
        console.receipt(engine.broker.read(options.ref), show.description)
    return 0
