"""``memory://``: the fake at the seam, for tests; everything is gone with the process.

It has every ability of a versioned store (KV v2 is the model) so that the contract suite and the
promises can be tested without a server. ``faults`` is the test's handle: errors put there are
raised by the next calls, one each, before anything changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import RLock
from typing import ClassVar

from mcp_server.backends.base import Backend, RawSecret
from mcp_server.core.errors import ConflictError, NotFoundError, SecretsError
from mcp_server.core.model import (
    TOLD_VERSIONS,
    Ability,
    Change,
    Description,
    Entry,
    Listing,
    Metadata,
    Removal,
    RemovalMode,
    State,
    VersionInfo,
    Written,
)
from mcp_server.core.ports import Session, StoreSettings
from mcp_server.core.refs import Ref

__all__ = ["MemoryBackend"]


@dataclass(slots=True, repr=False)
class _Version:
    values: dict[str, bytes]
    created: datetime
    state: State = State.LIVE


@dataclass(slots=True, repr=False)
class _Held:
    versions: dict[int, _Version] = field(default_factory=dict)
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def current(self) -> int:
        return max(self.versions, default=0)


class MemoryBackend(Backend):
    """A dictionary with versions. Permissions needed: none."""

    scheme: ClassVar[str] = "memory"
    abilities: ClassVar[frozenset[Ability]] = frozenset(
        {
            Ability.FETCH,
            Ability.PUT,
            Ability.CAS,
            Ability.DELETE,
            Ability.RESTORE,
            Ability.DESTROY,
            Ability.ERASE,
            Ability.VERSIONS,
            Ability.METADATA,
        }
    )

    def __init__(self, settings: StoreSettings, session: Session) -> None:
        super().__init__(settings, session)
        self.faults: list[SecretsError] = []
        self._held: dict[str, _Held] = {}
        self._lock = RLock()

    def _describe(self, ref: Ref) -> Description:
        self._trip()
        held = self._held.get(ref.path, _Held())
        current = held.versions.get(held.current)
        if current is None:
            return Description(ref, State.ABSENT, revision="0")
        return Description(
            ref,
            current.state,
            revision=str(held.current),
            version=str(held.current),
            keys=tuple(sorted(current.values)) if current.state is State.LIVE else None,
            created=held.versions[min(held.versions)].created,
            updated=current.created,
            versions=_history(held),
            metadata=held.metadata,
        )

    def _list(self, prefix: Ref, cursor: str | None, limit: int, *, details: bool) -> Listing:
        del details  # the base asks one by one
        self._trip()
        start = f"{prefix.path}/" if prefix.path else ""
        below = [path[len(start) :] for path in list(self._held) if path.startswith(start)]
        entries = {Entry(name.partition("/")[0], "/" in name) for name in below}
        ordered = sorted(entries, key=_place)
        after = [entry for entry in ordered if cursor is None or _place(entry) > cursor]
        page = tuple(after[:limit])
        return Listing(page, _place(page[-1]) if len(after) > limit else None)

    def _fetch(self, ref: Ref) -> RawSecret:
        self._trip()
        held = self._held.get(ref.path, _Held())
        number = _number(held, ref.version)
        version = held.versions[number]
        if version.state is not State.LIVE:
            raise NotFoundError
        return RawSecret(str(number), str(held.current), dict(version.values))

    def _put(self, ref: Ref, raw: Mapping[str, bytes], change: Change) -> Written:
        self._trip()
        with self._lock:
            held = self._held.get(ref.path, _Held())
            _check(held, change.expected)
            if raw or change.remove or change.replace:
                held.versions[held.current + 1] = _Version(
                    _merged(held, raw, change), datetime.now(UTC)
                )
            if change.metadata is not None:
                held.metadata = change.metadata
            self._held[ref.path] = held
            return _written(ref, held)

    def _delete(self, ref: Ref, removal: Removal) -> Written:
        self._trip()
        with self._lock:
            held = self._held.get(ref.path)
            if held is None:
                raise NotFoundError
            _check(held, removal.expected)
            if removal.mode is RemovalMode.ERASE:
                del self._held[ref.path]
                return Written(ref, None, "0", datetime.now(UTC))
            numbers = [_number(held, name) for name in removal.versions or (None,)]
            _refuse_lost(held, numbers, removal.mode)
            for number in numbers:
                _remove(held.versions[number], removal.mode)
            return _written(ref, held)

    def _trip(self) -> None:
        if self.faults:
            raise self.faults.pop(0)


def _place(entry: Entry) -> str:
    """Where an entry stands in its listing; the cursor is the place of the last one shown."""
    return f"{entry.name}/" if entry.folder else entry.name


def _history(held: _Held) -> tuple[VersionInfo, ...]:
    newest_first = sorted(held.versions.items(), reverse=True)[:TOLD_VERSIONS]
    return tuple(VersionInfo(str(n), v.state, v.created) for n, v in newest_first)


def _merged(held: _Held, raw: Mapping[str, bytes], change: Change) -> dict[str, bytes]:
    current = held.versions.get(held.current)
    keep = current is not None and current.state is State.LIVE and not change.replace
    before = current.values if current is not None and keep else {}
    kept = {key: value for key, value in before.items() if key not in change.remove}
    return {**kept, **raw}


def _check(held: _Held, expected: str | None) -> None:
    if expected is not None and expected != str(held.current):
        raise ConflictError


def _number(held: _Held, name: str | None) -> int:
    """The number of the version called ``name``, of the current one for ``None``."""
    names = {str(number): number for number in held.versions}
    number = names.get(str(held.current) if name is None else name)
    if number is None:
        raise NotFoundError("The secret has no such version.")
    return number


def _refuse_lost(held: _Held, numbers: list[int], mode: RemovalMode) -> None:
    states = {held.versions[number].state for number in numbers}
    if mode is RemovalMode.RESTORE and State.DESTROYED in states:
        raise NotFoundError("A destroyed version cannot be restored.")


def _remove(version: _Version, mode: RemovalMode) -> None:
    if mode is RemovalMode.DESTROY:
        version.values, version.state = {}, State.DESTROYED
    elif version.state is not State.DESTROYED:
        version.state = State.DELETED if mode is RemovalMode.DELETE else State.LIVE


def _written(ref: Ref, held: _Held) -> Written:
    return Written(ref, str(held.current), str(held.current), datetime.now(UTC))
