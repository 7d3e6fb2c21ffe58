"""Laws about versions and removal."""

from __future__ import annotations

import pytest

from mcp_server.core.errors import (
    ConflictError,
    NotFoundError,
)
from mcp_server.core.model import Ability, RemovalMode, State
from tests.contract.hand import Hand
from tests.contract.laws import Laws, needs, versioned
from tests.contract.odd import NO_VERSIONS

__all__ = ["VersionLaws"]


class VersionLaws(Laws):
    """Laws about versions and removal."""

    @versioned
    def test_an_older_version_is_still_there(self, hand: Hand) -> None:
        versions = [hand.put("db", {"n": str(n).encode()}).version for n in range(3)]

        for number, version in enumerate(versions):
            assert hand.values("db", version=version) == {"n": str(number).encode()}
        assert hand.values("db") == {"n": b"2"}
        assert len(set(versions)) == 3

    @versioned
    @pytest.mark.parametrize("version", NO_VERSIONS)
    def test_a_version_that_is_not_there_says_so(self, hand: Hand, version: str) -> None:
        hand.put("db", {"n": b"1"})
        hand.put("db", {"n": b"2"})

        with pytest.raises(NotFoundError):
            hand.fetch("db", version=version)

    @versioned
    def test_fetching_reports_the_version_that_it_read(self, hand: Hand) -> None:
        first = hand.put("db", {"n": b"1"})
        second = hand.put("db", {"n": b"2"})

        assert hand.fetch("db").version == second.version
        older = hand.fetch("db", version=first.version)
        assert older.version == first.version
        assert older.revision in {None, second.revision}

    @needs(Ability.PUT, Ability.FETCH, Ability.DELETE)
    def test_a_deleted_secret_is_known_but_gives_nothing(self, hand: Hand) -> None:
        hand.put("db", {"n": b"1"})
        hand.remove("db", RemovalMode.DELETE)

        description = hand.describe("db")
        assert description.state is State.DELETED
        assert description.keys is None
        with pytest.raises(NotFoundError):
            hand.fetch("db")

    @needs(Ability.PUT, Ability.FETCH, Ability.DELETE, Ability.RESTORE)
    def test_restoring_brings_the_same_values_back(self, hand: Hand) -> None:
        hand.put("db", {"n": b"1", "m": b"2"})
        version = hand.describe("db").version
        hand.remove("db", RemovalMode.DELETE)
        hand.remove("db", RemovalMode.RESTORE)

        assert hand.describe("db").state is State.LIVE
        assert hand.describe("db").version == version
        assert hand.values("db") == {"n": b"1", "m": b"2"}

    @needs(Ability.PUT, Ability.FETCH, Ability.DELETE)
    def test_writing_over_a_deleted_secret_starts_empty(self, hand: Hand) -> None:
        hand.put("db", {"old": b"1"})
        hand.remove("db", RemovalMode.DELETE)
        hand.put("db", {"new": b"2"})

        assert hand.values("db") == {"new": b"2"}

    @versioned
    @needs(Ability.DELETE, Ability.RESTORE)
    def test_single_versions_are_deleted_and_restored(self, hand: Hand) -> None:
        first, second = (hand.put("db", {"n": n}).version for n in (b"1", b"2"))
        hand.remove("db", RemovalMode.DELETE, str(first))

        assert hand.values("db") == {"n": b"2"}
        with pytest.raises(NotFoundError):
            hand.fetch("db", version=first)
        states = {v.version: v.state for v in hand.describe("db").versions}
        assert states == {first: State.DELETED, second: State.LIVE}

        hand.remove("db", RemovalMode.RESTORE, str(first))
        assert hand.values("db", version=first) == {"n": b"1"}

    @versioned
    @needs(Ability.DESTROY)
    def test_a_destroyed_version_is_gone_for_good(self, hand: Hand) -> None:
        first, second = (hand.put("db", {"n": n}).version for n in (b"1", b"2"))
        hand.remove("db", RemovalMode.DESTROY, str(first))

        states = {v.version: v.state for v in hand.describe("db").versions}
        assert states == {first: State.DESTROYED, second: State.LIVE}
        with pytest.raises(NotFoundError):
            hand.fetch("db", version=first)
        if Ability.RESTORE in self.abilities:
            with pytest.raises(NotFoundError):
                hand.remove("db", RemovalMode.RESTORE, str(first))
        assert hand.values("db") == {"n": b"2"}

    @needs(Ability.PUT, Ability.FETCH, Ability.ERASE)
    def test_an_erased_secret_leaves_nothing(self, hand: Hand) -> None:
        before = hand.describe("db")
        hand.put("db", {"n": b"1"})
        hand.put("db", {"n": b"2"})
        hand.put("other", {"n": b"3"})
        hand.remove("db", RemovalMode.ERASE)

        assert hand.describe("db") == before
        assert hand.names() == [("other", False)]
        with pytest.raises(NotFoundError):
            hand.fetch("db")

    @needs(Ability.PUT)
    def test_removing_what_is_not_there_says_so(self, hand: Hand) -> None:
        for mode in self.removals():
            with pytest.raises(NotFoundError):
                hand.remove("absent", mode)

    @versioned
    @needs(Ability.DELETE)
    @pytest.mark.parametrize("unknown", NO_VERSIONS)
    def test_an_unknown_version_among_several_changes_nothing(
        self, hand: Hand, unknown: str
    ) -> None:
        version = str(hand.put("db", {"n": b"1"}).version)
        hand.put("db", {"n": b"2"})
        before = hand.describe("db")

        for mode in self.removals() - {RemovalMode.ERASE}:
            with pytest.raises(NotFoundError):
                hand.remove("db", mode, version, unknown)
        assert hand.describe("db") == before

    @needs(Ability.PUT, Ability.FETCH, Ability.CAS)
    def test_a_removal_that_expects_something_else_changes_nothing(self, hand: Hand) -> None:
        stale = hand.put("db", {"n": b"1"}).revision
        hand.put("db", {"n": b"2"})
        before = hand.describe("db")

        for mode in self.removals():
            with pytest.raises(ConflictError):
                hand.remove("db", mode, expected=stale)
        assert hand.describe("db") == before
        assert hand.values("db") == {"n": b"2"}
