"""A short way to say what a law does to a store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from mcp_server.backends.base import Backend
from mcp_server.core.model import (
    Act,
    Change,
    Description,
    Entry,
    Metadata,
    Removal,
    RemovalMode,
    Secret,
    Written,
)
from mcp_server.core.refs import Ref
from mcp_server.core.sealed import _open, seal

__all__ = ["Hand"]

_ACT = Act("contract", plan="plan-0001", channel="policy")


@dataclass(frozen=True, slots=True)
class Hand:
    """Works on the secrets below ``prefix``; values are plain bytes on this side."""

    backend: Backend
    prefix: Ref

    def ref(self, name: str, key: str | None = None, version: str | None = None) -> Ref:
        return replace(self.prefix.child(name), key=key, version=version)

    def describe(self, name: str) -> Description:
        return self.backend.describe(self.ref(name), _ACT)

    def put(  # noqa: PLR0913 - the fields of a change
        self,
        name: str,
        values: Mapping[str, bytes],
        *,
        remove: Iterable[str] = (),
        replace: bool = False,
        metadata: Metadata | None = None,
        expected: str | None = None,
    ) -> Written:
        sealed = {key: seal(value) for key, value in values.items()}
        change = Change(sealed, frozenset(remove), replace, metadata, expected)
        return self.backend.put(self.ref(name), change, _ACT)

    def fetch(self, name: str, *, key: str | None = None, version: str | None = None) -> Secret:
        return self.backend.fetch(self.ref(name, key, version), _ACT)

    def values(
        self, name: str, *, key: str | None = None, version: str | None = None
    ) -> dict[str, bytes]:
        secret = self.fetch(name, key=key, version=version)
        return {key: _open(value) for key, value in secret.values.items()}

    def remove(
        self, name: str, mode: RemovalMode, *versions: str, expected: str | None = None
    ) -> Written:
        return self.backend.delete(self.ref(name), Removal(mode, versions, expected), _ACT)

    def entries(self, folder: str = "", limit: int = 100, *, details: bool = False) -> list[Entry]:
        """All pages below ``folder``."""
        prefix = self.prefix.child(folder) if folder else self.prefix
        entries: list[Entry] = []
        cursor, seen = None, set()
        while True:
            page = self.backend.list_names(
                prefix, _ACT, cursor=cursor, limit=limit, details=details
            )
            assert len(page.entries) <= limit
            entries += page.entries
            if page.cursor is None:
                return entries
            assert page.cursor not in seen, "the listing goes in circles"
            seen.add(page.cursor)
            cursor = page.cursor

    def names(self, folder: str = "", limit: int = 100) -> list[tuple[str, bool]]:
        return [(entry.name, entry.folder) for entry in self.entries(folder, limit)]
