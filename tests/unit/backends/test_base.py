"""The wrapping that every store gets: what it refuses, contains and journals."""

# ruff: noqa: ARG002 - the names of the parameters are the seam's

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from mcp_server.backends.base import Backend, RawSecret
from mcp_server.core.errors import (
    BadReferenceError,
    InternalError,
    JournalError,
    LimitError,
    NotFoundError,
    UnsupportedError,
)
from mcp_server.core.journal import Event, Journal, Kind
from mcp_server.core.model import (
    Ability,
    Act,
    Change,
    Description,
    Entry,
    Listing,
    Removal,
    RemovalMode,
    State,
    Written,
)
from mcp_server.core.ports import Limits, Session, StoreSettings
from mcp_server.core.refs import Ref
from mcp_server.core.sealed import seal

ACT = Act("test")
REF = Ref("odd", "db")
VALUE = "canary-base-6c7d8e9f"


class OddStore(Backend):
    """A store whose methods do what a test says; by default they fail with a value in the text."""

    scheme: ClassVar[str] = "odd"
    abilities: ClassVar[frozenset[Ability]] = frozenset(Ability)

    def __init__(self, settings: StoreSettings, session: Session) -> None:
        super().__init__(settings, session)
        self.act: Callable[[], object] = _fail
        self.described: list[str] = []

    def _describe(self, ref: Ref) -> Description:
        self.act()
        self.described.append(ref.path)
        return Description(ref, State.LIVE)

    def _list(self, prefix: Ref, cursor: str | None, limit: int, *, details: bool) -> Listing:
        self.act()
        given = Description(prefix.child("b"), State.DELETED)
        return Listing((Entry("a"), Entry("b", description=given), Entry("c", folder=True)))

    def _fetch(self, ref: Ref) -> RawSecret:
        self.act()
        return RawSecret("1", "1", {"key": b"x" * 100})

    def _put(self, ref: Ref, raw: Mapping[str, bytes], change: Change) -> Written:
        self.act()
        return Written(ref, "2", "2")

    def _delete(self, ref: Ref, removal: Removal) -> Written:
        self.act()
        return Written(ref, None, None)


class BareStore(OddStore):
    abilities: ClassVar[frozenset[Ability]] = frozenset()


def _fail() -> None:
    raise ValueError(VALUE)


@pytest.fixture
def store(tmp_path: Path) -> OddStore:
    session = Session("test", Journal(tmp_path / "journal.jsonl"), Limits(secret_bytes=200, keys=2))
    return OddStore(StoreSettings("odd", "odd"), session)


def _events(store: OddStore) -> list[Event]:
    return [record.event for record in store.session.journal.records()]


