"""Changes to the contents of a local store. Pure: they return new contents."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from mcp_server.backends.local._contents import Contents, Record, Version, write_value
from mcp_server.core.errors import NotFoundError
from mcp_server.core.model import Change, Metadata, Removal, RemovalMode, State
from mcp_server.formats.sops import Map

__all__ = ["Edit", "find_version"]

_REVISION_BYTES = 9

Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True, repr=False)
class Edit:
    """Changes one secret.

    Attributes:
        contents: Decrypted.
        name: Of the secret.
        now: When, with a time zone.
    """

    contents: Contents
    name: str
    now: datetime

    def put(self, raw: Mapping[str, bytes], change: Change, keep: int) -> Contents:
        """Write a version, keeping the newest ``keep``, or metadata alone.

        Raises:
            NotFoundError: Metadata for a secret that is not there.
        """
        record = self.contents.records.get(self.name)
        if raw or change.remove or change.replace:
            record, values = self._new_version(record, raw, change, keep)
        elif record is None:
            raise NotFoundError
        else:
            values = self.contents.secrets[self.name]
        if change.metadata is not None:
            record = replace(record, metadata=change.metadata)
        return self._with(record, values)

    def remove(self, removal: Removal) -> Contents:
        """Delete, restore or destroy versions, or erase the secret.

        Raises:
            NotFoundError: No such secret or version, or a destroyed one to restore.
        """
        record = self.contents.records.get(self.name)
        if record is None:
            raise NotFoundError
        if removal.mode is RemovalMode.ERASE:
            return self._without()
        named = {find_version(record, name).number for name in removal.versions or (None,)}
        changed = tuple(
            _moved(version, removal.mode) if version.number in named else version
            for version in record.versions
        )
        values = self.contents.secrets[self.name]
        return self._with(replace(record, versions=changed), _only(values, changed))

    def _new_version(
        self, record: Record | None, raw: Mapping[str, bytes], change: Change, keep: int
    ) -> tuple[Record, Mapping[str, Map]]:
        before = self.contents.secrets.get(self.name, {})
        if record is None:
            record = Record(self.name, "", self.now, Metadata(), ())
        number = record.current.number + 1 if record.versions else 1
        merged = _kept(record, before, change) | {key: write_value(raw[key]) for key in raw}
        versions = (*record.versions, Version(number, State.LIVE, self.now))[-keep:]
        values = _only({**before, str(number): merged}, versions)
        return replace(record, versions=versions), values

    def _with(self, record: Record, values: Mapping[str, Map]) -> Contents:
        revision = secrets.token_urlsafe(_REVISION_BYTES)
        changed = replace(record, revision=revision)
        return Contents(
            {**self.contents.records, self.name: changed},
            {**self.contents.secrets, self.name: values},
        )

    def _without(self) -> Contents:
        def others(named: Mapping[str, Kept]) -> dict[str, Kept]:
            return {name: kept for name, kept in named.items() if name != self.name}

        return Contents(others(self.contents.records), others(self.contents.secrets))


def find_version(record: Record, name: str | None) -> Version:
    """The version called ``name``; the current one for ``None``.

    Raises:
        NotFoundError: There is none.
    """
    if name is None:
        return record.current
    for version in record.versions:
        if str(version.number) == name:
            return version
    raise NotFoundError("The secret has no such version.")


def _kept(record: Record, before: Mapping[str, Map], change: Change) -> Map:
    """The values of the current version that the new one keeps."""
    if change.replace or not record.versions or record.current.state is not State.LIVE:
        return {}
    current = before[str(record.current.number)]
    return {key: node for key, node in current.items() if key not in change.remove}


def _moved(version: Version, mode: RemovalMode) -> Version:
    destroyed = version.state is State.DESTROYED
    if mode is RemovalMode.RESTORE and destroyed:
        raise NotFoundError("A destroyed version cannot be restored.")
    if mode is RemovalMode.DESTROY or destroyed:
        return replace(version, state=State.DESTROYED)
    deleted = mode is RemovalMode.DELETE
    return replace(version, state=State.DELETED if deleted else State.LIVE)


def _only(values: Mapping[str, Map], versions: Iterable[Version]) -> dict[str, Map]:
    return {
        str(version.number): values[str(version.number)]
        for version in versions
        if version.state is not State.DESTROYED
    }
