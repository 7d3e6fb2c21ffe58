"""Laws about the journal, undeclared abilities and silence about values."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mcp_server.core.errors import (
    JournalError,
    NotFoundError,
    SecretsError,
    UnsupportedError,
)
from mcp_server.core.journal import Event, Journal, Kind
from mcp_server.core.model import Ability, Metadata, RemovalMode
from tests.contract.hand import Hand
from tests.contract.laws import Laws, needs, writable
from tests.contract.spills import spills

__all__ = ["SilenceLaws"]


class SilenceLaws(Laws):
    """Laws about the journal, undeclared abilities and silence about values."""

    def test_an_ability_that_is_not_declared_raises(self, hand: Hand) -> None:
        asked = 0
        for ability, use in _uses(hand).items():
            if ability not in self.abilities:
                asked += 1
                with pytest.raises(UnsupportedError):
                    use()
        assert asked + len(self.abilities & set(_uses(hand))) == len(_uses(hand))

    @writable
    def test_the_intent_is_in_the_journal_before_the_change_and_the_outcome_after(
        self, hand: Hand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[Kind] = []
        put, fetch = hand.backend._put, hand.backend._fetch

        def spy(call: Callable[..., object]) -> Callable[..., object]:
            def spied(*arguments: object) -> object:
                seen.append(_events(hand)[-1].kind)
                return call(*arguments)

            return spied

        monkeypatch.setattr(hand.backend, "_put", spy(put))
        monkeypatch.setattr(hand.backend, "_fetch", spy(fetch))
        written = hand.put("db", {"n": b"1"})
        hand.fetch("db", key="n")

        assert seen == [Kind.INTENT, Kind.INTENT]
        whole, one = str(hand.ref("db")), str(hand.ref("db", key="n"))
        told = [(e.kind, e.verb, e.ref, e.version) for e in _events(hand)]
        assert told == [
            (Kind.INTENT, "update", whole, None),
            (Kind.DONE, "update", whole, written.version),
            (Kind.INTENT, "use", one, None),
            (Kind.DONE, "use", one, written.version),
        ]
        assert {(e.session, e.plan, e.channel) for e in _events(hand)} == {
            ("contract", "plan-0001", "policy")
        }

    @needs(Ability.PUT)
    def test_each_removal_is_journaled_under_its_own_verb(self, hand: Hand) -> None:
        for mode in self.removals():
            hand.put("db", {"n": b"1"})
            hand.remove("db", mode)
            intent, done = _events(hand)[-2:]
            assert (intent.kind, done.kind) == (Kind.INTENT, Kind.DONE)
            assert intent.verb == done.verb == mode.value

    @needs(Ability.FETCH)
    def test_a_refusal_of_the_store_is_an_outcome_too(self, hand: Hand) -> None:
        with pytest.raises(NotFoundError):
            hand.fetch("absent")

        assert [(e.kind, e.code) for e in _events(hand)] == [
            (Kind.INTENT, None),
            (Kind.FAILED, "NOT_FOUND"),
        ]

    @writable
    def test_without_the_journal_nothing_happens(self, hand: Hand, tmp_path: Path) -> None:
        hand.put("db", {"n": b"1"})
        session = hand.backend.session
        folder = tmp_path / "a-folder-in-its-place"
        folder.mkdir()
        hand.backend.session = replace(session, journal=Journal(folder))

        with pytest.raises(JournalError):
            hand.put("db", {"n": b"2"})
        for mode in self.removals():
            with pytest.raises(JournalError):
                hand.remove("db", mode)
        with pytest.raises(JournalError):
            hand.fetch("db")

        hand.backend.session = session
        assert hand.values("db") == {"n": b"1"}

    @writable
    def test_reading_names_is_journaled_without_an_outcome(self, hand: Hand) -> None:
        hand.describe("db")
        hand.names()

        assert [(e.kind, e.verb) for e in _events(hand)] == [
            (Kind.READ, "read"),
            (Kind.READ, "list"),
        ]

    @writable
    def test_no_result_error_or_journal_line_shows_a_value(self, hand: Hand) -> None:
        value = f"canary-{secrets.token_hex(8)}-ü".encode()
        things = [*self._results(hand, value), *self._refusals(hand, value)]
        journal = hand.backend.session.journal.path.read_text()

        assert len(things) > 8
        assert spills(value, journal, *things) == []
        assert spills(value, {"planted": value}, ValueError(value.decode()), journal) == [
            "dict",
            "ValueError",
        ]

    def _results(self, hand: Hand, value: bytes) -> Iterator[object]:
        yield hand.put("db", {"n": value, "doc": value})
        yield hand.put("db", {"n": value})
        yield hand.describe("db")
        yield hand.fetch("db")
        yield hand.fetch("db", key="n")
        yield hand.entries(details=True)
        yield hand.backend.identity()
        yield hand.backend

    def _refusals(self, hand: Hand, value: bytes) -> Iterator[SecretsError]:
        big = value * (hand.backend.session.limits.secret_bytes // len(value) + 1)
        attempts: list[Callable[[], object]] = [
            lambda: hand.fetch("absent"),
            lambda: hand.fetch("db", key="absent"),
            lambda: hand.fetch("db", key="/n/step"),
            lambda: hand.put("db", {"n": big}),
            *(use for ability, use in _uses(hand).items() if ability not in self.abilities),
        ]
        if Ability.CAS in self.abilities:
            attempts.append(lambda: hand.put("db", {"n": value}, expected="stale"))
        if self.text_only:
            attempts.append(lambda: hand.put("db", {"n": value + b"\xff"}))
        for attempt in attempts:
            with pytest.raises(SecretsError) as refusal:
                attempt()
            yield refusal.value


def _uses(hand: Hand) -> dict[Ability, Callable[[], object]]:
    """A call for each ability that needs just that one."""
    return {
        Ability.FETCH: lambda: hand.fetch("db"),
        Ability.PUT: lambda: hand.put("db", {"n": b"1"}),
        Ability.VERSIONS: lambda: hand.fetch("db", version="1"),
        Ability.METADATA: lambda: hand.put("db", {}, metadata=Metadata("owner")),
        Ability.DELETE: lambda: hand.remove("db", RemovalMode.DELETE),
        Ability.RESTORE: lambda: hand.remove("db", RemovalMode.RESTORE),
        Ability.DESTROY: lambda: hand.remove("db", RemovalMode.DESTROY),
        Ability.ERASE: lambda: hand.remove("db", RemovalMode.ERASE),
    }


def _events(hand: Hand) -> list[Event]:
    return [record.event for record in hand.backend.session.journal.records()]