CALLS: dict[str, Callable[[OddStore], object]] = {
    "describe": lambda s: s.describe(REF, ACT),
    "list": lambda s: s.list_names(REF, ACT),
    "fetch": lambda s: s.fetch(REF, ACT),
    "put": lambda s: s.put(REF, Change({"k": seal(b"v")}), ACT),
    "delete": lambda s: s.delete(REF, Removal(RemovalMode.DELETE), ACT),
}
CHANGES = ("fetch", "put", "delete")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_an_exception_nobody_translated_becomes_an_incident(
    store: OddStore, call: Callable[[OddStore], object], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(InternalError) as refusal:
        call(store)

    assert refusal.value.incident in caplog.text
    assert VALUE not in f"{refusal.value!s}{caplog.text}{store.session.journal.path.read_text()}"


@pytest.mark.parametrize("call", [CALLS[name] for name in CHANGES], ids=CHANGES)
def test_an_incident_is_an_outcome_in_the_journal(
    store: OddStore, call: Callable[[OddStore], object]
) -> None:
    with pytest.raises(InternalError):
        call(store)

    assert [(e.kind, e.code) for e in _events(store)] == [
        (Kind.INTENT, None),
        (Kind.FAILED, "INTERNAL"),
    ]


@pytest.mark.parametrize("call", [CALLS[name] for name in CHANGES], ids=CHANGES)
def test_a_kill_in_the_middle_leaves_an_intent_without_an_outcome(
    store: OddStore, call: Callable[[OddStore], object]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    store.act = interrupt
    with pytest.raises(KeyboardInterrupt):
        call(store)

    assert [e.kind for e in _events(store)] == [Kind.INTENT]


def test_a_change_that_happened_is_told_though_its_outcome_cannot_be_journaled(
    store: OddStore, caplog: pytest.LogCaptureFixture
) -> None:
    path = store.session.journal.path

    def lose_the_journal() -> None:
        path.unlink()
        path.mkdir()

    store.act = lose_the_journal
    written = store.put(REF, Change({"k": seal(VALUE.encode())}), ACT)

    assert written.version == "2"
    assert "could not be journaled" in caplog.text
    with pytest.raises(JournalError):
        store.put(REF, Change({}), ACT)


def test_a_store_that_sends_too_much_is_cut_off(store: OddStore) -> None:
    store.act = lambda: None
    store.session = Session("test", store.session.journal, Limits(secret_bytes=50))

    with pytest.raises(LimitError):
        store.fetch(REF, ACT)
    assert _events(store)[-1].code == "LIMIT_EXCEEDED"


def test_where_refusals_for_size_begin_does_not_tell_how_long_a_value_is(store: OddStore) -> None:
    """A value of known length beside another is a ruler, unless lengths are rounded."""
    store.act = lambda: None
    store.session = Session("test", store.session.journal)

    def largest_beside(unknown: bytes) -> int:
        fits, refused = 0, store.session.limits.secret_bytes + 1
        while refused - fits > 1:
            middle = (fits + refused) // 2
            try:
                store._check_size({"known": b"x" * middle, "unknown": unknown})
                fits = middle
            except LimitError:
                refused = middle
        return fits

    assert len({largest_beside(b"y" * length) for length in (1, 8, 37, 400, 1000)}) == 1
    assert largest_beside(b"y" * 5000) < largest_beside(b"y")  # the ruler does measure


@pytest.mark.parametrize(
    "values", [{"k": b"x" * 200}, {"k": b"", "l": b"", "m": b""}, {"k" * 201: b""}]
)
def test_too_much_is_refused_before_the_journal_and_the_store(
    store: OddStore, values: dict[str, bytes]
) -> None:
    with pytest.raises(LimitError):
        store.put(REF, Change({key: seal(value) for key, value in values.items()}), ACT)
    assert _events(store) == []


def test_an_undeclared_ability_is_refused_before_the_journal_and_the_store(store: OddStore) -> None:
    bare = BareStore(store.settings, store.session)

    for name in CHANGES:
        with pytest.raises(UnsupportedError, match="odd://"):
            CALLS[name](bare)
    assert _events(bare) == []


@pytest.mark.parametrize("ref", [Ref("odd", "/db"), Ref("odd", "db", stage="x")])
def test_what_this_store_cannot_name_is_refused(store: OddStore, ref: Ref) -> None:
    for call in (store.describe, store.fetch):
        with pytest.raises(BadReferenceError):
            call(ref, ACT)
    assert _events(store) == []


def test_details_are_asked_for_only_where_the_store_gave_none(store: OddStore) -> None:
    store.act = lambda: None

    listing = store.list_names(Ref("odd", "x"), ACT, details=True)

    assert store.described == ["x/a"]
    states = [entry.description and entry.description.state for entry in listing.entries]
    assert states == [State.LIVE, State.DELETED, None]


def test_an_unknown_key_is_an_outcome_of_a_use(store: OddStore) -> None:
    store.act = lambda: None

    with pytest.raises(NotFoundError):
        store.fetch(Ref("odd", "db", key="absent"), ACT)
    assert [e.kind for e in _events(store)] == [Kind.INTENT, Kind.DONE]
