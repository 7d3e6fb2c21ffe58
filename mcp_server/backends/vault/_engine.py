"""What both KV versions have in common: the calls the backend hands on, and pages of names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from mcp_server.backends.base import RawSecret
from mcp_server.core.errors import InputError
from mcp_server.core.model import Change, Description, Entry, Listing, Removal, Written
from mcp_server.core.refs import Ref
from mcp_server.core.text import is_plain

__all__ = ["Engine", "checked_cursor", "page"]

_MAX_CURSOR = 512


class Engine(Protocol):
    """One mount. ``path`` is relative to it; ``ref`` is what results are labelled with."""

    def describe(self, ref: Ref, path: str) -> Description:
        """Everything but the values."""

    def entries(
        self, prefix: Ref, path: str, cursor: str | None, limit: int, *, details: bool
    ) -> Listing:
        """One page of names."""

    def fetch(self, ref: Ref, path: str) -> RawSecret:
        """The values."""

    def put(self, ref: Ref, path: str, raw: Mapping[str, bytes], change: Change) -> Written:
        """Write."""

    def delete(self, ref: Ref, path: str, removal: Removal) -> Written:
        """Remove or restore."""


def checked_cursor(cursor: str | None) -> str:
    """The raw name that a page starts after; empty for the first page.

    Raises:
        InputError: No listing gave this cursor.
    """
    if cursor is not None and (len(cursor) > _MAX_CURSOR or not is_plain(cursor)):
        raise InputError("The cursor is not one that a listing gave.")
    return cursor or ""


def page(
    names: Iterable[str],
    after: str,
    limit: int,
    describe: Callable[[str], Description | None] = lambda _name: None,
) -> Listing:
    """Cut a page out of raw names, in which folders end with a slash.

    Args:
        names: All names of the folder, or those that the server's own pagination gave.
        after: From ``checked_cursor``.
        limit: Names at most.
        describe: The description of a secret, where it is at hand.
    """
    rest = sorted(name for name in names if name > after)
    chosen = rest[:limit]
    entries = tuple(
        Entry(name.rstrip("/"), folder=True)
        if name.endswith("/")
        else Entry(name, description=describe(name))
        for name in chosen
    )
    return Listing(entries, chosen[-1] if len(rest) > limit else None)
