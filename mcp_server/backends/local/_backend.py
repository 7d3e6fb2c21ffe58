"""``local://``: secrets in one SOPS file of this user, encrypted to this user's age key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock
from typing import ClassVar

from mcp_server.backends.base import Backend, RawSecret
from mcp_server.backends.local._contents import (
    RULE,
    SECRETS,
    Contents,
    Record,
    read_contents,
    read_value,
    write_contents,
)
from mcp_server.backends.local._edits import Edit, find_version
from mcp_server.backends.local._file import Stamp, StoreFile
from mcp_server.backends.local._keys import Keys
from mcp_server.backends.local._options import LocalOptions
from mcp_server.backends.local._views import describe, detailed, page
from mcp_server.clients.keystore import KeyStore, os_keyring
from mcp_server.core.errors import ConflictError, LimitError, NotFoundError
from mcp_server.core.model import (
    Ability,
    Change,
    Description,
    Identity,
    Listing,
    Removal,
    State,
    Written,
)
from mcp_server.core.ports import Session, StoreSettings
from mcp_server.core.refs import Ref
from mcp_server.formats import sops
from mcp_server.formats.sops import Decrypted, Document, Leaf, Map, Metadata, Node, Path

__all__ = ["LocalBackend"]

_ABSENT = "0"
_FULL = "Erase secrets nobody needs, lower `versions` in the configuration, or use another store."


@dataclass(slots=True, repr=False)
class _Loaded:
    """The file as it was read; nothing in it is decrypted."""

    stamp: Stamp
    document: Document
    contents: Contents
    verified: bool = False


class LocalBackend(Backend):
    """The embedded store.

    Describing and listing read the file's clear index: no key, no decryption, a parse only after
    a change. Before the first value of each state of the file is delivered, and before each
    change, all of it is decrypted and its MAC verified. Writers take turns by ``flock`` and
    replace the file whole; a writer that knows no lock (``sops`` itself) is noticed and nothing
    is written. Nothing is created before the first write, the key included.

    It opens with the real sops: ``SOPS_AGE_KEY_FILE=age-key.txt sops decrypt local.sops.json``.
    Bytes that are not UTF-8 show there as ``{"base64": "…"}``, an empty value as
    ``{"empty": true}``. Change values there, not the structure.

    What the file gives away to its readers: names of secrets and keys, declared metadata, times,
    and about how long each value is. Whoever can write the file can replace it by another whole
    one: age and SOPS keep values confidential, they do not say who wrote them. Erasing does not
    reach backups of the file; rotate a value that must not be used again.

    Permissions needed: reading and writing the file's folder and the key file's folder.

    Args:
        settings: See ``_options``.
        session: Journal, clock and limits.
    """

    scheme: ClassVar[str] = "local"
    abilities: ClassVar[frozenset[Ability]] = frozenset(
        {
            Ability.FETCH,
            Ability.PUT,
            Ability.CAS,
            Ability.DELETE,
            Ability.RESTORE,
            Ability.DESTROY,
            Ability.ERASE,
            Ability.VERSIONS,
            Ability.METADATA,
        }
    )

    def __init__(self, settings: StoreSettings, session: Session) -> None:
        super().__init__(settings, session)
        options = LocalOptions.read(settings.options)
        keystore = KeyStore(options.key_file, os_keyring if options.keyring else None)
        self._keys = Keys(keystore, options.recovery_recipient)
        self._file = StoreFile(options.path)
        self._keep = options.versions
        self._lock = Lock()
        self._loaded: _Loaded | None = None

    def close(self) -> None:
        """Forget what was read, the key included."""
        self._loaded = None
        self._keys.forget()

    def _identity(self) -> Identity:
        loaded = self._load()
        alone = loaded is not None and len(loaded.document.metadata.entries) == 1
        warning = "There is no recovery recipient: if the key is lost, so is the store."
        return Identity(who="this user", warnings=(warning,) if alone else ())

    def _describe(self, ref: Ref) -> Description:
        loaded = self._load()
        record = _record(loaded, ref.path)
        if loaded is None or record is None:
            return Description(ref, State.ABSENT, revision=_ABSENT)
        return describe(ref, record, loaded.contents)

    def _list(self, prefix: Ref, cursor: str | None, limit: int, *, details: bool) -> Listing:
        loaded = self._load()
        if loaded is None:
            return Listing(())
        listing = page(loaded.contents.names, prefix.path, cursor, limit)
        if not details:
            return listing
        entries = (detailed(entry, prefix, loaded.contents) for entry in listing.entries)
        return replace(listing, entries=tuple(entries))

    def _fetch(self, ref: Ref) -> RawSecret:
        loaded = self._load()
        record = _record(loaded, ref.path)
        if loaded is None or record is None:
            raise NotFoundError
        version = find_version(record, ref.version)
        if version.state is not State.LIVE:
            raise NotFoundError("This version of the secret was deleted or destroyed.")
        values = self._values(loaded, ref.path, str(version.number))
        return RawSecret(str(version.number), record.revision, values)

    def _put(self, ref: Ref, raw: Mapping[str, bytes], change: Change) -> Written:
        with self._file.locked():
            loaded = self._load()
            _check(_record(loaded, ref.path), change.expected)
            return self._write(ref, loaded, lambda edit: edit.put(raw, change, self._keep))

    def _delete(self, ref: Ref, removal: Removal) -> Written:
        with self._file.locked():
            loaded = self._load()
            record = _record(loaded, ref.path)
            if record is None:
                raise NotFoundError
            _check(record, removal.expected)
            return self._write(ref, loaded, lambda edit: edit.remove(removal))

    # --- the file ------------------------------------------------------------------------

    def _load(self) -> _Loaded | None:
        """The file as it is now, parsed again only after a change."""
        with self._lock:
            if self._loaded is not None and self._file.look() == self._loaded.stamp:
                return self._loaded
            found = self._file.read()
            self._loaded = None if found is None else _parsed(*found)
            return self._loaded

    def _decrypt(self, loaded: _Loaded) -> Decrypted:
        opened = sops.decrypt(loaded.document, self._keys.unwrap)
        loaded.verified = True
        return opened

    def _values(self, loaded: _Loaded, name: str, number: str) -> dict[str, bytes]:
        if not loaded.verified:
            self._decrypt(loaded)
        data_key = self._keys.unwrap(loaded.document.metadata)
        return {
            key: read_value(_opened(loaded.document, data_key, (SECRETS, name, number, key), node))
            for key, node in loaded.contents.secrets[name][number].items()
        }

    def _write(
        self, ref: Ref, loaded: _Loaded | None, change: Callable[[Edit], Contents]
    ) -> Written:
        now = self.session.clock()
        previous = None if loaded is None else self._decrypt(loaded)
        before = Contents({}, {}) if previous is None else read_contents(previous.tree)
        after = change(Edit(before, ref.path, now))
        data = self._encrypt(previous, write_contents(after), now)
        self._file.replace(data, None if loaded is None else loaded.stamp)
        return _written(ref, after.records.get(ref.path), now)

    def _encrypt(self, previous: Decrypted | None, tree: Map, now: datetime) -> bytes:
        if previous is None:
            recipients = self._keys.recipients(now)
            return sops.create(tree, recipients, now=now, metadata=Metadata.new(RULE))
        self._keys.check(previous.document.metadata)
        try:
            return sops.update(previous, tree, now=now, add=self._keys.to_add())
        except LimitError:
            raise LimitError("The store is full; nothing was changed.", next_step=_FULL) from None


def _parsed(stamp: Stamp, data: bytes) -> _Loaded:
    document = sops.parse(data, rule=RULE)
    return _Loaded(stamp, document, read_contents(document.tree))


def _opened(document: Document, data_key: bytes, path: Path, node: Node) -> Node:
    match node:
        case Leaf():
            return sops.decrypt_one(document, data_key, path)
        case dict():
            return {
                part: _opened(document, data_key, (*path, part), child)
                for part, child in node.items()
            }
    return node


def _record(loaded: _Loaded | None, name: str) -> Record | None:
    return None if loaded is None else loaded.contents.records.get(name)


def _check(record: Record | None, expected: str | None) -> None:
    if expected is not None and expected != (record.revision if record else _ABSENT):
        raise ConflictError


def _written(ref: Ref, record: Record | None, now: datetime) -> Written:
    if record is None:
        return Written(ref, None, _ABSENT, now)
    return Written(ref, str(record.current.number), record.revision, now)
