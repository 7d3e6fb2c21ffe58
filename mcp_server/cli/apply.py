"""``secrets apply``."""

from __future__ import annotations

from datetime import UTC

from mcp_server.cli import consent, person, show
from mcp_server.cli.arguments import Parser
from mcp_server.cli.console import Console, opened
from mcp_server.core.broker import Broker, Channel
from mcp_server.core.errors import UnsupportedError
from mcp_server.core.model import Verb

__all__ = ["run"]


def run(arguments: list[str]) -> int:
    """Approve a plan, or show which wait."""
    parser = Parser("apply", "Approve a plan that waits, at a terminal. Without PLAN: list them.")
    parser.add_argument("plan", nargs="?", metavar="PLAN", help="p-…, from a receipt")
    options = parser.parse_args(arguments)
    with opened(options) as (engine, console):
        if options.plan is None:
            _pending(engine.broker, console)
            return 0
        plan = engine.broker.review(options.plan)
        if plan.operation.verb is Verb.DELIVER:
            raise UnsupportedError(
                "A runtime file belongs to the session that planned it, and would end with this.",
                next_step="Use the value here: secrets run --env NAME=REF -- COMMAND.",
            )
        person.need("Approving", "The user runs this command in their own terminal.")
        consent.agreed(engine.broker, plan)
        console.receipt(engine.broker.apply(plan, Channel.TERMINAL), show.change)
    return 0


def _pending(broker: Broker, console: Console) -> None:
    plans = broker.plans.pending()
    if console.as_json:
        body = [
            {"plan": p.id, "change": p.operation.change, "affects": p.operation.affects}
            | {"expires": p.expires.isoformat(timespec="seconds")}
            for p in plans
        ]
        console.data({"plans": body})
    elif plans:
        rows = [
            (p.id, f"{p.expires.astimezone(UTC):%H:%M}", show.cut(p.operation.change))
            for p in plans
        ]
        console.lines(show.table([("PLAN", "UNTIL (UTC)", "CHANGE"), *rows], console.paint))
    else:
        console.lines(["No plan waits."])
