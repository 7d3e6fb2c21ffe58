"""``secrets_apply``: the only tool that always asks.

The question goes by the strongest channel this client has: the prompt it forces by itself for a
tool marked ``anthropic/requiresUserInteraction``, else a yes/no form, else nobody can be asked and
the call is refused with the two ways on. Exactly one question is asked. Before the answer nothing
is generated, staged or claimed, because asking makes the client call again.

(No postponed annotations here: the SDK reads ``Resolve(ask)``, which is local, at definition.)
"""

import re
from typing import Annotated, Final

from mcp.server.elicitation import AcceptedElicitation, CancelledElicitation
from mcp.server.mcpserver import Context, Elicit, ElicitationResult, Resolve
from mcp.server.mcpserver.tools import Tool
from mcp.types import ClientCapabilities, ElicitationCapability, FormElicitationCapability
from pydantic import BaseModel, Field

from mcp_server.core.broker import Broker, Channel
from mcp_server.core.errors import ApprovalNeededError, DeclinedError
from mcp_server.core.plans import Plan
from mcp_server.core.receipts import ChangeReceipt
from mcp_server.engine import Engine
from mcp_server.tools.registration import Hints, in_thread, register

__all__ = ["make"]

_FORCED_PROMPT_SINCE: Final = {"claude-code": (2, 1, 199)}
_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")


class Approval(BaseModel):
    """The form: one box, unticked means no."""

    approve: bool = Field(default=False, title="Yes, do exactly this")


def make(engine: Engine) -> Tool:
    """The tool."""
    broker = engine.broker

    async def ask(
        ctx: Context, plan: str, change: str, affects: str
    ) -> Approval | Elicit[Approval]:
        channel = _channel(ctx)
        stored = await in_thread(lambda: _askable(broker, plan, change, affects, channel))
        if channel is Channel.PROMPT:
            return Approval(approve=True)
        operation = stored.operation
        question = f"Allow this change?\n{operation.change}\nAffects: {operation.affects}"
        return Elicit(question, Approval)

    async def secrets_apply(
        plan: Annotated[str, Field(pattern=r"^p-[0-9a-f]{16}$")],
        change: Annotated[str, Field(max_length=65_536)],
        affects: Annotated[str, Field(max_length=65_536)],
        answer: Annotated[ElicitationResult[Approval], Resolve(ask)],
        ctx: Context,
    ) -> ChangeReceipt:
        # A client that declares forms and has nobody to show one to cancels at once (2.1.197 in
        # print mode does). That is no person's no: the plan stays, for who can decide.
        unanswered = isinstance(answer, CancelledElicitation)
        channel = None if unanswered else _channel(ctx)
        yes = isinstance(answer, AcceptedElicitation) and answer.data.approve
        return await in_thread(lambda: _end(broker, plan, (change, affects), channel, yes=yes))

    return register(
        engine.guard,
        secrets_apply,
        "secrets_apply",
        "Secret: apply an approved plan",
        "Carry out one stored plan after a person agreed; plan, change and affects exactly as "
        "returned.",
        Hints(destructive=True, ask=True, search="apply approve plan"),
    )


def _askable(
    broker: Broker, plan_id: str, change: str, affects: str, channel: Channel | None
) -> Plan:
    """The plan, if a person could allow it by this channel."""
    plan = broker.review(plan_id, change, affects)
    if channel is None:
        raise ApprovalNeededError(
            next_step=f"A person runs `secrets apply {plan.id}` in a terminal, or the operator "
            "adds a standing grant to the configuration."
        )
    broker.allow(plan, channel)
    return plan


def _end(
    broker: Broker, plan_id: str, words: tuple[str, str], channel: Channel | None, *, yes: bool
) -> ChangeReceipt:
    plan = _askable(broker, plan_id, *words, channel)
    chosen = channel or Channel.FORM
    if not yes:
        broker.decline(plan, chosen)
        raise DeclinedError
    return broker.apply(plan, chosen.value)


def _channel(ctx: Context) -> Channel | None:
    """The strongest way to ask that this client declares, looked at anew in every request."""
    if _forces_prompt(ctx):
        return Channel.PROMPT
    form = ClientCapabilities(elicitation=ElicitationCapability(form=FormElicitationCapability()))
    return Channel.FORM if ctx.session.check_client_capability(form) else None


def _forces_prompt(ctx: Context) -> bool:
    params = ctx.session.client_params
    if params is None:
        return False
    since = _FORCED_PROMPT_SINCE.get(params.client_info.name)
    version = _VERSION.match(params.client_info.version)
    return (
        since is not None
        and version is not None
        and (tuple(int(part) for part in version.groups()) >= since)
    )
