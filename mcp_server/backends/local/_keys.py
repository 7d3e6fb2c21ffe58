"""Who can open a local store: this user's age key, and the recovery recipient if there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mcp_server.clients.keystore import KeyStore
from mcp_server.core.errors import AuthenticationError, ConfigError, CorruptError, InputError
from mcp_server.formats.sops import Metadata, Recipient, age

__all__ = ["Keys"]


@dataclass(frozen=True, slots=True)
class _Own:
    """A kept identity, or several: public keys, and the function that unwraps for them."""

    public: tuple[str, ...]
    unwrap: Callable[[Metadata], bytes]

    def opens(self, metadata: Metadata) -> bool:
        return any(entry.kind == age.KIND and entry.id in self.public for entry in metadata.entries)


_NO_KEY = "Put the key back (age-key.txt or the OS keyring, unlocked), or use the recovery key."


class Keys:
    """The keys of one store.

    The identity is read on first use. What stays in memory is a function that unwraps data
    keys, not the identity's text.

    Args:
        kept: Where this user's identity is kept.
        recovery: ``age1…`` of the recovery recipient.
    """

    def __init__(self, kept: KeyStore, recovery: str | None) -> None:
        self._kept = kept
        self._recovery = recovery
        self._own: _Own | None = None

    def unwrap(self, metadata: Metadata) -> bytes:
        """The data key of a document.

        Raises:
            AuthenticationError: No identity here opens it.
            CorruptError: One should and does not.
            ConfigError: The key file is not usable.
            UnsupportedError: The data key is shared out over several key groups.
        """
        own = self._own
        if own is None or not own.opens(metadata):
            own = self._own = self._find(metadata)
        try:
            return own.unwrap(metadata)
        except AuthenticationError:
            raise CorruptError("The store's data key is damaged; nothing was delivered.") from None

    def _find(self, metadata: Metadata) -> _Own:
        for identity in self._kept.identities():
            own = _usable(identity)
            if own.opens(metadata):
                return own
        raise AuthenticationError("No key of this user opens the store.", next_step=_NO_KEY)

    def recipients(self, now: datetime) -> list[Recipient]:
        """Whom a new document is encrypted to; makes this user's key if there is none."""
        identity = self._kept.obtain(lambda: _key_file(now))
        return [_recipient(_usable(identity).public[0]), *self.to_add()]

    def forget(self) -> None:
        """Read the identity anew when it is needed next."""
        self._own = None

    def to_add(self) -> list[Recipient]:
        """The recovery recipient, if there is one."""
        return [_recipient(self._recovery)] if self._recovery else []

    def check(self, metadata: Metadata) -> None:
        """Refuse to write for somebody the operator did not name. Call it after ``unwrap``.

        Raises:
            ConfigError: The document has such a recipient.
        """
        known = {*(self._own.public if self._own else ()), self._recovery}
        if any(entry.kind != age.KIND or entry.id not in known for entry in metadata.entries):
            raise ConfigError(
                "The store's file has a recipient that the configuration does not name.",
                next_step="Set it as recovery_recipient, or remove it from the file with sops.",
            )


def _usable(identity: bytes) -> _Own:
    lines = [line for line in map(bytes.strip, identity.splitlines()) if line]
    keys = [line for line in lines if not line.startswith(b"#")]
    try:
        return _Own(tuple(map(age.public_key, keys)), age.unwrap(identity))
    except InputError:
        raise ConfigError(
            "What is kept as the key of the local store is no age X25519 secret key.",
            next_step="Put the right key back (age-key.txt or the OS keyring), then retry.",
        ) from None


def _recipient(public: str) -> Recipient:
    try:
        return age.recipient(public)
    except InputError:
        raise ConfigError("The option recovery_recipient is no age X25519 public key.") from None


def _key_file(now: datetime) -> bytes:
    """A new identity in the format of age-keygen."""
    identity = age.new_identity()
    lines = (
        f"# created: {now.isoformat(timespec='seconds')}".encode(),
        f"# public key: {age.public_key(identity)}".encode(),
        identity,
    )
    return b"\n".join(lines) + b"\n"
