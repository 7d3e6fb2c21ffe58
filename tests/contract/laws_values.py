"""Laws about describing, writing and fetching."""

from __future__ import annotations

import json
import secrets

import pytest

from mcp_server.backends.base import Backend
from mcp_server.core.errors import (
    LimitError,
    NotFoundError,
    UnsupportedError,
)
from mcp_server.core.model import Ability, Metadata, State
from mcp_server.core.refs import Ref
from tests.contract.hand import Hand
from tests.contract.laws import ACT, Laws, needs, versioned, writable
from tests.contract.odd import BINARY, TEXTS
from tests.contract.spills import spills

__all__ = ["ValueLaws"]


class ValueLaws(Laws):
    """Laws about describing, writing and fetching."""

    def test_the_scheme_is_the_name_in_references(self, backend: Backend, prefix: Ref) -> None:
        assert backend.scheme == prefix.scheme
        assert backend.abilities >= self.abilities

    def test_an_absent_secret_is_described_not_refused(self, hand: Hand) -> None:
        absent = hand.describe("absent")

        assert absent.state is State.ABSENT
        assert absent.version is None
        assert not absent.keys
        assert (absent.revision is not None) == (Ability.CAS in self.abilities)

    @writable
    def test_a_description_names_the_keys_and_shows_no_value(self, hand: Hand) -> None:
        written = hand.put("db", {"user": b"canary-user-1f2e", "password": b"canary-pass-3c4d"})

        description = hand.describe("db")

        assert description.state is State.LIVE
        assert description.ref == hand.ref("db")
        assert set(description.keys or ()) == {"user", "password"}
        assert (description.version, description.revision) == (written.version, written.revision)
        assert spills(b"canary-user-1f2e", description, written) == []
        assert spills(b"canary-pass-3c4d", description, written) == []

    @versioned
    def test_times_and_versions_tell_the_history(self, hand: Hand) -> None:
        first = hand.put("db", {"key": b"one"})
        second = hand.put("db", {"key": b"two"})

        description = hand.describe("db")

        assert [v.version for v in description.versions] == [second.version, first.version]
        assert {v.state for v in description.versions} == {State.LIVE}
        created, updated = description.created, description.updated
        assert created is not None
        assert updated is not None
        assert created.tzinfo is not None
        assert created <= updated

    @writable
    def test_a_reference_with_key_or_version_describes_the_whole_secret(self, hand: Hand) -> None:
        hand.put("db", {"user": b"u", "password": b"p"})

        description = hand.backend.describe(hand.ref("db", key="user", version="7"), ACT)

        assert description.ref == hand.ref("db")
        assert set(description.keys or ()) == {"user", "password"}

    @writable
    @pytest.mark.parametrize("kind", TEXTS)
    def test_text_comes_back_byte_for_byte(self, hand: Hand, kind: str) -> None:
        hand.put("texts", {"value": TEXTS[kind]})

        assert hand.values("texts") == {"value": TEXTS[kind]}

    @writable
    @pytest.mark.parametrize("kind", BINARY)
    def test_other_bytes_come_back_or_are_refused_whole(self, hand: Hand, kind: str) -> None:
        hand.put("bytes", {"value": b"before"})

        if self.text_only:
            with pytest.raises(UnsupportedError):
                hand.put("bytes", {"value": BINARY[kind], "other": b"text"})
            assert hand.values("bytes") == {"value": b"before"}
        else:
            hand.put("bytes", {"value": BINARY[kind], "other": b"text"})
            assert hand.values("bytes") == {"value": BINARY[kind], "other": b"text"}

    @writable
    def test_odd_key_names_stay_as_they_are(self, hand: Hand) -> None:
        values = {key: f"canary-{number}".encode() for number, key in enumerate(self.odd_keys)}
        hand.put("odd", values)

        assert hand.values("odd") == values
        assert set(hand.describe("odd").keys or ()) == set(values)
        for key in self.odd_keys:
            assert list(hand.values("odd", key=key).values()) == [values[key]]

    @writable
    def test_setting_a_key_leaves_the_others(self, hand: Hand) -> None:
        hand.put("db", {"user": b"u", "password": b"p"})
        hand.put("db", {"password": b"new", "port": b"5432"})

        assert hand.values("db") == {"user": b"u", "password": b"new", "port": b"5432"}

    @writable
    def test_a_dropped_key_is_gone_and_an_unknown_one_is_ignored(self, hand: Hand) -> None:
        hand.put("db", {"user": b"u", "password": b"p", "old": b"o"})
        hand.put("db", {"password": b"new"}, remove=["old", "unknown"])

        assert hand.values("db") == {"user": b"u", "password": b"new"}

    @writable
    def test_replacing_leaves_exactly_what_was_given(self, hand: Hand) -> None:
        hand.put("db", {"user": b"u", "password": b"p"})
        hand.put("db", {"token": b"t"}, replace=True)

        assert hand.values("db") == {"token": b"t"}

    @writable
    def test_writes_do_not_touch_neighbours(self, hand: Hand) -> None:
        for name in ("app", "app/db", "app2", "ap"):
            hand.put(name, {"name": name.encode()})
        hand.put("app", {"name": b"changed"})

        for name in ("app/db", "app2", "ap"):
            assert hand.values(name) == {"name": name.encode()}

    @writable
    @pytest.mark.parametrize("pointer", ["/doc", "doc"])
    def test_a_key_fetches_that_value_alone(self, hand: Hand, pointer: str) -> None:
        hand.put("db", {"doc": b"d", "other": b"o"})

        assert hand.values("db", key=pointer) == {"doc": b"d"}

    @writable
    def test_a_pointer_reaches_into_a_json_value(self, hand: Hand) -> None:
        document = {"a": {"b/c": ["x", {"d~": "deep"}], "n": 5, "t": True}, "": "empty"}
        hand.put("db", {"doc": json.dumps(document).encode()})

        assert hand.values("db", key="/doc/a/b~1c/1/d~0") == {"d~": b"deep"}
        assert hand.values("db", key="/doc/a/b~1c/0") == {"0": b"x"}
        assert hand.values("db", key="/doc/a/n") == {"n": b"5"}
        assert hand.values("db", key="/doc/a/t") == {"t": b"true"}
        assert hand.values("db", key="/doc/") == {"": b"empty"}

    @writable
    @pytest.mark.parametrize(
        "pointer",
        [
            "/doc/b",
            "/doc/a/-1",
            "/doc/a/01",
            "/doc/a/2",
            "/doc/a/x",
            "/doc/a/0/y",
            "/text/a",
            "/no",
        ],
    )
    def test_a_pointer_to_nothing_says_so(self, hand: Hand, pointer: str) -> None:
        hand.put("db", {"doc": b'{"a": ["x", "y"]}', "text": b"canary-not-json"})

        with pytest.raises(NotFoundError) as refusal:
            hand.fetch("db", key=pointer)
        assert spills(b"canary-not-json", refusal.value) == []

    @writable
    def test_an_unknown_secret_or_key_says_so(self, hand: Hand) -> None:
        hand.put("db", {"user": b"u"})

        with pytest.raises(NotFoundError):
            hand.fetch("absent")
        with pytest.raises(NotFoundError):
            hand.fetch("db", key="absent")
        with pytest.raises(NotFoundError):
            hand.fetch("db/absent")

    @writable
    def test_every_odd_name_is_a_secret_of_its_own(self, hand: Hand) -> None:
        for number, name in enumerate(self.odd_names):
            hand.put(name, {"n": str(number).encode()})

        for number, name in enumerate(self.odd_names):
            assert Ref.parse(str(hand.ref(name))) == hand.ref(name)
            assert hand.values(name) == {"n": str(number).encode()}
        assert sorted(hand.names(limit=5)) == sorted((name, False) for name in self.odd_names)

    @writable
    def test_the_largest_value_fits(self, hand: Hand) -> None:
        value = secrets.token_hex(self.largest // 2).encode()
        hand.put("large", {"value": value})

        assert hand.values("large") == {"value": value}

    @writable
    def test_beyond_the_limits_nothing_is_written(self, hand: Hand) -> None:
        limits = hand.backend.session.limits
        hand.put("db", {"key": b"before"})

        with pytest.raises(LimitError):
            hand.put("db", {"key": b"x" * (limits.secret_bytes + 1)})
        with pytest.raises(LimitError):
            hand.put("db", {f"key{n}": b"x" for n in range(limits.keys + 1)})
        assert hand.values("db") == {"key": b"before"}

    @needs(Ability.PUT, Ability.FETCH, Ability.METADATA)
    def test_declared_metadata_is_kept_beside_the_values(self, hand: Hand) -> None:
        declared = Metadata("team päyments", "90d", ("svc/a, b", "cron: 'x'"))
        hand.put("db", {"n": b"1"}, metadata=declared)
        hand.put("db", {"n": b"2"})

        assert hand.describe("db").metadata == declared

    @needs(Ability.PUT, Ability.FETCH, Ability.METADATA)
    def test_setting_metadata_alone_makes_no_version(self, hand: Hand) -> None:
        written = hand.put("db", {"n": b"1"}, metadata=Metadata(owner="before"))
        hand.put("db", {}, metadata=Metadata(schedule="30d"))

        description = hand.describe("db")
        assert description.metadata == Metadata(schedule="30d")
        assert description.version == written.version
        assert hand.values("db") == {"n": b"1"}
