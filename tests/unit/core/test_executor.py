"""Carrying out: each source is read once, values arrive as they are, blind stores are read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from mcp_server.core.errors import ConflictError, NotFoundError, OutcomeUnknownError, SourceError
from mcp_server.core.generate import Recipe
from mcp_server.core.journal import Kind
from mcp_server.core.requests import KeyRequest
from tests.unit.core.rig import CANARY, Rig, password

Make = Callable[[str], Rig]
T = "memory://app/db"


@pytest.fixture
def free(make: Make) -> Rig:
    """Everything is allowed unasked."""
    return make(
        'policy: {rules: [{effect: allow, match: "**"}]}\nsources: {variables: [DB_PASSWORD]}'
    )


def held(rig: Rig, path: str = "app/db") -> dict[str, bytes]:
    secret = rig.memory._held[path]
    return secret.versions[secret.current].values


def test_every_kind_of_source_arrives_byte_for_byte(
    free: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "from-the-environment é")
    free.file("a.json", json.dumps({"x": {"y": "nested"}}))
    free.file("raw.bin", b"\x00\xff\n")
    free.put("app/source", s="from-a-store\n")
    free.write(
        T,
        KeyRequest("env", env="DB_PASSWORD"),
        KeyRequest("file", file="a.json", part="/x/y"),
        KeyRequest("raw", file="raw.bin"),
        KeyRequest("copy", copy="memory://app/source#s"),
        KeyRequest("made", generate=Recipe.HEX, length=16),
    )
    values = held(free)
    assert len(values.pop("made")) == 32
    assert values == {
        "env": "from-the-environment é".encode(),
        "file": b"nested",
        "raw": b"\x00\xff\n",
        "copy": b"from-a-store\n",
    }


def test_a_secret_of_which_several_keys_are_copied_is_read_once(free: Rig) -> None:
    free.put("app/source", a="1", b="2", c="3")
    free.write(T, copy_from="memory://app/source")
    assert free.memory.fetched == ["memory://app/source"]
    assert held(free) == {"a": b"1", "b": b"2", "c": b"3"}


def test_a_pointer_into_a_value_is_followed(free: Rig) -> None:
    free.put("app/source", doc=json.dumps({"user": "u", "ports": [1, 2]}))
    keys = (
        KeyRequest("user", copy="memory://app/source#/doc/user"),
        KeyRequest("port", copy="memory://app/source#/doc/ports/1"),
    )
    free.write(T, *keys)
    assert held(free) == {"user": b"u", "port": b"2"}


def test_an_older_version_comes_back(free: Rig) -> None:
    free.put("app/db", a="first")
    free.put("app/db", a="second", b="stays")
    free.write(T, KeyRequest("a", version="1"))
    assert held(free) == {"a": b"first", "b": b"stays"}


def test_other_keys_stay_unless_replaced_or_removed(free: Rig) -> None:
    free.put("app/db", a="1", b="2", c="3")
    free.write(T, password("n"), remove=("b",))
    assert set(held(free)) == {"a", "c", "n"}
    free.write(T, password("n"), replace=True)
    assert set(held(free)) == {"n"}


def test_both_halves_of_a_key_pair_are_written_and_the_public_one_is_shown(free: Rig) -> None:
    receipt = free.write(T, KeyRequest("key", generate=Recipe.AGE))
    values = held(free)
    assert receipt.public == {"key.pub": values["key.pub"].decode()}
    assert values["key"].decode() not in str(receipt)
    assert set(receipt.fingerprints) == {"key"}


@pytest.mark.parametrize(
    "key",
    [
        KeyRequest("a", copy="memory://app/source?version=7#a"),
        KeyRequest("a", copy="memory://app/source#/a/b"),
        KeyRequest("a", file="a.json", part="/none"),
        KeyRequest("a", env="DB_PASSWORD"),
    ],
    ids=["version", "pointer", "file", "variable"],
)
def test_a_source_that_fails_leaves_the_target_alone_and_the_journal_says_so(
    free: Rig, monkeypatch: pytest.MonkeyPatch, key: KeyRequest
) -> None:
    monkeypatch.delenv("DB_PASSWORD", raising=False)
    free.put("app/source", a=CANARY)
    free.file("a.json", "{}")
    with pytest.raises((NotFoundError, SourceError)) as refused:
        free.write(T, password("made"), key)
    assert CANARY not in str(refused.value)
    assert "app/db" not in free.memory._held
    last = free.events()[-1]
    assert (last.kind, last.verb, last.code) == (Kind.FAILED, "create", refused.value.code)


# --- a store without compare-and-set -----------------------------------------------------------


@pytest.fixture
def blind(free: Rig, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """The fake tells no revision, as a store without compare-and-set."""
    describe = free.memory._describe
    monkeypatch.setattr(free.memory, "_describe", lambda ref: replace(describe(ref), revision=None))
    return free


def test_without_compare_and_set_a_write_is_read_back_and_the_plan_says_so(blind: Rig) -> None:
    blind.put("prod/db", a="1")
    planned = blind.write("memory://prod/db", password())
    assert "no compare-and-set here: written, then read back and verified" in planned.affects
    assert blind.agree(planned).state == "done"
    assert blind.memory.fetched == ["memory://prod/db"]


def test_somebody_elses_write_at_the_same_moment_is_noticed(
    blind: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = blind.memory._put

    def raced(*arguments: object) -> object:
        written = put(*arguments)  # type: ignore[arg-type]  # passed on
        monkeypatch.setattr(blind.memory, "_put", put)
        blind.put("app/db", password="of somebody else")
        return written

    monkeypatch.setattr(blind.memory, "_put", raced)
    with pytest.raises(ConflictError):
        blind.write(T, password())


def test_a_lost_reply_is_said_and_stays_open_in_the_journal(free: Rig) -> None:
    free.put("app/db", a="1")
    put = free.memory._put

    def lost(*arguments: object) -> object:
        put(*arguments)  # type: ignore[arg-type]  # passed on
        raise OutcomeUnknownError

    free.memory._put = lost  # type: ignore[method-assign, assignment]  # the fault
    with pytest.raises(OutcomeUnknownError):
        free.write(T, password())
    assert free.memory._held["app/db"].current == 2
    assert free.events()[-1].code == "OUTCOME_UNKNOWN"
