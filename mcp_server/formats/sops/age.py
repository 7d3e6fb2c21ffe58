"""The data key to and from age X25519 recipients.

Source: ``age/keysource.go`` of getsops/sops: the entry's ``enc`` is the 32-byte data key as an
armoured age file. Identities are text as age-keygen writes it; pyrage loads on first use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mcp_server.core.errors import AuthenticationError, InputError, UnsupportedError
from mcp_server.formats.sops.metadata import KeyEntry, Metadata, Recipient

if TYPE_CHECKING:
    from pyrage.x25519 import Identity

__all__ = ["KIND", "new_identity", "public_key", "recipient", "unwrap"]

KIND: Final = "age"


def new_identity() -> bytes:
    """Generate an identity: one line ``AGE-SECRET-KEY-1…`` without a line break."""
    from pyrage.x25519 import Identity  # noqa: PLC0415 - loads on first use

    return str(Identity.generate()).encode("ascii")


def public_key(identity: bytes) -> str:
    """Return the recipient ``age1…`` of an identity, or of the first one of a key file.

    Raises:
        InputError: Not an age X25519 identity.
    """
    return str(_identities(identity)[0].to_public())


def recipient(text: str) -> Recipient:
    """Return the recipient to encrypt to.

    Args:
        text: ``age1…``.

    Raises:
        InputError: Not an age X25519 recipient.
    """
    import pyrage  # noqa: PLC0415 - loads on first use

    try:
        key = pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise InputError("The recipient is not an age X25519 public key (age1…).") from None

    def wrap(data_key: bytes) -> str:
        return str(pyrage.encrypt(data_key, [key], armored=True).decode("ascii"))

    return Recipient(KIND, {"recipient": str(key)}, wrap)


def unwrap(identities: bytes) -> Callable[[Metadata], bytes]:
    """Return the function that finds a document's data key.

    Args:
        identities: The content of an age key file: identities one a line, ``#`` comments.

    Raises:
        InputError: Not age X25519 identities.

    The function raises ``AuthenticationError`` when no identity opens the document, and
    ``UnsupportedError`` when its data key is shared out over several key groups.
    """
    keys = _identities(identities)
    own = {str(key.to_public()) for key in keys}

    def find(metadata: Metadata) -> bytes:
        if len(metadata.groups) > 1:
            raise UnsupportedError("The document's key is shared out over several key groups.")
        entries = [entry for entry in metadata.entries if entry.kind == KIND]
        for entry in sorted(entries, key=lambda entry: entry.id not in own):
            data_key = _open(entry, keys)
            if data_key is not None:
                return data_key
        raise AuthenticationError(
            "None of the age identities opens the document.",
            next_step="Use the identity of one of the document's recipients.",
        )

    return find


def _open(entry: KeyEntry, keys: list[Identity]) -> bytes | None:
    import pyrage  # noqa: PLC0415 - loads on first use

    try:
        return bytes(pyrage.decrypt(entry.enc.encode(), keys))
    except pyrage.DecryptError:
        return None


def _identities(text: bytes) -> list[Identity]:
    import pyrage  # noqa: PLC0415 - loads on first use

    try:
        lines = [line.strip() for line in text.decode("ascii").splitlines()]
        keys = [
            pyrage.x25519.Identity.from_str(line)
            for line in lines
            if line and not line.startswith("#")
        ]
    except (pyrage.IdentityError, UnicodeDecodeError):
        raise InputError("The identity is not an age X25519 secret key.") from None
    if not keys:
        raise InputError("The identity file holds no age X25519 secret key.")
    return keys
