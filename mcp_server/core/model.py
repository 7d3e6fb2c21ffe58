"""What moves between the core and a backend. No field here can hold a value but ``Sealed``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from mcp_server.core.refs import Ref
from mcp_server.core.sealed import Sealed

__all__ = [
    "TOLD_VERSIONS",
    "Ability",
    "Act",
    "Change",
    "Description",
    "Entry",
    "Identity",
    "Listing",
    "Metadata",
    "Removal",
    "RemovalMode",
    "Secret",
    "State",
    "Verb",
    "VersionInfo",
    "Written",
]

TOLD_VERSIONS: Final = 20
"""Versions that a description names at most."""


class Ability(StrEnum):
    """What a backend can do beyond describing and listing. Undeclared means it raises."""

    FETCH = "fetch"
    PUT = "put"
    CAS = "cas"  # put and delete honour `expected`
    DELETE = "delete"  # soft: can be restored
    RESTORE = "restore"
    DESTROY = "destroy"  # single versions, for good
    ERASE = "erase"  # everything: all versions and metadata
    VERSIONS = "versions"
    METADATA = "metadata"
    LEASE = "lease"
    ISSUE = "issue"
    STAGE = "stage"


class Verb(StrEnum):
    """What is done, in the words that policy rules and the journal use."""

    LIST = "list"
    READ = "read"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    RESTORE = "restore"
    DESTROY = "destroy"
    ERASE = "erase"
    USE = "use"  # a value leaves a store as the source of something else
    DELIVER = "deliver"  # into a runtime file
    RUN = "run"  # into a child process


class State(StrEnum):
    """Whether there is something at the reference."""

    ABSENT = "absent"
    LIVE = "live"
    DELETED = "deleted"
    DESTROYED = "destroyed"


class RemovalMode(StrEnum):
    """How ``delete`` removes; each needs the ability of the same name."""

    DELETE = "delete"
    RESTORE = "restore"
    DESTROY = "destroy"
    ERASE = "erase"


@dataclass(frozen=True, slots=True)
class Act:
    """Who does something and by what right; it goes into the journal with every call.

    Attributes:
        session: Id of this process's session, also sent to stores as ``X-Agent-Session``.
        plan: Id of the plan carried out, if any.
        channel: How it was allowed: ``policy``, ``prompt``, ``form``, ``terminal``, ``grant:NAME``,
            or ``approved`` before by one of them.
        writes: What a ``put`` is called: the plan knows whether it creates.
    """

    session: str
    plan: str | None = None
    channel: str | None = None
    writes: Verb = Verb.UPDATE


@dataclass(frozen=True, slots=True)
class Metadata:
    """What people declare about a secret. Untrusted text: cleaned wherever it is shown."""

    owner: str | None = None
    schedule: str | None = None
    consumers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One version: its store's own name, when it was made, whether it still holds anything."""

    version: str
    state: State
    created: datetime | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """Everything about a secret but its values.

    Attributes:
        ref: Canonical reference of the whole secret.
        state: Of the current version.
        revision: Opaque compare-and-set token of what was seen, ``None`` where a store has none.
            For an absent secret in a store with CAS it stands for "still absent".
        version: Current version in the store's words.
        keys: Key names, or ``None`` when the store cannot name them without giving the values.
        versions: Newest first, at most ``TOLD_VERSIONS``.
        labels: The store's custom metadata, untrusted.
    """

    ref: Ref
    state: State
    revision: str | None = None
    version: str | None = None
    keys: tuple[str, ...] | None = None
    created: datetime | None = None
    updated: datetime | None = None
    versions: tuple[VersionInfo, ...] = ()
    metadata: Metadata = field(default_factory=Metadata)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a listing, relative to the prefix; folders end without a slash.

    ``description`` is filled by stores that hand out metadata in bulk.
    """

    name: str
    folder: bool = False
    description: Description | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of names, in order. ``cursor`` continues; ``None`` ends."""

    entries: tuple[Entry, ...]
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Secret:
    """Fetched values of one version."""

    ref: Ref
    version: str | None
    revision: str | None
    values: Mapping[str, Sealed]


@dataclass(frozen=True, slots=True)
class Change:
    """What ``put`` makes of a secret.

    Attributes:
        values: Keys to set.
        remove: Keys to drop.
        replace: The secret afterwards holds exactly ``values``; otherwise others stay.
        metadata: Declared metadata to set, ``None`` leaves it.
        expected: The revision the plan saw; a store with CAS refuses when it moved.
    """

    values: Mapping[str, Sealed]
    remove: frozenset[str] = frozenset()
    replace: bool = False
    metadata: Metadata | None = None
    expected: str | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """What ``delete`` takes away; empty ``versions`` means the current one."""

    mode: RemovalMode
    versions: tuple[str, ...] = ()
    expected: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What a store confirmed: version and revision after the change, and when."""

    ref: Ref
    version: str | None
    revision: str | None
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the store thinks we are, and what is missing.

    Attributes:
        who: Display name, untrusted.
        warnings: Plain sentences of ours, for example that a root token is used.
        missing: Permissions that configured mounts need and the login lacks.
    """

    who: str
    expires: datetime | None = None
    warnings: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
