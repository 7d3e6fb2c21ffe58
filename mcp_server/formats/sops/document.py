"""A whole SOPS document: read, describe, decrypt, write.

    document = parse(file)                       # nothing is decrypted
    describe(document)                           # names, recipients, what is clear
    decrypted = decrypt(document, unwrap)        # every value, MAC verified
    file = update(decrypted, tree, now=now)      # tokens of unchanged values stay

Values are plain bytes here and in nothing this package raises; the caller seals them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from mcp_server.core.errors import CorruptError, InputError, NotFoundError, UnsupportedError
from mcp_server.formats.sops.crypt import KeptTokens, Opening, Sealing, open_leaf
from mcp_server.formats.sops.json_store import dump, indent_of, load
from mcp_server.formats.sops.metadata import METADATA_KEY, KeyEntry, Metadata, Recipient
from mcp_server.formats.sops.rules import Rule
from mcp_server.formats.sops.tokens import ValueCipher, new_data_key
from mcp_server.formats.sops.tree import Map, Node, Path, keys_of, leaves, mapped
from mcp_server.formats.sops.values import Leaf

__all__ = [
    "Decrypted",
    "Description",
    "Document",
    "Entry",
    "Unwrap",
    "create",
    "decrypt",
    "decrypt_one",
    "describe",
    "open_document",
    "parse",
    "rotate",
    "update",
]

Unwrap: TypeAlias = Callable[[Metadata], bytes]
"""Finds the data key with the help of one of the document's key entries."""


@dataclass(frozen=True, slots=True, repr=False)
class Document:
    """A document as it stands in its file.

    Attributes:
        tree: The leaves in document order; an encrypted one is the text of its token.
        metadata: The ``sops`` map, which is not part of the tree.
        indent: What one level is indented by.
    """

    tree: Map
    metadata: Metadata
    indent: str


