"""What the core needs from outside, as protocols: stores, a clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from mcp_server.core.journal import Journal
from mcp_server.core.model import (
    Ability,
    Act,
    Change,
    Description,
    Identity,
    Listing,
    Removal,
    Secret,
    Written,
)
from mcp_server.core.refs import Ref

__all__ = ["Clock", "Limits", "Session", "Store", "StoreSettings", "Stores", "utc_now"]


class Clock(Protocol):
    """The time, so that expiry can be tested."""

    def __call__(self) -> datetime:
        """Now, with a time zone."""


def utc_now() -> datetime:
    """The clock of the machine."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what is read or written at once.

    Attributes:
        secret_bytes: All values of one secret together.
        keys: Keys of one secret.
        page: Names in one listing.
    """

    secret_bytes: int = 1_048_576 + 65_536
    keys: int = 512
    page: int = 1_000


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the server or the command line."""

    id: str
    journal: Journal
    limits: Limits = field(default_factory=Limits)
    clock: Clock = utc_now


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """One configured store, from the operator's files only.

    Attributes:
        name: The operator's name for it, what ``?store=`` refers to.
        backend: The scheme.
        options: Checked by the backend itself; unknown options are refused there.
    """

    name: str
    backend: str
    options: Mapping[str, object] = field(default_factory=dict)


class Store(Protocol):
    """The public side of a backend (``backends.base.Backend`` implements it)."""

    @property
    def settings(self) -> StoreSettings:
        """How it is configured."""

    @property
    def abilities(self) -> frozenset[Ability]:
        """What it can do beyond describing and listing."""

    def resolve(self, ref: Ref) -> Ref:
        """The canonical form that policy and plans use."""

    def identity(self) -> Identity:
        """Who the store thinks we are."""

    def describe(self, ref: Ref, act: Act) -> Description:
        """Everything but the values."""

    def list_names(
        self, prefix: Ref, act: Act, *, cursor: str | None, limit: int, details: bool
    ) -> Listing:
        """One page of names."""

    def fetch(self, ref: Ref, act: Act) -> Secret:
        """The values, sealed."""

    def put(self, ref: Ref, change: Change, act: Act) -> Written:
        """Write values or metadata."""

    def delete(self, ref: Ref, removal: Removal, act: Act) -> Written:
        """Remove, restore or destroy."""

    def close(self) -> None:
        """Give connections back."""


class Stores(Protocol):
    """The configured stores."""

    def open(self, ref: Ref) -> Store:
        """The store that ``ref`` names; opened on first use."""

    def settings(self) -> tuple[StoreSettings, ...]:
        """All configured stores, in a fixed order."""
