"""``secrets delete``."""

from __future__ import annotations

from mcp_server.cli import consent, show
from mcp_server.cli.arguments import Parser
from mcp_server.cli.console import opened
from mcp_server.cli.failures import NEEDS_APPROVAL
from mcp_server.core.model import RemovalMode
from mcp_server.core.requests import DeleteRequest

__all__ = ["run"]


def run(arguments: list[str]) -> int:
    """Plan a removal; do it where policy, a grant or the person here allows it."""
    parser = Parser(
        "delete",
        "Remove a secret, softly unless told otherwise.",
        "modes:\n"
        "  delete   the current version; can be restored\n"
        "  restore  undoes that\n"
        "  destroy  single versions, for good\n"
        "  erase    every version and all metadata, for good\n",
    )
    parser.add_argument("target", help="scheme://path or @name")
    parser.add_argument("--mode", choices=list(RemovalMode), default=RemovalMode.DELETE)
    parser.add_argument("--version", action="append", default=[], metavar="N", help="repeatable")
    options = parser.parse_args(arguments)
    request = DeleteRequest(options.target, RemovalMode(options.mode), tuple(options.version))
    with opened(options) as (engine, console):
        receipt = consent.applied(engine.broker, engine.broker.delete(request))
        console.receipt(receipt, show.change)
    return NEEDS_APPROVAL if receipt.state == "planned" else 0
