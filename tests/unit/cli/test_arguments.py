"""Parsing: what is accepted, and that nothing typed comes back."""

from __future__ import annotations

import argparse

import pytest

from mcp_server.cli.arguments import Parser, whole_number
from mcp_server.cli.failures import UsageError
from mcp_server.cli.source_syntax import key_request
from mcp_server.core.errors import BadReferenceError
from mcp_server.core.generate import Recipe
from mcp_server.core.requests import KeyRequest

CANARY = "canary-Ty6R-mW2p"


def _parser() -> Parser:
    parser = Parser("demo", "Demonstrate.")
    parser.add_argument("target")
    parser.add_argument("--mode", choices=["one", "two"])
    parser.add_argument("-n", type=whole_number)
    return parser


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "The following arguments are required: target."),
        (["a", CANARY], "There are arguments that this verb does not know."),
        (["a", f"--{CANARY}"], "There are arguments that this verb does not know."),
        (["a", f"--mod={CANARY}"], "There are arguments that this verb does not know."),
        (["a", "--mode", CANARY], "--mode: it takes one, two."),
        (["a", "--mode"], "--mode: expected one argument."),
        (["a", "--json=x" + CANARY], "--json: that is not one of its choices."),
        (["a", "-n", CANARY], "-n: it takes a whole number from 1 to 100000."),
        (["a", "-n", "0"], "-n: it takes a whole number from 1 to 100000."),
        (["a", "-n", "٣"], "-n: it takes a whole number from 1 to 100000."),
    ],
)
def test_a_mistake_is_named_in_our_own_words(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        _parser().parse_args(arguments)
    assert raised.value.message == message
    assert raised.value.next_step == "See `secrets demo --help`."


def test_a_whole_number_is_bounded() -> None:
    assert whole_number("100000") == 100_000
    with pytest.raises(argparse.ArgumentTypeError):
        whole_number("100001")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p=generate:password", KeyRequest("p", generate=Recipe.PASSWORD)),
        ("p=generate:token:48", KeyRequest("p", generate=Recipe.TOKEN, length=48)),
        ("p=copy:vault://s/a?version=3#k", KeyRequest("p", copy="vault://s/a?version=3#k")),
        ("p=file:./tls.crt", KeyRequest("p", file="./tls.crt")),
        ("p=file:a.json#/db/0", KeyRequest("p", file="a.json", part="/db/0")),
        ("p=env:DB_PASSWORD", KeyRequest("p", env="DB_PASSWORD")),
        ("p=version:3", KeyRequest("p", version="3")),
        ("generate:uuid", KeyRequest("own", generate=Recipe.UUID)),
        ("copy:vault://s/a?version=3#k", KeyRequest("own", copy="vault://s/a?version=3#k")),
        ("tls.crt=file:a:b", KeyRequest("tls.crt", file="a:b")),
    ],
)
def test_each_source_has_its_form(text: str, expected: KeyRequest) -> None:
    assert key_request(text, "local://app/db#own") == expected


@pytest.mark.parametrize(
    "text",
    [
        CANARY,
        f"p={CANARY}",
        f"p=Generate:{CANARY}",
        f"=generate:{CANARY}",
        f"p=generate:{CANARY}",
        f"p=generate:password:{CANARY}",
        "p=generate:password:١٢",
        "p=copy:",
        "p=",
        "",
    ],
)
def test_what_is_no_source_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        key_request(text, "local://app/db#own")
    assert CANARY not in str(raised.value)


def test_a_source_alone_needs_a_target_with_a_key() -> None:
    for target in ("local://app/db", "@db"):
        with pytest.raises(UsageError):
            key_request("generate:uuid", target)
    with pytest.raises(BadReferenceError):
        key_request("generate:uuid", "nonsense")
