"""Shows a plan to the person at the terminal and asks once."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Collection

from mcp_server.cli import person, show
from mcp_server.cli.paint import Paint
from mcp_server.core.broker import Broker, Channel
from mcp_server.core.errors import DeclinedError, SecretsError
from mcp_server.core.model import Verb
from mcp_server.core.plans import Operation, Plan, Step
from mcp_server.core.receipts import ChangeReceipt
from mcp_server.core.refs import Ref
from mcp_server.core.text import is_plain

__all__ = ["agreed", "difference"]

_REMOVALS = {Verb.DELETE, Verb.DESTROY, Verb.ERASE}


def agreed(broker: Broker, plan: Plan) -> None:
    """Ask the person; come back only with a yes.

    A plan that touches a critical pattern takes the last word of its target instead of a ``y``,
    so that it is not agreed to by habit.

    Raises:
        DeclinedError: They said no; the plan is used up.
        ApprovalNeededError: There is no person, or this channel is too weak.
    """
    person.need("This change", f"A person runs `secrets apply {plan.id}` in a terminal.")
    broker.allow(plan, Channel.TERMINAL)
    paint = Paint.for_terminal(os.environ)
    text = "\n".join(["", *difference(plan.operation, _known_keys(broker, plan.operation), paint)])
    word = _last_word(plan.operation) if broker.is_critical(plan) else ""
    if word:
        typed = person.ask(text, f"This is marked as critical. Type {paint.bold(word)} to go on: ")
    else:
        typed = person.ask(text, "Go on? [y/N] ").lower()
    if typed not in ({word} if word else {"y", "yes"}):
        broker.decline(plan, Channel.TERMINAL)
        raise DeclinedError(next_step="Plan again when you want it.")


def applied(broker: Broker, receipt: ChangeReceipt) -> ChangeReceipt:
    """What became of a receipt: where it waits and a person is here, ask and carry it out."""
    if receipt.state != "planned" or receipt.plan is None or not person.present():
        return receipt
    plan = broker.review(receipt.plan)
    agreed(broker, plan)
    return broker.apply(plan, Channel.TERMINAL)


def difference(operation: Operation, known: Collection[str] | None, paint: Paint) -> list[str]:
    """A plan as a difference of names and versions.

    Args:
        operation: What is planned.
        known: Keys that the target has now; ``None`` where that is not known.
        paint: Styles.
    """
    if operation.verb is Verb.RUN:
        return [paint.bold("run"), *_child(operation), *_affected(operation, paint)]
    tint = paint.red if operation.verb in _REMOVALS else paint.bold
    now = f"now version {show.cut(operation.version)}" if operation.version else "new"
    head = f"{tint(operation.verb.value)}  {paint.cyan(show.cut(operation.target))}"
    lines = _keys(operation, known, paint)
    return [f"{head}  {paint.dim(now)}", *lines, *_affected(operation, paint)]


def _affected(operation: Operation, paint: Paint) -> list[str]:
    return [f"  {paint.dim('!')} {show.cut(note)}" for note in operation.notes]


def _child(operation: Operation) -> list[str]:
    return [
        f"  $ {' '.join(map(_word, operation.command))}",
        f"  in {_word(operation.folder or '')}",
        *(f"  {show.cut(step.key)} = {show.cut(step.words)}" for step in operation.steps),
    ]


def _word(text: str) -> str:
    """All of it, since it is what will run: quoted, and what hides shown as an escape."""
    return shlex.quote(text) if is_plain(text) else json.dumps(text)


def _keys(operation: Operation, known: Collection[str] | None, paint: Paint) -> list[str]:
    removed = list(operation.remove)
    if operation.replace and known is not None:
        removed += sorted(set(known) - {step.key for step in operation.steps})
    lines = [_set(step, known, paint) for step in operation.steps]
    lines += [paint.red(f"  - {show.cut(key)}") for key in removed]
    if operation.replace and known is None:
        lines.append(paint.red("  - every other key"))
    lines += [f"  version {show.cut(version)}" for version in operation.versions]
    return lines + [f"  = {show.cut(words)}" for words in operation.metadata_words]


def _set(step: Step, known: Collection[str] | None, paint: Paint) -> str:
    key, source = show.cut(step.key), paint.dim(show.cut(step.words))
    if known is not None and step.key in known:
        return f"{paint.yellow(f'  ~ {key}')}  {source}"
    return f"{paint.green(f'  + {key}')}  {source}"


def _known_keys(broker: Broker, operation: Operation) -> Collection[str] | None:
    """The target's keys now, to tell new ones from changed ones; a plan's own are not stored."""
    if operation.verb is Verb.CREATE:
        return ()
    if operation.verb is not Verb.UPDATE:
        return None
    try:
        return broker.read(operation.target).keys
    except SecretsError:
        return None


def _last_word(operation: Operation) -> str:
    if operation.verb is Verb.RUN:
        return operation.command[0].rpartition("/")[2]
    return Ref.parse(operation.target).path.rpartition("/")[2]
