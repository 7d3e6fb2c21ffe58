"""The seam: what a store must do, wrapped once.

Implement ``_describe`` and ``_list``; declare further ``abilities`` and implement their
underscore methods. The public methods here add, once and for all stores: the check that the
ability was declared, size limits, sealing of what was fetched, the journal (durable before a
value or a change moves), and containment of exceptions nobody translated.

Rules for the underscore methods:

* they are synchronous and keep the time-outs of their settings; they run in worker threads, so
  they must be safe to call from several at once;
* they get canonical references (``resolve`` was called);
* they raise classes of ``core.errors`` only, ``from None``; never a foreign exception's text;
* ``_describe`` and ``_list`` never read a value from the store.
"""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

from mcp_server.core import exits
from mcp_server.core.errors import (
    BadReferenceError,
    JournalError,
    LimitError,
    NotFoundError,
    SecretsError,
    UnsupportedError,
)
from mcp_server.core.incidents import contain
from mcp_server.core.journal import Event, Kind
from mcp_server.core.model import (
    Ability,
    Act,
    Change,
    Description,
    Entry,
    Identity,
    Listing,
    Removal,
    Secret,
    Verb,
    Written,
)
from mcp_server.core.pointers import descend
from mcp_server.core.ports import Session, StoreSettings
from mcp_server.core.refs import Ref
from mcp_server.core.sealed import seal

__all__ = ["Backend", "RawSecret"]

_log = logging.getLogger("secret_management")
_DETAIL_WORKERS = 8
_UNITS = 1024


@dataclass(frozen=True, slots=True, repr=False)
class RawSecret:
    """What ``_fetch`` returns: the opened values of one version. Sealed at once by the base."""

    version: str | None
    revision: str | None
    values: Mapping[str, bytes]


