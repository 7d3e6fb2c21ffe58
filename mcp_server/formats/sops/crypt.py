"""Encrypting and decrypting leaves in document order, with the MAC over them.

The MAC is SHA-512 over the canonical bytes of the values, keys not included, encrypted under
the data key with ``lastmodified`` as additional data. What it therefore cannot detect, here as
in the real sops:

* a clear key renamed, bytes moved between neighbouring clear values;
* a key added with ``null``, an empty text or an empty container;
* a number called a text: the bytes are authenticated, the type is not;
* another rule that treats all present values alike: it would write a later one in clear.

Whoever holds a recipient's public key can write a wholly new valid file: "it decrypts" means
confidential, never authentic.

Source: ``Tree.Encrypt`` and ``Tree.Decrypt`` in ``sops.go`` of getsops/sops.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import defaultdict, deque
from collections.abc import Iterable

from mcp_server.core.errors import CorruptError
from mcp_server.formats.sops.metadata import Metadata
from mcp_server.formats.sops.tokens import ValueCipher
from mcp_server.formats.sops.tree import Path, keys_of, place
from mcp_server.formats.sops.values import Kind, Leaf

__all__ = ["KeptTokens", "Opening", "Sealing", "open_leaf"]


class _Mac:
    """The running hash; with ``mac_only_encrypted`` it starts from a constant of its own."""

    def __init__(self, *, only_encrypted: bool) -> None:
        self._only_encrypted = only_encrypted
        self._hash = hashlib.sha512(hashlib.sha256(b"sops").digest() if only_encrypted else b"")

    def add(self, leaf: Leaf, *, encrypted: bool) -> None:
        if leaf.kind is not Kind.COMMENT and (encrypted or not self._only_encrypted):
            self._hash.update(leaf.data)

    def value(self) -> Leaf:
        return Leaf.of(self._hash.hexdigest().upper())


class KeptTokens:
    """Tokens of an earlier version, to be kept where a value did not change.

    Keeping the whole token is the one safe way to use an IV twice. A token is handed out once,
    so that a second equal value does not become recognisable as equal. List positions are not
    part of a token's place, so an item that moved keeps its token too.
    """

    def __init__(self, tokens: Iterable[tuple[Path, Leaf, str]] = ()) -> None:
        self._tokens = {path: (leaf, token) for path, leaf, token in tokens}
        self._paths: defaultdict[tuple[bytes, Leaf], deque[Path]] = defaultdict(deque)
        for path, (leaf, _) in self._tokens.items():
            self._paths[place(path), leaf].append(path)

    def take(self, path: Path, leaf: Leaf) -> str | None:
        """Return this value's token: the one at this path, else the first at its place."""
        own = self._tokens.get(path)
        if own is not None and own[0] == leaf:
            return self._tokens.pop(path)[1]
        paths = self._paths.get((place(path), leaf), deque())
        while paths:
            moved = self._tokens.pop(paths.popleft(), None)
            if moved is not None:
                return moved[1]
        return None


class Opening:
    """Decrypts leaves, called for each in document order; then ``verify``."""

    def __init__(self, metadata: Metadata, cipher: ValueCipher) -> None:
        self._metadata = metadata
        self._cipher = cipher
        self._mac = _Mac(only_encrypted=metadata.mac_only_encrypted)

    def __call__(self, path: Path, leaf: Leaf) -> Leaf:
        """Decrypt one leaf.

        Raises:
            CorruptError: It should be encrypted and is not, or it does not decrypt.
        """
        encrypted = self._metadata.rule.encrypts(keys_of(path))
        opened = open_leaf(self._cipher, path, leaf) if encrypted else leaf
        self._mac.add(opened, encrypted=encrypted)
        return opened

    def verify(self) -> None:
        """Compare the MAC over all leaves seen with the one in the document.

        Raises:
            CorruptError: It is missing or differs.
        """
        if not self._metadata.mac:
            raise CorruptError("The document has no MAC; nothing was delivered.")
        stored = self._cipher.open(self._metadata.mac, self._metadata.lastmodified.encode())
        if not hmac.compare_digest(stored.data, self._mac.value().data):
            raise CorruptError(
                "The document's MAC does not match: it was altered; nothing was delivered."
            )


class Sealing:
    """Encrypts leaves, called for each in document order; then ``mac``."""

    def __init__(self, metadata: Metadata, cipher: ValueCipher, kept: KeptTokens) -> None:
        self._rule = metadata.rule
        self._cipher = cipher
        self._kept = kept
        self._mac = _Mac(only_encrypted=metadata.mac_only_encrypted)

    def __call__(self, path: Path, leaf: Leaf) -> Leaf:
        """Encrypt one leaf, or keep its token, or leave it clear as the rule says."""
        additional = place(path)
        encrypted = self._rule.encrypts(keys_of(path))
        self._mac.add(leaf, encrypted=encrypted)
        if not encrypted:
            return leaf
        token = self._kept.take(path, leaf) or self._cipher.seal(leaf, additional)
        return Leaf.of(token)

    def mac(self, lastmodified: str) -> str:
        """Return the encrypted MAC over all leaves seen."""
        return self._cipher.seal(self._mac.value(), lastmodified.encode())


def open_leaf(cipher: ValueCipher, path: Path, leaf: Leaf) -> Leaf:
    """Decrypt one token; it authenticates its value and its place, nothing else.

    Raises:
        CorruptError: Not a token, or it does not decrypt here.
    """
    if leaf.kind is not Kind.TEXT:
        raise CorruptError("A value that should be encrypted is not, or in an unknown way.")
    return cipher.open(leaf.text, place(path))
