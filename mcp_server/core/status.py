"""What is configured, who we are in each store, what is missing and what waits."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from mcp_server import __version__
from mcp_server.core.broker import Broker
from mcp_server.core.errors import OutcomeUnknownError, SecretsError
from mcp_server.core.journal import Kind, Record
from mcp_server.core.ports import StoreSettings
from mcp_server.core.receipts import StatusReceipt, StoreStatus
from mcp_server.core.refs import Ref
from mcp_server.core.text import clean

__all__ = ["Found", "discover", "status"]

_WORKERS = 8
_ADDRESS = re.compile(r"https://|http://(?:127\.0\.0\.1|localhost)(?::[0-9]+)?(?:/|\Z)")
_SHOWN = 10
_USUAL_MOUNTS = {"secret": 2}  # what a server is set up with; nothing is contacted to find out


@dataclass(frozen=True, slots=True)
class Found:
    """A store that could be configured, and by what it was seen."""

    settings: StoreSettings
    seen: str


def status(broker: Broker, environment: Mapping[str, str] = os.environ) -> StatusReceipt:
    """Ask every configured store at once; a store that does not answer says so in its line."""
    settings = broker.stores.settings()
    with ThreadPoolExecutor(_WORKERS) as pool:
        stores = tuple(pool.map(lambda each: _store(broker, each), settings))
    configured = {each.backend for each in settings}
    found = [each for each in discover(environment) if each.settings.backend not in configured]
    return StatusReceipt(
        __version__,
        broker.session.id,
        stores,
        _policy(broker),
        tuple(f"{p.id}: {clean(p.operation.change, 400)}" for p in broker.plans.pending()[:_SHOWN]),
        _unfinished(list(broker.session.journal.records())),
        tuple(clean(str(path), 400) for path in broker.config.changed),
        tuple(f"{each.settings.name}: {each.seen}" for each in found),
        _journal(broker),
        _next_step(broker, stores, found),
    )


def discover(environment: Mapping[str, str]) -> list[Found]:
    """Stores that other tools on this machine are set up for; nothing is contacted or read."""
    found = []
    for variable in ("VAULT_ADDR", "BAO_ADDR"):
        address = environment.get(variable, "")
        if _ADDRESS.match(address):
            options = {"address": clean(address, 200), "mounts": _USUAL_MOUNTS, **_login()}
            settings = StoreSettings("vault", "vault", options)
            found.append(Found(settings, f"{variable} is set{_token()}"))
            break
    return found


def _token() -> str:
    return ", ~/.vault-token exists" if _login() else ""


def _login() -> dict[str, object]:
    """The login that a client of Vault left, so that it counts without the variable too."""
    present = (Path.home() / ".vault-token").is_file()
    return {"auth": {"method": "token", "file": "~/.vault-token"}} if present else {}


def _store(broker: Broker, settings: StoreSettings) -> StoreStatus:
    name, scheme = settings.name, settings.backend
    try:
        store = broker.stores.open(Ref(scheme, "", store=name))
        identity = store.identity()
    except SecretsError as error:
        return StoreStatus(
            name, scheme, f"{error.code}: {error.message}", (), next_step=error.next_step
        )
    expires = identity.expires
    return StoreStatus(
        name,
        scheme,
        "ready",
        tuple(sorted(ability.value for ability in store.abilities)),
        clean(identity.who),
        None if expires is None else expires.astimezone(UTC).isoformat(timespec="seconds"),
        identity.warnings,
        tuple(clean(each, 200) for each in identity.missing),
    )


def _policy(broker: Broker) -> tuple[str, ...]:
    policy = broker.config.policy
    rules = [
        f"{rule.effect.name.lower()} {','.join(sorted(rule.verbs)) or 'everything'}"
        f" on {clean(rule.pattern, 200)}"
        for rule in policy.rules
    ]
    production = ", ".join(policy.production) or "paths with prod, production or live in them"
    return (
        *rules[:_SHOWN],
        "allowed unasked by default: creating in local://",
        f"always asked: {clean(production, 200)}",
        *(f"only a person at a terminal: {clean(each, 200)}" for each in policy.critical[:_SHOWN]),
        *(
            f"grant {clean(grant.name)} on {clean(grant.rule.pattern, 200)}"
            for grant in policy.grants
        ),
    )


def _unfinished(records: list[Record]) -> tuple[str, ...]:
    """Intents without a known outcome (a crash, a lost reply): references, so that one can look."""
    begun: dict[tuple[str, str, str], Record] = {}
    for record in records:
        event = record.event
        key = (event.session, event.verb, event.ref)
        if event.kind is Kind.INTENT:
            begun[key] = record
        elif event.code != OutcomeUnknownError.code and event.kind in {Kind.DONE, Kind.FAILED}:
            begun.pop(key, None)
    lines = [f"{r.time} {r.event.verb} {r.event.ref}" for r in begun.values()]
    return tuple(lines[-_SHOWN:])


def _journal(broker: Broker) -> str:
    report = broker.session.journal.verify()
    torn = f", {report.torn} torn lines" if report.torn else ""
    state = "intact" if report.intact else f"BROKEN at entry {report.broken_at}"
    return f"{report.entries} entries{torn}, chain {state}"


def _next_step(broker: Broker, stores: tuple[StoreStatus, ...], found: list[Found]) -> str:
    if broker.config.changed:
        return "The configuration changed; it counts after a restart of the server."
    failing = [each for each in stores if each.next_step]
    if failing:
        return f"{failing[0].name}: {failing[0].next_step}"
    if found:
        return "Run `secrets init` in a terminal to configure what was discovered."
    if broker.plans.pending():
        return "secrets_apply carries out a plan that waits, once a person agrees."
    return "secrets_list shows names, secrets_write makes a secret, for example local://app/db."
