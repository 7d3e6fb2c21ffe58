"""The exits: keyed fingerprints above the floor only, and a comparison for one caller."""

from __future__ import annotations

import ast
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.core import broker, exits
from mcp_server.core.errors import TooWeakError
from mcp_server.core.generate import Recipe
from mcp_server.core.requests import KeyRequest
from mcp_server.core.sealed import seal
from tests.unit.core.rig import Rig

PACKAGE = Path(__file__).parents[3] / "mcp_server"
STRONG = b"tR4-qZ9vK2xW7pLm5"
ONE, OTHER = b"1" * 32, b"2" * 32
WEAK = [b"", b"x", b"hunter2", b"12345678901", b"password1234", b"Passw0rd!2024", b"a" * 100]
Make = Callable[[str], Rig]


def test_a_fingerprint_is_an_hmac_of_64_bits() -> None:
    expected = hmac.new(ONE, STRONG, hashlib.sha256).hexdigest()[:16]
    assert exits.fingerprint(seal(STRONG), ONE) == expected


@given(st.binary(min_size=32, max_size=64))
def test_a_fingerprint_is_no_plain_hash_and_differs_under_another_key(value: bytes) -> None:
    sealed = seal(value, generated_bits=256)
    shown = exits.fingerprint(sealed, ONE)
    assert shown == exits.fingerprint(seal(value, generated_bits=256), ONE)
    assert shown != exits.fingerprint(sealed, OTHER)
    for plain in (hashlib.sha256(value), hashlib.sha1(value, usedforsecurity=False)):
        assert not plain.hexdigest().startswith(shown)


@pytest.mark.parametrize("value", WEAK)
def test_a_guessable_value_has_no_fingerprint(value: bytes) -> None:
    with pytest.raises(TooWeakError):
        exits.fingerprint(seal(value), ONE)
    with pytest.raises(TooWeakError):
        exits.fingerprint(seal(value, generated_bits=63), ONE)


@pytest.mark.parametrize(
    "value",
    [
        b"postgres://app:7391@db.internal.example.com:5432/app",
        b"redis://:hunter2@cache-7.internal.example.com/0",
        b'{"username":"app","host":"db.internal.example.com","password":"7391"}',
        b'{"client":"1c9f2a7be0d84f35","pin":7391}',
        b"CLIENT=1c9f2a7be0d84f35\nPIN=7391\n",
        b'{"url":"postgres://app:7391@db.internal.example.com/app"}',
    ],
)
def test_a_guessable_part_in_a_long_text_that_is_known_has_no_fingerprint(value: bytes) -> None:
    """Whoever knows the rest would try ten thousand whole values (promise P1b)."""
    with pytest.raises(TooWeakError):
        exits.fingerprint(seal(value), ONE)
    strong = value.replace(b'"pin":7391', b'"pin":"7391"').replace(b"7391", STRONG)
    assert exits.fingerprint(seal(strong.replace(b"hunter2", STRONG)), ONE)


def test_fingerprints_of_what_may_be_a_guess_are_limited_in_each_run(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "_MAX_COMPARED", 3)
    rig = make("")
    rig.file("guesses.json", json.dumps({f"k{n}": f"{STRONG.decode()}{n}" for n in range(5)}))
    receipt = rig.agree(rig.write("memory://x", from_file="guesses.json"))
    assert len(receipt.fingerprints) == 3
    assert receipt.weak == ()
    made = rig.agree(rig.write("memory://y", KeyRequest("k", generate=Recipe.TOKEN)))
    assert set(made.fingerprints) == {"k"}


def test_fingerprints_agree_within_a_session_and_not_across(make: Make) -> None:
    def copied(rig: Rig, target: str) -> str:
        rig.put("app/source", a=STRONG.decode(), weak="hunter2")
        request = KeyRequest("a", copy="memory://app/source#a")
        weak = KeyRequest("weak", copy="memory://app/source#weak")
        receipt = rig.agree(rig.write(target, request, weak))
        assert receipt.weak == ("weak",)
        assert set(receipt.fingerprints) == {"a"}
        return receipt.fingerprints["a"]

    one, other = make(""), make("")
    assert copied(one, "memory://x") == copied(one, "memory://y")
    assert copied(one, "memory://z") != copied(other, "memory://x")


@pytest.mark.parametrize(
    ("written", "found", "same"),
    [
        ({"a": b"1"}, {"a": b"1"}, True),
        ({"a": b"1"}, {"a": b"1", "b": b"2"}, True),
        ({}, {"a": b"1"}, True),
        ({"a": b"1"}, {"a": b"2"}, False),
        ({"a": b"1"}, {}, False),
        ({"a": b"1", "b": b"2"}, {"a": b"1"}, False),
    ],
)
def test_what_was_written_is_found_again_or_not(
    written: dict[str, bytes], found: dict[str, bytes], *, same: bool
) -> None:
    sealed = [{key: seal(value) for key, value in each.items()} for each in (written, found)]
    assert exits.same(*sealed) is same


def test_values_are_compared_by_the_executor_alone() -> None:
    callers = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            if text == "exits.same":
                callers.add(path.relative_to(PACKAGE).as_posix())
    assert callers == {"core/executor.py"}
