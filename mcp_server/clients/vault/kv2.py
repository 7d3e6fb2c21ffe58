"""KV version 2: versions, compare-and-set, a PATCH that patches, deletion in three degrees.

Source: https://openbao.org/api-docs/secret/kv/kv-v2/ and
https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2; behaviour seen on OpenBao 2.7.2.
Each method names the capability it needs on which path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mcp_server.clients.vault import kv
from mcp_server.clients.vault._json import (
    Json,
    JsonObject,
    integer,
    section,
    value_bytes,
    value_text,
)
from mcp_server.clients.vault._session import Answer, Call, Session
from mcp_server.clients.vault.kv import KvMetadata, KvRead, KvShape, KvVersion, KvWritten
from mcp_server.core.errors import (
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    ProtocolError,
    SecretsError,
    UnsupportedError,
)

__all__ = ["KvV2"]

_ABSENT = frozenset({404})


class KvV2:
    """One KV v2 mount."""

    def __init__(self, session: Session, mount: str) -> None:
        self._session = session
        self._mount = mount
        self._bulk = True

    def read(self, path: str, version: int | None = None) -> KvRead:
        """Values of one version or the current one. ``read`` on ``MOUNT/data/PATH``.

        Raises:
            NotFoundError: No such secret or version, or it is deleted or destroyed.
        """
        data = _versioned(self._session.call(self._versioned_call("data", path, version)))
        version_read = _state(data)
        values = data.get("data")
        if not isinstance(values, dict):
            raise _gone(version_read)
        return KvRead(version_read, {key: value_bytes(value) for key, value in values.items()})

    def shape(self, path: str, version: int | None = None) -> KvShape:
        """Key names without values, and the version's state. ``read`` on ``MOUNT/subkeys/PATH``.

        Raises:
            NotFoundError: No such secret or version.
            UnsupportedError: The server has no subkeys (Vault before 1.10).
        """
        return _read_shape(self._session.call(self._shape_call(path, version)))

    def metadata(self, path: str) -> KvMetadata:
        """Versions and custom metadata. ``read`` on ``MOUNT/metadata/PATH``."""
        return _read_metadata(self._session.call(self._metadata_call(path)))

    def metadata_and_shape(
        self, path: str
    ) -> tuple[Callable[[], KvMetadata], Callable[[], KvShape]]:
        """Both, asked for at the same time: what it takes is the slower of two requests.

        Returns:
            Two functions: each gives or raises what ``metadata`` and ``shape`` would.
        """
        metadata, shape = self._session.call_both(self._metadata_call(path), self._shape_call(path))
        return lambda: _read_metadata(metadata()), lambda: _read_shape(shape())

    def names(self, path: str = "", *, after: str = "", limit: int = 0) -> tuple[str, ...]:
        """Names directly below ``path``; folders end with a slash.

        Needs ``list`` on ``MOUNT/metadata/PATH/``.

        Args:
            path: A folder; empty for the mount.
            after: Names up to this one are left out, by servers that have pagination.
            limit: Names at most, 0 for all, likewise.
        """
        return kv.read_names(section(self._list("metadata", path, after, limit), "data"))

    def details(
        self, path: str = "", *, after: str = "", limit: int = 0
    ) -> Mapping[str, KvMetadata | None] | None:
        """Names with their metadata in one call. ``list`` on ``MOUNT/detailed-metadata/PATH/``.

        Returns:
            ``None`` for a name that is a folder; ``None`` in place of the mapping when the
            server does not allow this or does not have it (Vault), the latter remembered.
        """
        if not self._bulk:
            return None
        try:
            reply = self._list("detailed-metadata", path, after, limit)
        except PermissionDeniedError:
            return None
        except UnsupportedError:
            self._bulk = False
            return None
        data = section(reply, "data")
        found = section(data, "key_info")
        return {
            name: kv.read_metadata(section(found, name)) if found.get(name) else None
            for name in kv.read_names(data)
        }

    def write(self, path: str, values: Mapping[str, bytes], *, cas: int | None = None) -> KvWritten:
        """A new version that holds exactly ``values``.

        Needs ``create`` or ``update`` on ``MOUNT/data/PATH``.

        Args:
            path: The secret.
            values: UTF-8 text each.
            cas: The version that must be the current one; 0 means "there is none". A deleted
                version counts.

        Raises:
            ConflictError: Another version is the current one; nothing was written.
            UnsupportedError: A value is not UTF-8; nothing was sent.
        """
        written: dict[str, Json] = {key: value_text(value) for key, value in values.items()}
        return self._write("POST", path, written, cas)

    def patch(
        self, path: str, changes: Mapping[str, bytes | None], *, cas: int | None = None
    ) -> KvWritten:
        """A new version with some keys set or, for ``None``, removed; nothing is read.

        A JSON merge patch (RFC 7396) that the server applies. ``patch`` on ``MOUNT/data/PATH``.

        Raises:
            NotFoundError: There is no live version to patch; nothing was written.
            ConflictError: As for ``write``.
        """
        merged: dict[str, Json] = {
            key: None if value is None else value_text(value) for key, value in changes.items()
        }
        return self._write("PATCH", path, merged, cas)

    def delete(self, path: str, versions: Sequence[int]) -> None:
        """Mark versions as deleted, not for good. ``update`` on ``MOUNT/delete/PATH``."""
        self._mark("delete", path, versions)

    def undelete(self, path: str, versions: Sequence[int]) -> None:
        """Bring deleted versions back. ``update`` on ``MOUNT/undelete/PATH``.

        The server says yes to a destroyed version, too, and does nothing.
        """
        self._mark("undelete", path, versions)

    def destroy(self, path: str, versions: Sequence[int]) -> None:
        """Remove the values of versions for good. ``update`` on ``MOUNT/destroy/PATH``."""
        self._mark("destroy", path, versions)

    def erase(self, path: str) -> None:
        """Remove all versions and metadata for good. ``delete`` on ``MOUNT/metadata/PATH``."""
        self._session.call(Call("DELETE", self._path("metadata", path)))

    def write_metadata(self, path: str, custom: Mapping[str, str]) -> None:
        """Replace the custom metadata, whether or not there is a version.

        Needs ``create`` or ``update`` on ``MOUNT/metadata/PATH``.

        Raises:
            LimitError: More than 64 names, a name over 128 or a text over 512 bytes.
        """
        body: JsonObject = {"custom_metadata": dict(custom)}
        self._session.call(Call("POST", self._path("metadata", path), body=body))

    def patch_metadata(self, path: str, custom: Mapping[str, str | None]) -> None:
        """Set or, for ``None``, remove custom metadata. ``patch`` on ``MOUNT/metadata/PATH``.

        Raises:
            NotFoundError: No such secret.
            LimitError: As for ``write_metadata``.
        """
        body: JsonObject = {"custom_metadata": dict(custom)}
        self._session.call(Call("PATCH", self._path("metadata", path), body=body))

    def _path(self, kind: str, path: str) -> str:
        return f"{self._mount}/{kind}/{path}"

    def _metadata_call(self, path: str) -> Call:
        return Call("GET", self._path("metadata", path))

    def _shape_call(self, path: str, version: int | None = None) -> Call:
        return self._versioned_call("subkeys", path, version, depth=1)

    def _versioned_call(
        self, kind: str, path: str, version: int | None, depth: int | None = None
    ) -> Call:
        query = {"version": version, "depth": depth}
        asked = {name: number for name, number in query.items() if number is not None}
        return Call("GET", self._path(kind, path), query=asked, accept=_ABSENT)

    def _write(self, method: str, path: str, values: dict[str, Json], cas: int | None) -> KvWritten:
        body: JsonObject = {"data": values}
        if cas is not None:
            body["options"] = {"cas": cas}
        _, reply = self._session.call(Call(method, self._path("data", path), body=body))
        try:
            return kv.read_written(reply)
        except ProtocolError:
            raise OutcomeUnknownError from None

    def _mark(self, act: str, path: str, versions: Sequence[int]) -> None:
        body: JsonObject = {"versions": [str(number) for number in versions]}
        self._session.call(Call("POST", self._path(act, path), body=body))

    def _list(self, kind: str, path: str, after: str, limit: int) -> JsonObject:
        query: dict[str, str | int] = {"after": after, "limit": limit} if after or limit else {}
        where = f"{self._mount}/{kind}/{path}".rstrip("/")
        status, reply = self._session.call(
            Call("LIST", where, query=query, folder=True, accept=_ABSENT)
        )
        if status not in _ABSENT:
            return reply
        if reply.get("warnings"):
            raise UnsupportedError
        return {"data": {"keys": []}}


def _read_metadata(answer: Answer) -> KvMetadata:
    return kv.read_metadata(section(answer[1], "data"))


def _read_shape(answer: Answer) -> KvShape:
    data = _versioned(answer)
    keys = data.get("subkeys")
    names = tuple(keys) if isinstance(keys, dict) else None
    return KvShape(_state(data), names, kv.read_custom(section(data, "metadata")))


def _versioned(answer: Answer) -> JsonObject:
    data = section(answer[1], "data")
    if "metadata" not in data:
        raise _nothing(answer[1])
    return data


def _state(data: JsonObject) -> KvVersion:
    state = section(data, "metadata")
    return kv.read_version(integer(state, "version"), state)


def _nothing(reply: JsonObject) -> SecretsError:
    """Why a 404 has no metadata: no such version, or, with a warning, no such API path."""
    return UnsupportedError() if reply.get("warnings") else NotFoundError()


def _gone(version: KvVersion) -> NotFoundError:
    if version.destroyed:
        return NotFoundError(
            f"Version {version.number} is destroyed.", next_step="Its values are gone for good."
        )
    return NotFoundError(
        f"Version {version.number} is deleted.", next_step="Plan a restore with secrets_delete."
    )
