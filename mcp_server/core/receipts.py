"""What a caller gets back. Every field is a name, a version, a state, a time or a sentence of ours.

There is no field that a value fits in by design: results are built field by field from these
types, never from what a store answered. Text that came from a store is in fields that begin with
``untrusted`` or is a name, and has been through ``core.text``.

(No slots: the MCP SDK derives output schemas from class attributes, and slots hide the defaults.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "ChangeReceipt",
    "DescribeReceipt",
    "ListReceipt",
    "ListedSecret",
    "ListedVersion",
    "StatusReceipt",
    "StoreStatus",
]


@dataclass(frozen=True)
class ChangeReceipt:
    """A change that was done, or a plan that waits for approval.

    Attributes:
        state: ``done``, ``planned`` (nothing was done yet) or ``approved`` (a ``run`` plan).
        change: What is done, exactly; pass it to ``secrets_apply`` as it is.
        affects: What depends on it; pass it as it is.
        channel: How it was allowed.
        fingerprints: Keyed with this run's key; the same text means the same value in this run.
        weak: Keys whose value is too weak to compare; rotate them.
        public: Public halves of generated key pairs, by key.
        path: Where a runtime file lies.
        skipped: What an import left out, by line.
    """

    state: str
    ref: str
    change: str
    affects: str
    next_step: str
    plan: str | None = None
    expires: str | None = None
    version: str | None = None
    time: str | None = None
    channel: str | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    weak: tuple[str, ...] = ()
    public: Mapping[str, str] = field(default_factory=dict)
    path: str | None = None
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class ListedVersion:
    """One version of a secret."""

    version: str
    state: str
    created: str | None = None


@dataclass(frozen=True)
class DescribeReceipt:
    """A secret without its values.

    Attributes:
        keys: Key names; ``None`` when this store cannot name them without reading values.
        age_days: Since the current version was written.
    """

    ref: str
    state: str
    next_step: str
    version: str | None = None
    keys: tuple[str, ...] | None = None
    created: str | None = None
    updated: str | None = None
    age_days: int | None = None
    versions: tuple[ListedVersion, ...] = ()
    untrusted_owner: str | None = None
    untrusted_schedule: str | None = None
    untrusted_consumers: tuple[str, ...] = ()
    untrusted_labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ListedSecret:
    """One name in a listing; ``ref`` is missing where the name cannot be written as one."""

    name: str
    folder: bool = False
    ref: str | None = None
    state: str | None = None
    version: str | None = None
    updated: str | None = None
    untrusted_owner: str | None = None


@dataclass(frozen=True)
class ListReceipt:
    """One page of names."""

    prefix: str
    secrets: tuple[ListedSecret, ...]
    cursor: str | None = None
    next_step: str = ""


@dataclass(frozen=True)
class StoreStatus:
    """One configured store and whether it answers."""

    name: str
    scheme: str
    state: str
    abilities: tuple[str, ...]
    untrusted_identity: str | None = None
    expires: str | None = None
    warnings: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    next_step: str | None = None


@dataclass(frozen=True)
class StatusReceipt:
    """What is configured, who we are, what is missing, what waits.

    Attributes:
        plans: Changes that wait for approval, ``ID: change``.
        unfinished: Changes begun whose outcome the journal does not know.
        changed: Configuration files changed since the start; inert until a restart.
        discovered: Stores found in the environment that ``secrets init`` could configure.
    """

    version: str
    session: str
    stores: tuple[StoreStatus, ...]
    policy: tuple[str, ...]
    plans: tuple[str, ...]
    unfinished: tuple[str, ...]
    changed: tuple[str, ...]
    discovered: tuple[str, ...]
    journal: str
    next_step: str
