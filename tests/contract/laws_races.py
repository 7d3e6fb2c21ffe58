"""Laws about compare-and-set."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from mcp_server.backends.base import Backend
from mcp_server.core.errors import (
    ConflictError,
)
from mcp_server.core.model import Ability, Metadata
from mcp_server.core.refs import Ref
from tests.contract.hand import Hand
from tests.contract.laws import Laws, needs

__all__ = ["RaceLaws"]

WRITERS = 4
ROUNDS = 3


class RaceLaws(Laws):
    """Laws about compare-and-set."""

    @needs(Ability.PUT, Ability.FETCH, Ability.CAS)
    def test_a_write_that_expects_what_is_there_goes_through(self, hand: Hand) -> None:
        written = hand.put("db", {"n": b"1"}, expected=hand.describe("db").revision)
        again = hand.put("db", {"n": b"2"}, expected=written.revision)

        assert hand.values("db") == {"n": b"2"}
        assert hand.fetch("db").revision == hand.describe("db").revision == again.revision

    @needs(Ability.PUT, Ability.FETCH, Ability.CAS)
    @pytest.mark.parametrize("replacing", [False, True])
    def test_a_write_that_expects_something_else_changes_nothing(
        self, hand: Hand, *, replacing: bool
    ) -> None:
        stale = hand.put("db", {"n": b"1"}).revision
        hand.put("db", {"n": b"2"})
        before = hand.describe("db")

        for values, remove in (({"n": b"3"}, ()), ({}, ("n",))):
            with pytest.raises(ConflictError):
                hand.put("db", values, remove=remove, replace=replacing, expected=stale)

        assert hand.describe("db") == before
        assert hand.values("db") == {"n": b"2"}

    @needs(Ability.PUT, Ability.FETCH, Ability.CAS)
    def test_a_write_that_expects_nothing_there_refuses_what_is_there(self, hand: Hand) -> None:
        absent = hand.describe("db").revision
        hand.put("db", {"n": b"1"})

        with pytest.raises(ConflictError):
            hand.put("db", {"n": b"2"}, expected=absent)
        assert hand.values("db") == {"n": b"1"}

    @needs(Ability.PUT, Ability.FETCH, Ability.CAS)
    def test_a_made_up_revision_is_a_conflict(self, hand: Hand) -> None:
        hand.put("db", {"n": b"1"})

        for revision in ("", "x", "-1", "1.0", "99", "\u0661"):
            with pytest.raises(ConflictError):
                hand.put("db", {"n": b"2"}, expected=revision)
        assert hand.values("db") == {"n": b"1"}

    @needs(Ability.PUT, Ability.FETCH, Ability.CAS, Ability.METADATA)
    def test_metadata_is_compared_and_set_as_well(self, hand: Hand) -> None:
        stale = hand.put("db", {"n": b"1"}).revision
        hand.put("db", {"n": b"2"}, metadata=Metadata(owner="before"))

        with pytest.raises(ConflictError):
            hand.put("db", {}, metadata=Metadata(owner="after"), expected=stale)
        assert hand.describe("db").metadata.owner == "before"

    @needs(Ability.PUT, Ability.FETCH, Ability.CAS)
    def test_of_several_writers_at_once_exactly_one_wins(
        self, hand: Hand, twin: Backend, prefix: Ref
    ) -> None:
        hands = [hand, Hand(twin, prefix)]
        for number in range(ROUNDS):
            revision = hand.describe("race").revision
            won = _race(
                [
                    _attempt(hands[writer % 2], f"{number}-{writer}".encode(), revision)
                    for writer in range(WRITERS)
                ]
            )
            assert len(won) == 1
            assert hand.values("race") == {"winner": won[0]}


def _attempt(hand: Hand, value: bytes, revision: str | None) -> Callable[[Barrier], bytes | None]:
    def attempt(barrier: Barrier) -> bytes | None:
        barrier.wait(timeout=30)
        try:
            hand.put("race", {"winner": value}, expected=revision)
        except ConflictError:
            return None
        return value

    return attempt


def _race(attempts: list[Callable[[Barrier], bytes | None]]) -> list[bytes]:
    """Start all at the same moment; the values of those that went through."""
    barrier = Barrier(len(attempts))
    with ThreadPoolExecutor(len(attempts)) as pool:
        results = pool.map(lambda attempt: attempt(barrier), attempts)
        return [value for value in results if value is not None]
