"""The SOPS format, interchangeable with the real sops: JSON documents, age X25519 recipients.

Pure functions over bytes. Another format adds a store beside ``json_store``, another kind of
master key adds a ``Recipient`` and an ``Unwrap`` beside ``age``; ``crypt`` and ``metadata``
serve them all. Layers, each importing only earlier ones: ``values``, ``tokens``, ``rules``,
``tree``, ``metadata``, ``crypt``, ``json_store``, ``document``; ``age`` beside them.
"""

from mcp_server.formats.sops.document import (
    Decrypted,
    Description,
    Document,
    Entry,
    Unwrap,
    create,
    decrypt,
    decrypt_one,
    describe,
    open_document,
    parse,
    rotate,
    update,
)
from mcp_server.formats.sops.json_store import load_plain
from mcp_server.formats.sops.metadata import KeyEntry, Metadata, Recipient
from mcp_server.formats.sops.rules import DEFAULT_RULE, Rule, RuleKind
from mcp_server.formats.sops.tree import Map, Node, Path
from mcp_server.formats.sops.values import Kind, Leaf

__all__ = [
    "DEFAULT_RULE",
    "Decrypted",
    "Description",
    "Document",
    "Entry",
    "KeyEntry",
    "Kind",
    "Leaf",
    "Map",
    "Metadata",
    "Node",
    "Path",
    "Recipient",
    "Rule",
    "RuleKind",
    "Unwrap",
    "create",
    "decrypt",
    "decrypt_one",
    "describe",
    "load_plain",
    "open_document",
    "parse",
    "rotate",
    "update",
]
