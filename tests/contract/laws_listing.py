"""Laws about listings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mcp_server.core.errors import (
    InputError,
)
from mcp_server.core.model import Ability, RemovalMode
from tests.contract.hand import Hand
from tests.contract.laws import ACT, Laws, needs, writable
from tests.contract.spills import spills

__all__ = ["ListingLaws"]


class ListingLaws(Laws):
    """Laws about listings."""

    def test_a_folder_that_is_not_there_is_empty(self, hand: Hand) -> None:
        assert hand.names() == []
        assert hand.names("absent") == []

    @writable
    def test_a_listing_shows_one_level(self, hand: Hand) -> None:
        for name in ("app", "app/db", "app/cache/url", "apple", "zoo/lion"):
            hand.put(name, {"n": b"1"})

        assert set(hand.names()) == {("app", False), ("app", True), ("apple", False), ("zoo", True)}
        assert set(hand.names("app")) == {("db", False), ("cache", True)}
        assert hand.names("app/cache") == [("url", False)]
        assert hand.names("apple") == []

    @writable
    @pytest.mark.parametrize("limit", [1, 2, 5, 7, 100])
    def test_pages_lose_and_repeat_nothing(self, hand: Hand, limit: int) -> None:
        expected = {(f"s{n}", False) for n in range(6)} | {(f"s{n}", True) for n in range(3, 8)}
        for name, folder in expected:
            hand.put(f"{name}/x" if folder else name, {"n": b"1"})

        names = hand.names(limit=limit)

        assert len(names) == len(expected)
        assert set(names) == expected

    @needs(Ability.PUT, Ability.FETCH, Ability.ERASE)
    def test_names_that_stay_are_listed_once_while_others_come_and_go(self, hand: Hand) -> None:
        for number in range(0, 10, 2):
            hand.put(f"s{number}", {"n": b"1"})
        first = hand.backend.list_names(hand.prefix, ACT, limit=2)
        gone = first.entries[0].name
        hand.remove(gone, RemovalMode.ERASE)
        hand.put("s1", {"n": b"1"})

        rest = hand.backend.list_names(hand.prefix, ACT, cursor=first.cursor, limit=100)

        listed = [entry.name for entry in (*first.entries, *rest.entries)]
        stayed = {f"s{number}" for number in range(0, 10, 2)} - {gone}
        assert len(listed) == len(set(listed))
        assert stayed <= set(listed)

    @writable
    @pytest.mark.parametrize("cursor", ["", "x", "-1", "9" * 30, "../..", "\x00", "%00", "é/"])
    def test_a_made_up_cursor_is_harmless(self, hand: Hand, cursor: str) -> None:
        hand.put("db", {"n": b"1"})

        try:
            listing = hand.backend.list_names(hand.prefix, ACT, cursor=cursor)
        except InputError:
            return
        assert [entry.name for entry in listing.entries] in ([], ["db"])

    @writable
    def test_details_describe_each_secret(self, hand: Hand) -> None:
        for name in ("a", "b", "c/d"):
            hand.put(name, {f"key-{name}": b"canary-detail-7a7b"})

        entries = hand.entries(limit=2, details=True)

        described = {entry.name: entry.description for entry in entries if not entry.folder}
        assert set(described) == {"a", "b"}
        for name, description in described.items():
            whole = hand.describe(name)  # metadata in bulk may come without the key names
            assert description in (whole, replace(whole, keys=None))
        assert [entry for entry in entries if entry.folder and entry.description] == []
        assert spills(b"canary-detail-7a7b", *entries) == []

    @writable
    def test_a_page_is_no_longer_than_the_session_allows(self, hand: Hand) -> None:
        session = hand.backend.session
        hand.backend.session = replace(session, limits=replace(session.limits, page=2))
        for number in range(3):
            hand.put(f"s{number}", {"n": b"1"})

        listing = hand.backend.list_names(hand.prefix, ACT, limit=100)

        assert len(listing.entries) == 2
        assert listing.cursor is not None
