"""A KV v1 mount at the seam: it holds one set of values per name and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from mcp_server.backends.base import RawSecret
from mcp_server.backends.vault._engine import checked_cursor, page
from mcp_server.clients.vault import KvV1
from mcp_server.core.errors import NotFoundError, UnsupportedError
from mcp_server.core.model import (
    Change,
    Description,
    Listing,
    Removal,
    RemovalMode,
    State,
    Written,
)
from mcp_server.core.refs import Ref

__all__ = ["Kv1Engine"]

_NO_HISTORY = "A KV version 1 mount keeps no versions and no metadata and cannot compare-and-set."


class Kv1Engine:
    """Fetch, put and erase; every other ability is refused."""

    def __init__(self, kv: KvV1) -> None:
        self._kv = kv

    def describe(self, ref: Ref, path: str) -> Description:
        """Whether it is there. Asked of the folder, because a read would give the values."""
        folder, _, name = path.rpartition("/")
        there = name in self._kv.names(folder)
        return Description(ref, State.LIVE if there else State.ABSENT)

    def entries(
        self, prefix: Ref, path: str, cursor: str | None, limit: int, *, details: bool
    ) -> Listing:
        """One page; the whole folder is one reply. Being listed is all the detail there is."""
        after = checked_cursor(cursor)

        def described(name: str) -> Description | None:
            return Description(prefix.child(name), State.LIVE) if details else None

        return page(self._kv.names(path), after, limit, described)

    def fetch(self, ref: Ref, path: str) -> RawSecret:
        """The values."""
        if ref.version is not None:
            raise UnsupportedError(_NO_HISTORY)
        return RawSecret(None, None, self._kv.read(path).values)

    def put(self, ref: Ref, path: str, raw: Mapping[str, bytes], change: Change) -> Written:
        """Replace, or read, change and write: the last writer wins."""
        if change.metadata is not None or change.expected is not None:
            raise UnsupportedError(_NO_HISTORY)
        if change.replace:
            self._kv.write(path, raw)
        else:
            self._kv.merge(path, {**dict.fromkeys(change.remove), **raw})
        return Written(ref, None, None)

    def delete(self, ref: Ref, path: str, removal: Removal) -> Written:
        """Erase."""
        if removal.mode is not RemovalMode.ERASE:
            raise UnsupportedError(
                "A KV version 1 mount can only remove for good.", next_step="Plan to erase it."
            )
        if removal.versions or removal.expected is not None:
            raise UnsupportedError(_NO_HISTORY)
        if self.describe(ref, path).state is State.ABSENT:
            raise NotFoundError
        self._kv.delete(path)
        return Written(ref, None, None)
