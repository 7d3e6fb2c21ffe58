"""Receipts: what a store described, and what became of a plan.

Text of stores is cleaned, capped and marked as untrusted. Of a plan every word is ours or named.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from mcp_server.core.errors import BadReferenceError, InputError
from mcp_server.core.executor import Done
from mcp_server.core.model import TOLD_VERSIONS, Description, Entry, Listing, State, Verb
from mcp_server.core.plans import Plan
from mcp_server.core.receipts import (
    ChangeReceipt,
    DescribeReceipt,
    ListedSecret,
    ListedVersion,
    ListReceipt,
)
from mcp_server.core.refs import Ref
from mcp_server.core.text import clean, clean_labels

__all__ = ["approved", "carried_out", "described", "listed", "place_of", "waiting"]

_MAX_SHOWN = 100
_NEXT = {
    State.ABSENT: "There is nothing here yet; secrets_write creates it.",
    State.LIVE: "Change it with secrets_write, or use it: secrets run --env NAME={ref}#KEY -- CMD.",
    State.DELETED: "Restore it with secrets_delete mode=restore.",
    State.DESTROYED: "This version is gone; secrets_write makes a new one.",
}
_APPLY_NEXT = (
    "Show the plan to the user, then call secrets_apply with exactly this plan, change and affects;"
    " where nobody can be asked, a person runs `secrets apply {plan}` in a terminal, or the"
    " operator adds a standing grant."
)
_DONE_NEXT = (
    "Describe it with secrets_read {ref}, or use it: secrets run --env NAME={ref}#KEY -- CMD."
)
_REMOVED_NEXT = {
    Verb.DELETE: "Undo it with secrets_delete mode=restore.",
    Verb.DESTROY: "See what is left with secrets_read {ref}.",
    Verb.ERASE: "It is gone; secrets_write makes a new one.",
}


def described(found: Description, asked: Ref, now: datetime) -> DescribeReceipt:
    """The receipt of one description; ``asked`` may name a key that has to be there."""
    keys = None if found.keys is None else tuple(clean(key, 255) for key in found.keys)
    return DescribeReceipt(
        str(found.ref),
        found.state.value,
        _next_step(found, asked),
        version=_maybe(found.version),
        keys=None if keys is None else keys[:_MAX_SHOWN],
        created=_time(found.created),
        updated=_time(found.updated),
        age_days=None if found.updated is None else max(0, (now - found.updated).days),
        versions=tuple(
            ListedVersion(clean(each.version), each.state.value, _time(each.created))
            for each in found.versions[:TOLD_VERSIONS]
        ),
        untrusted_owner=_maybe(found.metadata.owner),
        untrusted_schedule=_maybe(found.metadata.schedule),
        untrusted_consumers=tuple(clean(name) for name in found.metadata.consumers[:32]),
        untrusted_labels=clean_labels(found.labels),
    )


def listed(prefix: Ref, page: Listing, tells: Callable[[Ref], bool]) -> ListReceipt:
    """The receipt of one page of names; of those that ``tells`` denies, nothing but the name."""
    return ListReceipt(
        str(prefix),
        tuple(_entry(prefix, entry, tells) for entry in page.entries),
        None if page.cursor is None else _cursor(page.cursor),
        "Call again with the cursor for more." if page.cursor else "",
    )


def waiting(plan: Plan) -> ChangeReceipt:
    """The receipt of a plan that nobody allowed yet."""
    return _change(plan, "planned", _APPLY_NEXT.format(plan=plan.id), None)


def approved(plan: Plan, channel: str) -> ChangeReceipt:
    """The receipt of a ``run`` plan that was allowed and waits for who runs it."""
    return _change(plan, "approved", f"Run it: secrets run --plan {plan.id}", channel)


def carried_out(plan: Plan, done: Done, channel: str, now: datetime) -> ChangeReceipt:
    """The receipt of a plan that was done, without fingerprints."""
    written, path = done.written, done.path
    next_step = (
        f"The file is {path}; it goes when the session ends."
        if path
        else _REMOVED_NEXT.get(plan.operation.verb, _DONE_NEXT).format(ref=plan.operation.target)
    )
    return replace(
        _change(plan, "done", next_step, channel),
        expires=None,
        version=written.version if written else None,
        time=_time(((written and written.time) or now).astimezone(UTC)),
        public=dict(done.gathered.public),
        path=str(path) if path else None,
    )


def _change(plan: Plan, state: str, next_step: str, channel: str | None) -> ChangeReceipt:
    operation = plan.operation
    return ChangeReceipt(
        state,
        operation.target,
        operation.change,
        operation.affects,
        next_step,
        plan=plan.id,
        expires=_time(plan.expires.astimezone(UTC)),
        version=operation.version,
        channel=channel,
    )


def _cursor(place: str) -> str:
    """A store's cursor may be a name in it, so it is shown as an opaque word."""
    return base64.urlsafe_b64encode(place.encode("utf-8", "surrogatepass")).decode().rstrip("=")


def place_of(cursor: str | None) -> str | None:
    """The store's own cursor.

    Raises:
        InputError: It is none that a listing gave.
    """
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode(
            "utf-8", "surrogatepass"
        )
    except ValueError:
        raise InputError("The cursor is not one that a listing gave.") from None


def _entry(prefix: Ref, entry: Entry, tells: Callable[[Ref], bool]) -> ListedSecret:
    ref = prefix.child(entry.name)
    found = entry.description if tells(ref) else None
    return ListedSecret(
        clean(entry.name, 255),
        entry.folder,
        _reference(ref),
        state=found.state.value if found else None,
        version=_maybe(found.version) if found else None,
        updated=_time(found.updated) if found else None,
        untrusted_owner=_maybe(found.metadata.owner) if found else None,
    )


def _reference(ref: Ref) -> str | None:
    """The name as a reference, unless the store holds one that the grammar refuses."""
    try:
        return str(Ref.parse(str(ref)))
    except (BadReferenceError, UnicodeEncodeError):
        return None


def _next_step(found: Description, asked: Ref) -> str:
    if asked.version is not None and asked.version != found.version:
        known = any(each.version == asked.version for each in found.versions)
        return (
            "This describes the current version; the one asked for is among `versions`."
            if known
            else "There is no such version; this describes the current one."
        )
    missing = found.keys is not None and asked.pointer and asked.pointer[0] not in found.keys
    if found.state is State.LIVE and missing:
        return "The secret has no such key; secrets_write adds it."
    return _NEXT[found.state].format(ref=found.ref)


def _maybe(text: str | None) -> str | None:
    return None if text is None else clean(text)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
