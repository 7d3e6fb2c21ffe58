"""What the KV engines give and take, as types. No field with a value is ever shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mcp_server.clients.vault._json import Json, JsonObject, integer, moment, section
from mcp_server.core.errors import ProtocolError

__all__ = [
    "KvMetadata",
    "KvRead",
    "KvShape",
    "KvVersion",
    "KvWritten",
    "read_metadata",
    "read_version",
    "read_written",
]


@dataclass(frozen=True, slots=True)
class KvVersion:
    """One version of a KV v2 secret. ``deleted`` may lie ahead: then it is an expiry."""

    number: int
    created: datetime | None
    deleted: datetime | None = None
    destroyed: bool = False


@dataclass(frozen=True, slots=True)
class KvRead:
    """The values of one version; ``version`` is ``None`` in KV v1.

    A JSON string is its text in UTF-8; a number, boolean, null, list or object is its compact
    JSON text.
    """

    version: KvVersion | None
    values: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class KvShape:
    """One version without its values. ``keys`` is ``None`` when it is deleted or destroyed."""

    version: KvVersion
    keys: tuple[str, ...] | None
    custom: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class KvMetadata:
    """Everything about a KV v2 secret but keys and values.

    Attributes:
        current: Number of the newest version, 0 when there is none.
        versions: Newest first; older ones than ``max_versions`` were dropped by the server.
        custom: Custom metadata, untrusted text.
    """

    current: int
    created: datetime | None
    updated: datetime | None
    versions: tuple[KvVersion, ...]
    custom: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class KvWritten:
    """What the server confirmed."""

    version: int
    created: datetime | None


def read_version(number: int, node: JsonObject) -> KvVersion:
    """A version from its metadata."""
    return KvVersion(
        number,
        moment(node, "created_time"),
        moment(node, "deletion_time"),
        node.get("destroyed") is True,
    )


def read_metadata(data: JsonObject) -> KvMetadata:
    """The metadata of a secret, alone or as an entry of a detailed listing."""
    versions = section(data, "versions")
    numbers = sorted((_number(name) for name in versions), reverse=True)
    return KvMetadata(
        current=integer(data, "current_version"),
        created=moment(data, "created_time"),
        updated=moment(data, "updated_time"),
        versions=tuple(read_version(n, section(versions, str(n))) for n in numbers),
        custom=read_custom(data),
    )


def read_written(reply: JsonObject) -> KvWritten:
    """The confirmation of a write.

    Raises:
        ProtocolError: It names no version.
    """
    data = section(reply, "data")
    version = integer(data, "version")
    if version < 1:
        raise ProtocolError
    return KvWritten(version, moment(data, "created_time"))


def read_custom(node: JsonObject) -> dict[str, str]:
    """Custom metadata; the server keeps only text there."""
    custom = section(node, "custom_metadata")
    return {name: value for name, value in custom.items() if isinstance(value, str)}


def read_names(data: JsonObject) -> tuple[str, ...]:
    """The names of a listing; folders end with a slash."""
    names: Json = data.get("keys")
    if not isinstance(names, list):
        raise ProtocolError
    return tuple(name for name in names if isinstance(name, str))


def _number(name: str) -> int:
    if not (name.isdecimal() and name.isascii() and len(name) < 10):  # noqa: PLR2004 - 32 bits
        raise ProtocolError
    return int(name)
