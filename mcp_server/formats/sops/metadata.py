"""The ``sops`` map: who can open the document, how it is encrypted, its MAC.

The map is kept as it stands and only what changes is replaced, so entries that this version
does not know survive a rewrite. Source: ``stores/stores.go`` of getsops/sops v3.11.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from mcp_server.core.errors import CorruptError, LimitError
from mcp_server.formats.sops.rules import DEFAULT_RULE, Rule, RuleKind
from mcp_server.formats.sops.tree import Map, Node
from mcp_server.formats.sops.values import Kind, Leaf

__all__ = ["METADATA_KEY", "KeyEntry", "KeyGroup", "Metadata", "Recipient"]

METADATA_KEY: Final = "sops"
MAX_ENTRIES: Final = 256
"""Key entries in a document; each may cost a decryption attempt."""

_VERSION: Final = "3.11.0"  # the sops release this code is tested against
_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
_ENTRY_KINDS: Final = ("kms", "gcp_kms", "hckms", "azure_kv", "hc_vault", "age", "pgp")
_ORDER: Final = (
    "shamir_threshold",
    "key_groups",
    *_ENTRY_KINDS[:-1],
    "lastmodified",
    "mac",
    "pgp",
    *RuleKind,
    "mac_only_encrypted",
    "version",
)
_NOT_IDENTITY: Final = frozenset({"enc", "created_at", "aws_profile"})


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """The data key, encrypted to one master key.

    Attributes:
        kind: The list the entry stands in: ``age``, ``pgp``, ``kms`` and so on.
        fields: The entry as it stands in the document.
    """

    kind: str
    fields: Map

    @property
    def id(self) -> str:
        """What names the master key: an age recipient, an ARN, a fingerprint."""
        named = (name for name in self.fields if name not in _NOT_IDENTITY)
        return " ".join(filter(None, (_text(self.fields, name) for name in named)))

    @property
    def enc(self) -> str:
        """The encrypted data key, in the form of its kind."""
        return _text(self.fields, "enc")


KeyGroup: TypeAlias = tuple[KeyEntry, ...]
"""Entries that all hold the same part of the data key."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """A master key to encrypt to.

    Attributes:
        kind: As in ``KeyEntry``.
        fields: What names the master key, for example ``{"recipient": "age1…"}``.
        wrap: Encrypts a data key to it; returns the entry's ``enc``.
    """

    kind: str
    fields: Mapping[str, str]
    wrap: Callable[[bytes], str]

    @property
    def id(self) -> str:
        """The id of the entries for this recipient."""
        return KeyEntry(self.kind, _leaves(self.fields)).id

    def entry(self, data_key: bytes) -> KeyEntry:
        """Encrypt the data key to this recipient."""
        return KeyEntry(self.kind, _leaves({**self.fields, "enc": self.wrap(data_key)}))


@dataclass(frozen=True, slots=True)
class Metadata:
    """The ``sops`` map, typed where this package works with it.

    Attributes:
        fields: The whole map as it stands.
        groups: Key groups. One group holds the data key itself; of several, each holds a part.
        rule: Which values are encrypted.
    """

    fields: Map
    groups: tuple[KeyGroup, ...]
    rule: Rule

    @classmethod
    def new(cls, rule: Rule = DEFAULT_RULE, *, mac_only_encrypted: bool = False) -> Metadata:
        """Start the metadata of a new document; entries, time and MAC come with ``renewed``."""
        fields: Map = {rule.kind.value: Leaf.of(rule.argument), "version": Leaf.of(_VERSION)}
        if mac_only_encrypted:
            fields["mac_only_encrypted"] = Leaf.of(value=True)
        return cls(fields, (), rule)

    @classmethod
    def parse(cls, node: Node) -> Metadata:
        """Read a ``sops`` map.

        Raises:
            CorruptError: Not a ``sops`` map, two names that differ in case (sops reads them as
                one), several rules, no usable time, or no key entry.
            LimitError: Too many key entries.
        """
        if not isinstance(node, dict):
            raise CorruptError("The document is not a SOPS document.")
        if len({name.casefold() for name in node}) != len(node):
            raise CorruptError("The document's SOPS metadata names an entry twice.")
        texts = {kind.value: _text(node, kind) for kind in RuleKind}
        metadata = cls(node, _groups(node), Rule.named_in(texts))
        if not _RFC3339.fullmatch(metadata.lastmodified):
            raise CorruptError("The document's SOPS metadata has no valid time.")
        return metadata

    @property
    def entries(self) -> tuple[KeyEntry, ...]:
        """The key entries of all groups."""
        return tuple(entry for group in self.groups for entry in group)

    @property
    def lastmodified(self) -> str:
        """RFC 3339, as it stands: it is part of the MAC."""
        return _text(self.fields, "lastmodified")

    @property
    def mac(self) -> str:
        """The MAC's token; empty if the document has none."""
        return _text(self.fields, "mac")

    @property
    def mac_only_encrypted(self) -> bool:
        """Whether the MAC leaves the clear values out."""
        return self.fields.get("mac_only_encrypted") == Leaf.of(value=True)

    def with_group(self, entries: Iterable[KeyEntry]) -> Metadata:
        """Replace all key groups by one."""
        group = tuple(entries)
        gone = {"key_groups", "shamir_threshold", *_ENTRY_KINDS}
        fields = {name: node for name, node in self.fields.items() if name not in gone}
        for entry in group:
            fields.setdefault(entry.kind, []).append(entry.fields)  # type: ignore[union-attr] # lists all
        return replace(self, fields=_ordered(fields), groups=(group,))

    def renewed(self, lastmodified: str, mac: str) -> Metadata:
        """Replace the time and the MAC."""
        stamp: Map = {"lastmodified": Leaf.of(lastmodified), "mac": Leaf.of(mac)}
        return replace(self, fields=_ordered({**self.fields, **stamp}))


def _groups(fields: Map) -> tuple[KeyGroup, ...]:
    """Read the entries; the flat lists win over ``key_groups``, as in sops."""
    flat = _group(fields)
    groups = (flat,) if flat else tuple(_group(group) for group in _maps(fields, "key_groups"))
    total = sum(map(len, groups))
    if total > MAX_ENTRIES:
        raise LimitError("The document has too many recipients.")
    if not total:
        raise CorruptError("The document has no recipient, so nobody can open it.")
    return groups


def _group(fields: Map) -> KeyGroup:
    return tuple(KeyEntry(kind, entry) for kind in _ENTRY_KINDS for entry in _maps(fields, kind))


def _maps(fields: Map, name: str) -> list[Map]:
    """Return a list of maps; old files write an empty one as ``null`` or leave it out."""
    node = fields.get(name) or []
    maps = [item for item in node if isinstance(item, dict)] if isinstance(node, list) else []
    if not isinstance(node, list) or len(maps) != len(node):
        raise CorruptError("The document's SOPS metadata is malformed.")
    return maps


def _text(fields: Map, name: str) -> str:
    """Return a text entry, empty when it is missing or of another type."""
    leaf = fields.get(name)
    return leaf.text if isinstance(leaf, Leaf) and leaf.kind is Kind.TEXT else ""


def _leaves(fields: Mapping[str, str]) -> Map:
    return {name: Leaf.of(value) for name, value in fields.items()}


def _ordered(fields: Map) -> Map:
    """Order the entries as sops writes them, unknown ones last, so that diffs stay small."""
    known: Map = {name: fields[name] for name in _ORDER if name in fields}
    return {**known, **fields}
