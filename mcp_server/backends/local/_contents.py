"""What the file of a local store holds, as types and as a SOPS tree.

::

    {
      "format": 1,
      "index": [
        {"name": "app/db", "revision": "…", "created": "…", "owner": "…", "schedule": "90d",
         "consumers": ["…"], "versions": [{"version": 3, "state": "live", "created": "…"}]}
      ],
      "secrets": {"app/db": {"3": {"password": "ENC[…]", "icon": {"base64": "ENC[…]"}}}},
      "sops": {…, "encrypted_suffix": "secrets", …}
    }

Everything below the top-level key ``secrets`` is encrypted, whatever a secret or a key is called:
names given by users stand below it or are texts of the index, never keys beside it. The index is
clear, so describing needs no key; the MAC covers it. Names and keys are clear in SOPS anyway, and
so is about how long a value is.

A value is UTF-8 text as it is; other bytes are ``{"base64": …}``, nothing at all is
``{"empty": true}`` (SOPS would leave an empty text clear and outside the MAC).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

from mcp_server.core.errors import CorruptError, UnsupportedError
from mcp_server.core.model import Metadata, State
from mcp_server.formats.sops import Kind, Leaf, Map, Node, Rule, RuleKind

__all__ = [
    "RULE",
    "SECRETS",
    "Contents",
    "Record",
    "Version",
    "read_contents",
    "read_value",
    "write_contents",
    "write_value",
]

SECRETS: Final = "secrets"
RULE: Final = Rule(RuleKind.ENCRYPTED_SUFFIX, SECRETS)
_FORMAT: Final = Leaf.of(1)
_STATES: Final = {state.value: state for state in (State.LIVE, State.DELETED, State.DESTROYED)}
_BASE64: Final = "base64"
_EMPTY: Final = "empty"
_WRAPPED: Final = ({_BASE64}, {_EMPTY})


@dataclass(frozen=True, slots=True)
class Version:
    """One version; its values stand below ``secrets`` unless it is destroyed."""

    number: int
    state: State
    created: datetime


@dataclass(frozen=True, slots=True)
class Record:
    """What the index says of a secret.

    Attributes:
        name: The path in references.
        revision: Random, new with every change, so that an earlier one never comes back.
        created: When the first version was written.
        metadata: What people declared.
        versions: Oldest first, at least one.
    """

    name: str
    revision: str
    created: datetime
    metadata: Metadata
    versions: tuple[Version, ...]

    @property
    def current(self) -> Version:
        """The newest version."""
        return self.versions[-1]


@dataclass(frozen=True, repr=False)
class Contents:
    """The whole store.

    Attributes:
        records: By name.
        secrets: Name, version number, key, value; tokens or values, as the tree it is from.
    """

    records: Mapping[str, Record]
    secrets: Mapping[str, Mapping[str, Map]]

    @cached_property
    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self.records)


def read_contents(tree: Map) -> Contents:
    """Read a tree, encrypted or decrypted.

    Raises:
        CorruptError: Something is missing, too much, twice, or of another type.
        UnsupportedError: A later version of this program wrote it.
    """
    version = tree.get("format")
    if isinstance(version, Leaf) and version.kind is Kind.INTEGER and version != _FORMAT:
        raise UnsupportedError(
            "The store was written by a newer version of this program.",
            next_step="Update secret-management, then retry.",
        )
    if version != _FORMAT or set(tree) != {"format", "index", SECRETS}:
        raise _misfit()
    entries = [_record(entry) for entry in _list(tree["index"])]
    records = {record.name: record for record in entries}
    secrets = {name: _versions_of(node) for name, node in _map(tree[SECRETS]).items()}
    if len(records) != len(entries) or _places(records) != _places_in(secrets):
        raise _misfit()
    return Contents(records, secrets)


def write_contents(contents: Contents) -> Map:
    """The tree to encrypt; the reverse of ``read_contents``."""
    index: list[Node] = [_entry(contents.records[name]) for name in contents.names]
    secrets: Map = {name: dict(contents.secrets[name]) for name in contents.names}
    return {"format": _FORMAT, "index": index, SECRETS: secrets}


def read_value(node: Node) -> bytes:
    """The bytes of a decrypted value.

    Raises:
        CorruptError: It is none of the three forms.
    """
    match node:
        case Leaf(Kind.COMMENT):
            raise _misfit()
        case Leaf(data=data):
            return data
        case {"base64": Leaf(Kind.TEXT, data)}:
            return _unbase64(data)
        case {"empty": Leaf(Kind.BOOLEAN, b"True")}:
            return b""
    raise _misfit()


def write_value(value: bytes) -> Node:
    """The node that stands for some bytes; the reverse of ``read_value``."""
    if not value:
        return {_EMPTY: Leaf.of(value=True)}
    try:
        value.decode()
    except UnicodeDecodeError:
        return {_BASE64: Leaf.of(base64.b64encode(value))}
    return Leaf.of(value)


def _unbase64(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise _misfit() from None


def _record(node: Node) -> Record:
    entry = _map(node)
    versions = tuple(_version(version) for version in _list(entry.get("versions")))
    numbers = [version.number for version in versions]
    if not numbers or numbers != sorted(set(numbers)) or numbers[0] < 1:
        raise _misfit()
    return Record(
        _text(entry.get("name")),
        _text(entry.get("revision")),
        _time(entry.get("created")),
        _metadata(entry),
        versions,
    )


def _metadata(entry: Map) -> Metadata:
    owner, schedule = entry.get("owner"), entry.get("schedule")
    return Metadata(
        None if owner is None else _text(owner),
        None if schedule is None else _text(schedule),
        tuple(map(_text, _list(entry.get("consumers", [])))),
    )


def _version(node: Node) -> Version:
    entry = _map(node)
    number, state = entry.get("version"), _STATES.get(_text(entry.get("state")))
    if not isinstance(number, Leaf) or number.kind is not Kind.INTEGER or state is None:
        raise _misfit()
    return Version(int(number.data), state, _time(entry.get("created")))


def _entry(record: Record) -> Map:
    entry: Map = {
        "name": Leaf.of(record.name),
        "revision": Leaf.of(record.revision),
        "created": Leaf.of(record.created.isoformat()),
    }
    declared = record.metadata
    if declared.owner is not None:
        entry["owner"] = Leaf.of(declared.owner)
    if declared.schedule is not None:
        entry["schedule"] = Leaf.of(declared.schedule)
    if declared.consumers:
        entry["consumers"] = [Leaf.of(consumer) for consumer in declared.consumers]
    entry["versions"] = [_version_entry(version) for version in record.versions]
    return entry


def _version_entry(version: Version) -> Map:
    return {
        "version": Leaf.of(version.number),
        "state": Leaf.of(version.state.value),
        "created": Leaf.of(version.created.isoformat()),
    }


def _versions_of(node: Node) -> dict[str, Map]:
    return {number: _values_of(values) for number, values in _map(node).items()}


def _values_of(node: Node) -> Map:
    """Refuse forms that the MAC does not see: empty texts, nulls, empty maps and lists."""
    values = _map(node)
    if not all(map(_is_value, values.values())):
        raise _misfit()
    return values


def _is_value(node: Node) -> bool:
    if isinstance(node, dict):
        return set(node) in _WRAPPED and all(_is_leaf(child) for child in node.values())
    return _is_leaf(node)


def _is_leaf(node: Node) -> bool:
    return isinstance(node, Leaf) and bool(node.data)


def _places(records: Mapping[str, Record]) -> dict[str, set[str]]:
    return {
        name: {str(v.number) for v in record.versions if v.state is not State.DESTROYED}
        for name, record in records.items()
    }


def _places_in(secrets: Mapping[str, Mapping[str, Map]]) -> dict[str, set[str]]:
    return {name: set(versions) for name, versions in secrets.items()}


def _map(node: Node) -> Map:
    if not isinstance(node, dict):
        raise _misfit()
    return node


def _list(node: Node) -> list[Node]:
    if not isinstance(node, list):
        raise _misfit()
    return node


def _text(node: Node) -> str:
    if not isinstance(node, Leaf) or node.kind is not Kind.TEXT:
        raise _misfit()
    return node.text


def _time(node: Node) -> datetime:
    try:
        time = datetime.fromisoformat(_text(node))
    except ValueError:
        raise _misfit() from None
    if time.tzinfo is None:
        raise _misfit()
    return time


def _misfit() -> CorruptError:
    return CorruptError("The file is not one that this store wrote; nothing was delivered.")
