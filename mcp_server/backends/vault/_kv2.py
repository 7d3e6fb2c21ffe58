"""A KV v2 mount at the seam. The revision of a secret is the number of its newest version."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from mcp_server.backends.base import RawSecret
from mcp_server.backends.vault import _custom
from mcp_server.backends.vault._engine import checked_cursor, page
from mcp_server.clients.vault import KvMetadata, KvShape, KvV2, KvVersion, KvWritten
from mcp_server.core.errors import (
    ConflictError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    SecretsError,
    UnsupportedError,
)
from mcp_server.core.model import (
    TOLD_VERSIONS,
    Change,
    Description,
    Listing,
    Metadata,
    Removal,
    RemovalMode,
    State,
    VersionInfo,
    Written,
)
from mcp_server.core.ports import Clock
from mcp_server.core.refs import Ref

__all__ = ["Kv2Engine"]

_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")


class Kv2Engine:
    """All abilities of the backend."""

    def __init__(self, kv: KvV2, clock: Clock) -> None:
        self._kv = kv
        self._clock = clock

    def describe(self, ref: Ref, path: str) -> Description:
        """From metadata and key names; from one of the two where the other is not allowed."""
        metadata_of, shape_of = self._kv.metadata_and_shape(path)
        try:
            metadata = _known(metadata_of)
        except PermissionDeniedError:
            return self._from_shape(ref, shape_of)
        return self._described(ref, metadata, _named(shape_of) if metadata.current else None)

    def entries(
        self, prefix: Ref, path: str, cursor: str | None, limit: int, *, details: bool
    ) -> Listing:
        """One page, with metadata in bulk (then without key names) where the server has that."""
        after = checked_cursor(cursor)
        if details:
            found = self._kv.details(path, after=after, limit=limit + 1)
            if found is not None:
                return page(found, after, limit, lambda name: self._bulk(prefix, found, name))
        return page(self._kv.names(path, after=after, limit=limit + 1), after, limit)

    def fetch(self, ref: Ref, path: str) -> RawSecret:
        """The values of one version; its revision is known only of the newest."""
        wanted = None if ref.version is None else _version_number(ref.version)
        read = self._kv.read(path, wanted)
        number = None if read.version is None else str(read.version.number)
        return RawSecret(number, number if wanted is None else None, read.values)

    def put(self, ref: Ref, path: str, raw: Mapping[str, bytes], change: Change) -> Written:
        """Values with compare-and-set, then metadata."""
        custom = None if change.metadata is None else _custom.to_custom(change.metadata)
        if not (raw or change.remove or change.replace):
            return self._put_metadata(ref, path, custom or {}, change.expected)
        written = self._write(path, raw, change)
        if custom is not None:
            self._add_metadata(path, custom)
        number = str(written.version)
        return Written(ref, number, number, written.created)

    def delete(self, ref: Ref, path: str, removal: Removal) -> Written:
        """Exactly the versions that were looked at, so that a newer one is never touched.

        Erasing has no such guard in the API: a version written between the comparison and the
        removal goes with the rest.
        """
        metadata = self._kv.metadata(path)
        _compare(removal.expected, metadata.current)
        if removal.mode is RemovalMode.ERASE:
            self._kv.erase(path)
            return Written(ref, None, "0", self._clock())
        numbers = _chosen(removal, metadata)
        if removal.mode is RemovalMode.DELETE:
            self._kv.delete(path, numbers)
        elif removal.mode is RemovalMode.RESTORE:
            self._kv.undelete(path, numbers)
        else:
            self._kv.destroy(path, numbers)
        return Written(ref, str(metadata.current), str(metadata.current), self._clock())

    # --- describing ---------------------------------------------------------------------

    def _from_shape(self, ref: Ref, shape_of: Callable[[], KvShape]) -> Description:
        try:
            shape = shape_of()
        except NotFoundError:
            return _absent(ref, {})
        version = shape.version
        alone = KvMetadata(
            version.number,
            created=None,
            updated=version.created,
            versions=(version,),
            custom=shape.custom,
        )
        return self._described(ref, alone, shape)

    def _bulk(
        self, prefix: Ref, found: Mapping[str, KvMetadata | None], name: str
    ) -> Description | None:
        metadata = found[name]
        return None if metadata is None else self._described(prefix.child(name), metadata, None)

    def _described(self, ref: Ref, metadata: KvMetadata, shape: KvShape | None) -> Description:
        current = next((v for v in metadata.versions if v.number == metadata.current), None)
        if current is None:
            return _absent(ref, metadata.custom)
        state = self._state(current)
        live = state is State.LIVE and shape is not None and shape.keys is not None
        return Description(
            ref,
            state,
            revision=str(current.number),
            version=str(current.number),
            keys=tuple(sorted(shape.keys)) if live and shape and shape.keys is not None else None,
            created=metadata.created,
            updated=current.created,
            versions=tuple(
                VersionInfo(str(v.number), self._state(v), v.created)
                for v in metadata.versions[:TOLD_VERSIONS]
            ),
            metadata=_custom.from_custom(metadata.custom),
            labels=_custom.labels(metadata.custom),
        )

    def _state(self, version: KvVersion) -> State:
        if version.destroyed:
            return State.DESTROYED
        expired = version.deleted is not None and version.deleted <= self._clock()
        return State.DELETED if expired else State.LIVE

    # --- changing -----------------------------------------------------------------------

    def _write(self, path: str, raw: Mapping[str, bytes], change: Change) -> KvWritten:
        cas = None if change.expected is None else _expected_number(change.expected)
        if change.replace or cas == 0:
            return self._kv.write(path, raw, cas=cas)
        try:
            return self._kv.patch(path, {**dict.fromkeys(change.remove), **raw}, cas=cas)
        except NotFoundError:
            # Nothing live to patch: the secret starts empty, on top of what was deleted.
            known = self._current(path) if cas is None else cas
            return self._kv.write(path, raw, cas=known)

    def _put_metadata(
        self, ref: Ref, path: str, custom: Mapping[str, str | None], expected: str | None
    ) -> Written:
        current = self._current(path)
        _compare(expected, current)
        self._set_custom(path, custom)
        return Written(ref, str(current) if current else None, str(current), self._clock())

    def _current(self, path: str) -> int:
        return _known(lambda: self._kv.metadata(path)).current

    def _add_metadata(self, path: str, custom: Mapping[str, str | None]) -> None:
        try:
            self._set_custom(path, custom)
        except SecretsError:
            raise OutcomeUnknownError(
                "The values were written; owner, schedule and consumers perhaps not.",
                next_step="Describe the secret, then plan the metadata again if it is missing.",
            ) from None

    def _set_custom(self, path: str, custom: Mapping[str, str | None]) -> None:
        try:
            self._kv.patch_metadata(path, custom)
        except NotFoundError:
            given = {name: text for name, text in custom.items() if text is not None}
            self._kv.write_metadata(path, given)


def _known(ask: Callable[[], KvMetadata]) -> KvMetadata:
    """The metadata; of a secret that is not there, that it has no version."""
    try:
        return ask()
    except NotFoundError:
        return KvMetadata(0, None, None, (), {})


def _named(ask: Callable[[], KvShape]) -> KvShape | None:
    """The key names, where the server has them and we may know them."""
    try:
        return ask()
    except (PermissionDeniedError, UnsupportedError, NotFoundError):
        return None


def _absent(ref: Ref, custom: Mapping[str, str]) -> Description:
    declared = _custom.from_custom(custom) if custom else Metadata()
    return Description(
        ref, State.ABSENT, revision="0", metadata=declared, labels=_custom.labels(custom)
    )


def _version_number(name: str) -> int:
    # The API takes 0 for the newest version and reads other spellings of a number.
    if not _NUMBER.fullmatch(name) or name == "0":
        raise NotFoundError("The secret has no such version.")
    return int(name)


def _expected_number(revision: str) -> int:
    if not _NUMBER.fullmatch(revision):
        raise ConflictError
    return int(revision)


def _compare(expected: str | None, current: int) -> None:
    if expected is not None and expected != str(current):
        raise ConflictError


def _chosen(removal: Removal, metadata: KvMetadata) -> list[int]:
    known = {str(version.number): version for version in metadata.versions}
    names = removal.versions or (str(metadata.current),)
    if not known.keys() >= set(names):
        raise NotFoundError("The secret has no such version.")
    if removal.mode is RemovalMode.RESTORE and any(known[name].destroyed for name in names):
        raise NotFoundError("A destroyed version cannot be restored.")
    return [known[name].number for name in names]