@dataclass(frozen=True, slots=True, repr=False)
class Decrypted:
    """A document whose MAC was verified.

    Attributes:
        document: What it was decrypted from.
        tree: The same shape with the values.
        data_key: The key of all its values.
    """

    document: Document
    tree: Map
    data_key: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a document.

    Attributes:
        path: Map keys and list positions.
        clear: The value where the document's rule leaves it clear, not verified; ``None``
            where the rule encrypts it.
    """

    path: Path
    clear: Leaf | None


@dataclass(frozen=True, slots=True)
class Description:
    """What a document shows to somebody without a key. Anybody could have written it.

    Attributes:
        entries: The names, in document order.
        recipients: Who can open it.
        lastmodified: RFC 3339.
    """

    entries: tuple[Entry, ...]
    recipients: tuple[KeyEntry, ...]
    lastmodified: str


def parse(file: bytes, *, rule: Rule | None = None) -> Document:
    """Read a document without decrypting anything.

    Args:
        file: The content of the file.
        rule: The only rule to accept. The MAC does not cover the rule, so whoever can write the
            file could have values that come later written in clear: a store that made its
            documents itself names the rule it made them with.

    Raises:
        CorruptError: Not a SOPS JSON document, one that readers could read differently, or one
            with another rule.
        LimitError: Too large, too deep, too many parts or recipients.
    """
    tree = load(file)
    metadata = Metadata.parse(tree.pop(METADATA_KEY, None))
    if any(map(_is_reserved, tree)):
        raise CorruptError("The document has the SOPS metadata twice.")
    if rule not in {None, metadata.rule}:
        raise CorruptError("The document's rule of what is encrypted was changed.")
    return Document(tree, metadata, indent_of(file))


def describe(document: Document) -> Description:
    """Name everything in the document; needs no key and verifies nothing.

    Raises:
        CorruptError, UnsupportedError: The document's rule cannot be used (``Rule.encrypts``).
    """
    rule = document.metadata.rule
    entries = (
        Entry(path, None if rule.encrypts(keys_of(path)) else leaf)
        for path, leaf in leaves(document.tree)
    )
    return Description(tuple(entries), document.metadata.entries, document.metadata.lastmodified)


def decrypt(document: Document, unwrap: Unwrap) -> Decrypted:
    """Find the data key, decrypt every value, verify the MAC.

    Raises:
        CorruptError: See ``open_document``; or whatever ``unwrap`` raises.
    """
    return open_document(document, unwrap(document.metadata))


def open_document(document: Document, data_key: bytes) -> Decrypted:
    """Decrypt every value with a known data key and verify the MAC.

    Raises:
        CorruptError: Another key's, altered, or without a MAC. Nothing is delivered.
    """
    opening = Opening(document.metadata, ValueCipher(data_key))
    tree = mapped(document.tree, opening)
    opening.verify()
    return Decrypted(document, tree, data_key)


def decrypt_one(document: Document, data_key: bytes, path: Path) -> Leaf:
    """Decrypt a single value, without the MAC.

    The value is authentic for its place under this data key, but may come from an older version
    of the document, and a clear value is not authenticated at all. For a document that was
    verified before and has not changed since.

    Raises:
        NotFoundError: No leaf at this path.
        CorruptError: It does not decrypt.
    """
    leaf = _leaf_at(document.tree, path)
    if not document.metadata.rule.encrypts(keys_of(path)):
        return leaf
    return open_leaf(ValueCipher(data_key), path, leaf)


def create(
    tree: Map, recipients: Sequence[Recipient], *, now: datetime, metadata: Metadata | None = None
) -> bytes:
    """Write a new document under a new data key.

    Args:
        tree: What to write.
        recipients: Who can open it; at least one.
        now: Becomes ``lastmodified``; with a time zone.
        metadata: ``Metadata.new`` with another rule than the default.

    Raises:
        InputError: No recipient, a reserved name, or a clear value that is not text.
        LimitError: Too large or too deep.
    """
    data_key = new_data_key()
    template = (metadata or Metadata.new()).with_group(_wrapped(recipients, data_key))
    return _write(Document(tree, template, "\t"), data_key, KeptTokens(), now)


def update(
    previous: Decrypted, tree: Map, *, now: datetime, add: Sequence[Recipient] = ()
) -> bytes:
    """Write a new version under the same data key.

    An unchanged value keeps its token, so a diff shows what changed, the MAC and the time. All
    recipients stay; removing one takes ``rotate``.

    Raises:
        InputError, LimitError: As ``create``.
        UnsupportedError: A recipient to add while the data key is shared out.
    """
    metadata, present = previous.document.metadata, _ids(previous.document.metadata.entries)
    missing = [recipient for recipient in add if (recipient.kind, recipient.id) not in present]
    if missing:
        _refuse_shared(metadata)
        new = _wrapped(missing, previous.data_key)
        metadata = metadata.with_group((*metadata.entries, *new))
    document = Document(tree, metadata, previous.document.indent)
    return _write(document, previous.data_key, KeptTokens(_tokens(previous)), now)


def rotate(
    previous: Decrypted,
    tree: Map,
    recipients: Sequence[Recipient],
    *,
    now: datetime,
    removed: Collection[str] = (),
) -> bytes:
    """Write a new version under a new data key, for exactly these recipients.

    Whoever is removed can still open the earlier versions: rotate the values as well.

    Args:
        previous: The version to replace.
        tree: What to write.
        recipients: All who can open it from now on, as the operator lists them. Never taken
            from the document alone: anybody could have added an entry there.
        now: Becomes ``lastmodified``; with a time zone.
        removed: Ids of the entries that lose access on purpose.

    Raises:
        InputError: As ``create``, or somebody would lose access who is not in ``removed``.
        UnsupportedError: The data key is shared out over several groups.
    """
    metadata = previous.document.metadata
    _refuse_shared(metadata)
    kept = {(recipient.kind, recipient.id) for recipient in recipients}
    lost = _ids(e for e in metadata.entries if e.id not in removed) - kept
    if lost:
        raise InputError("A recipient of the document would lose access without being removed.")
    data_key = new_data_key()
    document = Document(
        tree, metadata.with_group(_wrapped(recipients, data_key)), previous.document.indent
    )
    return _write(document, data_key, KeptTokens(), now)


def _write(document: Document, data_key: bytes, kept: KeptTokens, now: datetime) -> bytes:
    if any(map(_is_reserved, document.tree)):
        raise InputError("The name sops is reserved at the top of a SOPS document.")
    lastmodified = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    sealing = Sealing(document.metadata, ValueCipher(data_key), kept)
    tree = mapped(document.tree, sealing)
    metadata = document.metadata.renewed(lastmodified, sealing.mac(lastmodified))
    return dump({**tree, METADATA_KEY: metadata.fields}, document.indent)


def _is_reserved(key: str) -> bool:
    """Say whether sops would take a top-level key for its metadata: it ignores case."""
    return key.casefold() == METADATA_KEY


def _wrapped(recipients: Sequence[Recipient], data_key: bytes) -> list[KeyEntry]:
    unique = {(recipient.kind, recipient.id): recipient for recipient in recipients}
    if not unique:
        raise InputError("A document needs at least one recipient.")
    return [recipient.entry(data_key) for recipient in unique.values()]


def _ids(entries: Iterable[KeyEntry]) -> set[tuple[str, str]]:
    return {(entry.kind, entry.id) for entry in entries}


def _refuse_shared(metadata: Metadata) -> None:
    if len(metadata.groups) > 1:
        raise UnsupportedError("The document's key is shared out over several key groups.")


def _tokens(previous: Decrypted) -> Iterable[tuple[Path, Leaf, str]]:
    """Yield every value of an earlier version with its token."""
    rule = previous.document.metadata.rule
    pairs = zip(leaves(previous.document.tree), leaves(previous.tree), strict=True)
    for (path, token), (_, leaf) in pairs:
        if rule.encrypts(keys_of(path)):
            yield path, leaf, token.text


def _leaf_at(tree: Map, path: Path) -> Leaf:
    node: Node = tree
    for part in path:
        match node, part:
            case dict(), str() if part in node:
                node = node[part]
            case list(), int() if 0 <= part < len(node):
                node = node[part]
            case _:
                raise NotFoundError
    if not isinstance(node, Leaf):
        raise NotFoundError
    return node