class Backend(ABC):
    """One configured store.

    Args:
        settings: The operator's settings; the subclass checks ``settings.options`` here and
            raises ``ConfigError`` on an unknown or wrong one. Nothing is contacted.
        session: Journal, session id and limits.
    """

    scheme: ClassVar[str]
    abilities: ClassVar[frozenset[Ability]] = frozenset()

    def __init__(self, settings: StoreSettings, session: Session) -> None:
        self.settings = settings
        self.session = session

    # --- what tools and the command line call -------------------------------------------

    def resolve(self, ref: Ref) -> Ref:
        """The canonical form of ``ref``: one form for each secret, whatever its spelling.

        Raises:
            BadReferenceError: This store cannot have such a name.
        """
        if ref.path.startswith("/"):
            raise BadReferenceError("This store's paths start without a slash.")
        if ref.stage is not None:
            raise BadReferenceError("This store has no stages; use ?version=.")
        return ref

    def identity(self) -> Identity:
        """Who the store thinks we are, and which permissions are missing."""
        with _contained():
            return self._identity()

    def describe(self, ref: Ref, act: Act) -> Description:
        """Everything about the secret but its values; an absent one is ``State.ABSENT``."""
        ref = self.resolve(ref).secret
        self._note(Kind.READ, Verb.READ, ref, act)
        with _contained():
            return self._describe(ref)

    def list_names(
        self,
        prefix: Ref,
        act: Act,
        *,
        cursor: str | None = None,
        limit: int = 100,
        details: bool = False,
    ) -> Listing:
        """One page of names directly below ``prefix``; empty when there is nothing.

        Args:
            prefix: A folder, or an empty path for the top.
            act: For the journal.
            cursor: From the page before.
            limit: Names at most, capped by the session's limits.
            details: Fill in ``Entry.description`` for secrets.
        """
        prefix = self.resolve(prefix)
        self._note(Kind.READ, Verb.LIST, prefix, act)
        limit = max(1, min(limit, self.session.limits.page))
        with _contained():
            listing = self._list(prefix, cursor, limit, details=details)
            return self._with_details(prefix, listing) if details else listing

    def fetch(self, ref: Ref, act: Act) -> Secret:
        """The values of one version, sealed; only the one that ``ref.key`` names, if any.

        Raises:
            NotFoundError: No such secret, version or key.
        """
        self._need(Ability.FETCH)
        if ref.version is not None:
            self._need(Ability.VERSIONS)
        ref = self.resolve(ref)
        with self._journaled(Verb.USE, ref, act) as done, _contained():
            raw = self._fetch(ref)
            self._check_size(raw.values)
            done(raw.version)
        values = {key: seal(value) for key, value in _pick(raw.values, ref).items()}
        return Secret(ref, raw.version, raw.revision, values)

    def put(self, ref: Ref, change: Change, act: Act) -> Written:
        """Write values, drop keys or set metadata, compared-and-set on ``change.expected``.

        Raises:
            ConflictError: The secret changed; nothing was written.
            OutcomeUnknownError: The reply was lost.
        """
        self._need(Ability.PUT)
        if change.metadata is not None:
            self._need(Ability.METADATA)
        ref = self.resolve(ref).secret
        exits.into_store(change.values, self._check_size)
        with self._journaled(act.writes, ref, act) as done, _contained():
            written = exits.into_store(change.values, lambda raw: self._put(ref, raw, change))
            done(written.version)
        return written

    def delete(self, ref: Ref, removal: Removal, act: Act) -> Written:
        """Remove, restore or destroy, compared-and-set on ``removal.expected``."""
        self._need(Ability(removal.mode.value))
        ref = self.resolve(ref).secret
        with self._journaled(Verb(removal.mode.value), ref, act) as done, _contained():
            written = self._delete(ref, removal)
            done(written.version)
        return written

    def close(self) -> None:  # noqa: B027 - most stores hold no connection
        """Give connections back; the backend is not used afterwards."""

    # --- what a store implements --------------------------------------------------------

    @abstractmethod
    def _describe(self, ref: Ref) -> Description:
        """Describe without reading a value."""

    @abstractmethod
    def _list(self, prefix: Ref, cursor: str | None, limit: int, *, details: bool) -> Listing:
        """List without reading a value.

        With ``details`` fill in descriptions where the store has them in bulk; the base asks
        ``_describe`` for the others.
        """

    def _identity(self) -> Identity:
        """Who we are; a store without logins keeps this."""
        return Identity(who="this user")

    def _fetch(self, ref: Ref) -> RawSecret:
        """Read all values of ``ref.version`` or the current version."""
        raise NotImplementedError

    def _put(self, ref: Ref, raw: Mapping[str, bytes], change: Change) -> Written:
        """Write ``raw`` (the opened ``change.values``) as ``change`` says."""
        raise NotImplementedError

    def _delete(self, ref: Ref, removal: Removal) -> Written:
        """Do what ``removal`` says."""
        raise NotImplementedError

    # --- the wrapping -------------------------------------------------------------------

    def _need(self, ability: Ability) -> None:
        if ability not in self.abilities:
            raise UnsupportedError(f"{self.scheme}:// cannot {ability.value}.")

    def _check_size(self, values: Mapping[str, bytes]) -> None:
        """Values count in whole units, a thousandth of the limit each.

        Else whoever writes a value of known size beside another learns the other's length from
        where the refusals begin (promise P1).
        """
        limits = self.session.limits
        unit = max(1, limits.secret_bytes // _UNITS)
        units = sum(-(-len(value) // unit) for value in values.values())
        total = units * unit + sum(len(key.encode()) for key in values)
        if total > limits.secret_bytes or len(values) > limits.keys:
            raise LimitError

    def _with_details(self, prefix: Ref, listing: Listing) -> Listing:
        """Ask one by one, several at a time, for what the store did not give in bulk."""

        def detailed(entry: Entry) -> Entry:
            if entry.folder or entry.description is not None:
                return entry
            return replace(entry, description=self._describe(prefix.child(entry.name)))

        if all(entry.folder or entry.description is not None for entry in listing.entries):
            return listing
        with ThreadPoolExecutor(_DETAIL_WORKERS) as pool:
            return replace(listing, entries=tuple(pool.map(detailed, listing.entries)))

    def _note(self, kind: Kind, verb: Verb, ref: Ref, act: Act) -> None:
        self.session.journal.record(_event(kind, verb, ref, act), durable=False)

    @contextmanager
    def _journaled(self, verb: Verb, ref: Ref, act: Act) -> Iterator[Callable[[str | None], None]]:
        """Durable intent before, outcome after; without the intent nothing happens."""
        version: str | None = None

        def done(confirmed: str | None) -> None:
            nonlocal version
            version = confirmed

        self.session.journal.record(_event(Kind.INTENT, verb, ref, act), durable=True)
        try:
            yield done
        except SecretsError as error:
            self._outcome(replace(_event(Kind.FAILED, verb, ref, act), code=error.code))
            raise
        self._outcome(replace(_event(Kind.DONE, verb, ref, act), version=version))

    def _outcome(self, event: Event) -> None:
        """Journal what happened.

        It happened: a full disk now must not hide it from the caller. The durable intent
        without an outcome shows in ``secrets status`` as unfinished.
        """
        try:
            self.session.journal.record(event, durable=True)
        except JournalError:
            _log.error("the outcome of %s could not be journaled", event.verb)


@contextmanager
def _contained() -> Iterator[None]:
    """The boundary: nothing but our own errors passes."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the one place where the unexpected is contained
        raise contain(error) from None


def _event(kind: Kind, verb: Verb, ref: Ref, act: Act) -> Event:
    return Event(kind, verb.value, str(ref), act.session, act.plan, act.channel)


def _pick(values: Mapping[str, bytes], ref: Ref) -> Mapping[str, bytes]:
    """All values, or the one at the reference's pointer; inner steps read the value as JSON."""
    if not ref.pointer:
        return values
    key, *inner = ref.pointer
    if key not in values:
        raise NotFoundError("The secret has no such key.")
    return {ref.pointer[-1]: _descend(values[key], tuple(inner))}


def _descend(value: bytes, steps: tuple[str, ...]) -> bytes:
    if not steps:
        return value
    try:
        node = descend(json.loads(value), steps)
    except (ValueError, LookupError, RecursionError):
        raise NotFoundError("The secret has no such key.") from None
    return node.encode() if isinstance(node, str) else json.dumps(node).encode()
