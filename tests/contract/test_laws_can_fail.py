"""Positive control: stores that break a law fail exactly the test that states it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from mcp_server.backends import schemes
from mcp_server.backends.base import Backend, RawSecret
from mcp_server.backends.memory import MemoryBackend
from mcp_server.core.errors import NotFoundError
from mcp_server.core.journal import Event, Kind
from mcp_server.core.model import Ability, Change, Description, Entry, Listing, Removal, Written
from mcp_server.core.ports import Session, StoreSettings
from mcp_server.core.refs import Ref
from tests.contract.contract import BackendContract
from tests.contract.hand import Hand

# ruff: noqa: ARG002 - the names of the parameters are the seam's


class ForgetsOthers(MemoryBackend):
    def _put(self, ref: Ref, raw: Mapping[str, bytes], change: Change) -> Written:
        return super()._put(ref, raw, replace(change, replace=True))


class IgnoresExpected(MemoryBackend):
    def _put(self, ref: Ref, raw: Mapping[str, bytes], change: Change) -> Written:
        return super()._put(ref, raw, replace(change, expected=None))


class WritesBeforeItRefuses(MemoryBackend):
    def _put(self, ref: Ref, raw: Mapping[str, bytes], change: Change) -> Written:
        super()._put(ref, raw, replace(change, expected=None))
        return super()._put(ref, raw, change)


class CutsAtNul(MemoryBackend):
    def _put(self, ref: Ref, raw: Mapping[str, bytes], change: Change) -> Written:
        cut = {key: value.partition(b"\0")[0] for key, value in raw.items()}
        return super()._put(ref, cut, change)


class ShowsValues(MemoryBackend):
    def _describe(self, ref: Ref) -> Description:
        held = self._held.get(ref.path)
        values = held.versions[held.current].values if held else {}
        labels = {key: value.decode("utf-8", "replace") for key, value in values.items()}
        return replace(super()._describe(ref), labels=labels)


class EchoesValues(MemoryBackend):
    def _fetch(self, ref: Ref) -> RawSecret:
        try:
            return super()._fetch(ref)
        except NotFoundError:
            held = next(iter(self._held.values())).versions
            raise NotFoundError(str(held[1].values)) from None


class JournalsValues(MemoryBackend):
    def _put(self, ref: Ref, raw: Mapping[str, bytes], change: Change) -> Written:
        event = Event(Kind.DONE, "update", str(raw), "contract")
        self.session.journal.record(event, durable=False)
        return super()._put(ref, raw, change)


class TakesZeroForTheCurrent(MemoryBackend):
    def _fetch(self, ref: Ref) -> RawSecret:
        return super()._fetch(replace(ref, version=None) if ref.version == "0" else ref)


class LosesAName(MemoryBackend):
    def _list(self, prefix: Ref, cursor: str | None, limit: int, *, details: bool) -> Listing:
        listing = super()._list(prefix, cursor, limit, details=details)
        return replace(listing, entries=listing.entries[1:]) if cursor else listing


class ListsEverything(MemoryBackend):
    def _list(self, prefix: Ref, cursor: str | None, limit: int, *, details: bool) -> Listing:
        start = f"{prefix.path}/"
        below = [name for name in self._held if name.startswith(start)]
        return Listing(tuple(Entry(name.removeprefix(start)) for name in below))


class DestroysInsteadOfDeleting(MemoryBackend):
    def _delete(self, ref: Ref, removal: Removal) -> Written:
        written = super()._delete(ref, removal)
        for version in self._held[ref.path].versions.values():
            version.values = {}
        return written


class SaysYesToWhatIsAbsent(MemoryBackend):
    def _delete(self, ref: Ref, removal: Removal) -> Written:
        try:
            return super()._delete(ref, removal)
        except NotFoundError:
            return Written(ref, None, None)


Law = Callable[..., None]
BROKEN: list[tuple[type[Backend], Law, tuple[object, ...]]] = [
    (ForgetsOthers, BackendContract.test_setting_a_key_leaves_the_others, ()),
    (
        IgnoresExpected,
        BackendContract.test_a_write_that_expects_something_else_changes_nothing,
        (False,),
    ),
    (
        WritesBeforeItRefuses,
        BackendContract.test_a_write_that_expects_nothing_there_refuses_what_is_there,
        (),
    ),
    (CutsAtNul, BackendContract.test_text_comes_back_byte_for_byte, ("nul",)),
    (ShowsValues, BackendContract.test_a_description_names_the_keys_and_shows_no_value, ()),
    (ShowsValues, BackendContract.test_no_result_error_or_journal_line_shows_a_value, ()),
    (EchoesValues, BackendContract.test_no_result_error_or_journal_line_shows_a_value, ()),
    (JournalsValues, BackendContract.test_no_result_error_or_journal_line_shows_a_value, ()),
    (TakesZeroForTheCurrent, BackendContract.test_a_version_that_is_not_there_says_so, ("0",)),
    (LosesAName, BackendContract.test_pages_lose_and_repeat_nothing, (2,)),
    (ListsEverything, BackendContract.test_a_listing_shows_one_level, ()),
    (DestroysInsteadOfDeleting, BackendContract.test_restoring_brings_the_same_values_back, ()),
    (SaysYesToWhatIsAbsent, BackendContract.test_removing_what_is_not_there_says_so, ()),
]


class Suite(BackendContract):
    abilities: ClassVar[frozenset[Ability]] = MemoryBackend.abilities


@pytest.mark.parametrize(("store", "law", "arguments"), BROKEN)
def test_a_broken_store_fails_its_law(
    session: Session, store: type[Backend], law: Law, arguments: tuple[object, ...]
) -> None:
    hand = Hand(store(StoreSettings("broken", "memory"), session), Ref("memory", "contract"))
    named = {"replacing": arguments[0]} if arguments == (False,) else {}

    with pytest.raises((AssertionError, pytest.fail.Exception)):
        law(Suite(), hand, *(() if named else arguments), **named)


def test_a_race_without_compare_and_set_has_several_winners(session: Session) -> None:
    store = IgnoresExpected(StoreSettings("broken", "memory"), session)
    prefix = Ref("memory", "contract")

    with pytest.raises(AssertionError):
        Suite().test_of_several_writers_at_once_exactly_one_wins(Hand(store, prefix), store, prefix)


def test_an_undeclared_ability_that_works_is_found(session: Session) -> None:
    class Modest(BackendContract):
        abilities = frozenset({Ability.FETCH})

    store = MemoryBackend(StoreSettings("eager", "memory"), session)
    hand = Hand(store, Ref("memory", "contract"))

    with pytest.raises(pytest.fail.Exception):
        Modest().test_an_ability_that_is_not_declared_raises(hand)


def test_a_change_without_the_journal_is_found(session: Session, tmp_path: Path) -> None:
    class Unjournaled(MemoryBackend):
        put = MemoryBackend.put

        def delete(self, ref: Ref, removal: Removal, act: object) -> Written:
            return self._delete(ref, removal)

    store = Unjournaled(StoreSettings("broken", "memory"), session)

    with pytest.raises(pytest.fail.Exception):
        Suite().test_without_the_journal_nothing_happens(
            Hand(store, Ref("memory", "contract")), tmp_path
        )


def test_every_store_in_the_table_is_under_contract() -> None:
    suites = {path.name for path in Path(__file__).parent.glob("test_contract_*.py")}

    assert schemes()
    assert [name for name in schemes() if f"test_contract_{name}.py" not in suites] == []
