"""YAML and JSON that nobody vouches for: bounded, unambiguous, never echoed."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.core.documents import MAX_BYTES, MAX_DEPTH, load_json, load_yaml, load_yaml_texts
from mcp_server.core.errors import LimitError, SecretsError, SourceError

CANARY = "canary-document-5t7y"
Load = Callable[[bytes], object]
yaml_loaders = pytest.mark.parametrize("load", [load_yaml, load_yaml_texts])


def _says_nothing_more(error: BaseException) -> bool:
    return error.__cause__ is None and (error.__context__ is None or error.__suppress_context__)


BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n".encode()
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@yaml_loaders
@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        b"a: &x 1\nb: *x",
        b"&x a: [*x]",
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b"\n".join(b" " * depth + b"- " for depth in range(0, 80, 2)),
        b"[" + b"x," * 60_000 + b"]",
        b"#" * (MAX_BYTES + 1),
    ],
    ids=["laughs", "alias", "cycle", "deep", "deep lists", "many", "large"],
)
def test_yaml_beyond_its_bounds_is_refused(load: Load, text: bytes) -> None:
    with pytest.raises(LimitError):
        load(text)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b'{"a":' * 100_000,
        b"[" * 2_000_000,
        b" " * (MAX_BYTES + 1),
    ],
)
def test_json_beyond_its_bounds_is_refused(text: bytes) -> None:
    with pytest.raises(LimitError):
        load_json(text)


def test_brackets_in_a_text_are_no_depth() -> None:
    text = "[" * 100 + '\\"{' + "]" * 3
    assert load_json(json.dumps({"a": text}).encode()) == {"a": text}


@pytest.mark.parametrize(
    "text",
    [
        "",
        CANARY,
        f'{{"a": {CANARY}}}',
        f'{{"a": 1, "a": "{CANARY}"}}',
        f'["{CANARY}"',
        "1" * 5000,
        f'{{"x": {{"a": "{CANARY}", "a": 1}}}}',
        f'{{"a": "{CANARY}\n"}}',
    ],
)
def test_json_that_is_none_is_refused_without_an_echo(text: str) -> None:
    with pytest.raises(SourceError) as refused:
        load_json(text.encode())
    assert CANARY not in str(refused.value)
    assert _says_nothing_more(refused.value)


@yaml_loaders
@pytest.mark.parametrize(
    "text",
    [
        f"a: [{CANARY}",
        f"a: {CANARY}\na: 2",
        f"x: {{a: {CANARY}, a: 1}}",
        f"- {{a: {CANARY}, a: 1}}",
        f"--- {CANARY}\n--- 2",
        f"!!python/object/apply:os.system [{CANARY}]",
        f"!!python/name:os.system {CANARY}",
        f"!{CANARY} x",
        "!!int ''",
        "!!float ''",
        f"!!bool {CANARY}",
        f"!!timestamp {CANARY}",
        f"!!binary {CANARY}.",
        f"? [{CANARY}]\n: 1",
        f"%YAML 9.9\n--- {CANARY}",
        "a: \x07",
        "1" * 5000,
    ],
)
def test_yaml_that_is_none_is_refused_without_an_echo(load: Load, text: str) -> None:
    with pytest.raises(SourceError) as refused:
        load(text.encode())
    assert CANARY not in str(refused.value)
    assert _says_nothing_more(refused.value)


@yaml_loaders
@given(st.binary(max_size=60) | st.text("a1:-[]{}&*!|>'\"% \n,?#~.", max_size=40).map(str.encode))
def test_whatever_the_bytes_only_our_own_errors_come_out(load: Load, text: bytes) -> None:
    for each in (load, load_json):
        try:
            each(text)
        except SecretsError as error:
            assert type(error) in {SourceError, LimitError}  # noqa: PT017 - both are right


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(plain)
def test_what_json_wrote_is_read_back(tree: object) -> None:
    assert load_json(json.dumps(tree).encode()) == tree


@given(plain)
def test_what_yaml_wrote_is_read_back(tree: object) -> None:
    text = yaml.safe_dump(tree, allow_unicode=False)
    if "&" not in text:
        assert load_yaml(text.encode()) == tree


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("0123", "0123"),
        ("1.10", "1.10"),
        ("1_000", "1_000"),
        ("0x1F", "0x1F"),
        ("+5", "+5"),
        ("12:30:45", "12:30:45"),
        ("1e3", "1e3"),
        ("yes", "yes"),
        ("Off", "Off"),
        ("True", "True"),
        ("2024-01-01", "2024-01-01"),
        ("5432", 5432),
        ("-7", -7),
        ("2.5", 2.5),
        ("true", True),
        ("'0123'", "0123"),
    ],
)
def test_a_value_in_yaml_keeps_its_text_unless_json_writes_the_same(
    text: str, exact: object
) -> None:
    found = load_yaml_texts(f"a: {text}".encode())
    assert found == {"a": exact}
    assert isinstance(found, dict)
    assert type(found["a"]) is type(exact)
