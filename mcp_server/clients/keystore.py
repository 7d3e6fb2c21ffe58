"""Where the key of the local store lies: the OS keyring where there is one, else a private file.

The file is in the format of age-keygen, so ``SOPS_AGE_KEY_FILE=… sops decrypt …`` opens the
store. From the keyring, ``SOPS_AGE_KEY_CMD`` does, with the keyring's own tool as the command.
What is kept is handed through as it is: lines, some of them ``#`` comments.

Of the PyPI package keyring only the operating system's own stores are used: the Secret Service
of freedesktop.org, which GNOME and KDE implement, and the macOS Keychain. Its plug-in discovery
is not, because any installed package could offer itself there. A Secret Service collection that
ends with the session is refused: the key would be lost at logout.

A keyring that fails, or is locked and waits for its person, counts as absent after two seconds.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final, Protocol, TypeVar

from mcp_server.clients import files
from mcp_server.core.errors import ConfigError
from mcp_server.core.sealed import seal

__all__ = ["KeyStore", "Keyring", "os_keyring"]

SERVICE: Final = "secret-management"
ACCOUNT: Final = "age-identity"
PATIENCE: Final = 2.0
"""Seconds that a keyring has for an answer."""

_REST: Final = 30.0  # seconds before a keyring that failed is asked again
_LOCK_SECONDS: Final = 10.0
_MAX_KEY_FILE: Final = 65_536
_SESSION_COLLECTION: Final = "/org/freedesktop/secrets/collection/session"

Result = TypeVar("Result")


class Keyring(Protocol):
    """The two calls of ``keyring.backend.KeyringBackend`` that are needed."""

    def get_password(self, service: str, username: str) -> str | None:
        """The secret text, ``None`` when there is none."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep a secret text."""


def os_keyring() -> Keyring | None:
    """The operating system's own keyring, ``None`` where there is none."""
    if sys.platform == "darwin":
        from keyring.backends.macOS import Keyring as Keychain  # noqa: PLC0415 - on first use

        return Keychain()
    from keyring.backends.SecretService import Keyring as SecretService  # noqa: PLC0415 - same

    usable = SecretService.viable and _default_collection_persists()
    return SecretService() if usable else None  # type: ignore[no-untyped-call] # partly typed


def _default_collection_persists() -> bool:
    import secretstorage  # noqa: PLC0415 - on first use; what SecretService speaks through

    with closing(secretstorage.dbus_init()) as connection:
        collection = secretstorage.get_collection_by_alias(connection, "default")
        return collection.collection_path != _SESSION_COLLECTION


class KeyStore:
    """The identities of one user.

    Args:
        file: The key file.
        find_keyring: Gives the keyring, ``None`` for no keyring; asked on first use.
    """

    def __init__(
        self, file: Path, find_keyring: Callable[[], Keyring | None] | None = os_keyring
    ) -> None:
        self._file = file
        self._find_keyring = find_keyring
        self._resting_until = 0.0

    def identities(self) -> Iterator[bytes]:
        """Every kept identity: the file's first, then the keyring's, which is asked only then.

        The egress guard learns of each before the caller has it.

        Raises:
            ConfigError: The file can be read by others, is a link or no regular file.
            PermissionDeniedError: The file may not be read.
        """
        for find in (self._from_file, self._from_keyring):
            identity = find()
            if identity is not None:
                _tell_guard(identity)
                yield identity

    def obtain(self, make: Callable[[], bytes]) -> bytes:
        """The first identity; where there is none, what ``make`` gives, kept durably before.

        Several processes at once get the same.

        Args:
            make: Makes the content of a key file.

        Raises:
            ConfigError, PermissionDeniedError: As ``identities``.
            LimitError, StoreError: The new key could not be kept.
        """
        with files.locked(self._file.with_name(f".{self._file.name}.lock"), _LOCK_SECONDS):
            identity = next(self.identities(), None)
            return self._keep(make()) if identity is None else identity

    def _keep(self, identity: bytes) -> bytes:
        _tell_guard(identity)
        if not self._to_keyring(identity.decode()):
            files.create(self._file, identity)
        return identity

    def _from_file(self) -> bytes | None:
        descriptor = files.open_regular(self._file)
        if descriptor is None:
            return None
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor that was checked
            _refuse_shared(os.fstat(descriptor))
            with files.translated():
                return file.read(_MAX_KEY_FILE)

    def _from_keyring(self) -> bytes | None:
        text = self._ask(lambda keyring: keyring.get_password(SERVICE, ACCOUNT))
        return text.encode() if text else None

    def _to_keyring(self, text: str) -> bool:
        """Keep it in the keyring; ``False`` unless it reads back the same."""

        def keep(keyring: Keyring) -> bool:
            keyring.set_password(SERVICE, ACCOUNT, text)
            return keyring.get_password(SERVICE, ACCOUNT) == text

        return self._ask(keep) or False

    def _ask(self, question: Callable[[Keyring], Result]) -> Result | None:
        find = self._find_keyring
        if find is None or time.monotonic() < self._resting_until:
            return None

        def ask() -> tuple[Result | None]:
            keyring = find()
            return (question(keyring) if keyring is not None else None,)

        answer = _within(PATIENCE, ask)
        if answer is None:
            self._resting_until = time.monotonic() + _REST
            return None
        return answer[0]


def _tell_guard(identity: bytes) -> None:
    """Register what is secret: not the comments, whose date and public key appear in receipts."""
    for line in identity.splitlines():
        if not line.startswith(b"#"):
            seal(line)


def _refuse_shared(info: os.stat_result) -> None:
    if info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) & 0o077:
        raise ConfigError(
            "The key file of the local store can be read by others; it was not used.",
            next_step="Check who read it, run `chmod 600` on it, then retry.",
        )


def _within(seconds: float, call: Callable[[], Result]) -> Result | None:
    """What ``call`` returns; ``None`` when it fails or takes longer.

    Its thread is left behind then: a call that waits for a person cannot be ended.
    """
    answers: SimpleQueue[Result | None] = SimpleQueue()

    def run() -> None:
        try:
            answers.put(call())
        except Exception:  # noqa: BLE001 - however a foreign keyring fails, there is none
            answers.put(None)

    Thread(target=run, name="keyring", daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except Empty:
        return None
