import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.core.guard import Guard, StreamFilter
from tests.leaks.corpus import STRONG, encodings, find

VALUE = b"Zk3vQ9xT1mB7rW5yLp0cDf2H"
# What the filter leaves to Guard.check, as its docstring says.
_NOT_COVERED = {"gzip and base64", "zlib and base64", "full width"}
_LARGE = {"64 KB"}


def _guard(value: bytes = VALUE) -> Guard:
    guard = Guard()
    assert guard.register(value)
    return guard


def _filtered(guard: Guard, data: bytes, sizes: list[int]) -> bytes:
    stream, output, at = StreamFilter(guard), b"", 0
    for size in sizes:
        output += stream.feed(data[at : at + size])
        at += size
    return output + stream.feed(data[at:]) + stream.flush()


def test_a_value_is_replaced_by_the_marker_and_the_rest_stays() -> None:
    data = b"user=app\npassword=" + VALUE + b"\nready\n"
    expected = b"user=app\npassword=[secret]\nready\n"
    assert _filtered(_guard(), data, []) == expected
    assert _filtered(_guard(), data, [1] * len(data)) == expected


@given(st.lists(st.integers(0, 40), max_size=40))
def test_how_the_stream_is_cut_makes_no_difference(sizes: list[int]) -> None:
    data = b"x" * 30 + b" a=" + VALUE + b" b=" + VALUE[:9] + b"\n" + b"text " * 150 + VALUE + b"."
    assert _filtered(_SHARED, data, sizes) == _filtered(_SHARED, data, [])


_SHARED = _guard()


@given(st.binary(max_size=3000), st.lists(st.integers(1, 500), max_size=10))
def test_bytes_without_a_value_pass_unchanged(data: bytes, sizes: list[int]) -> None:
    assert _filtered(_SHARED, data, sizes) == data


@pytest.mark.parametrize("name", sorted(set(STRONG) - _LARGE))
@pytest.mark.parametrize("size", [7, 100_000])
def test_every_covered_encoding_is_removed(name: str, size: int) -> None:
    value = STRONG[name]
    guard = _guard(value)
    skipped = _NOT_COVERED if value.isascii() else _NOT_COVERED | {"upper case"}
    forms = {k: v for k, v in encodings(value).items() if k not in skipped}
    assert len(forms) > 45
    left = []
    for form, data in forms.items():
        text = b"line one\nvalue: " + data + b" \nlast line\n"
        output = _filtered(guard, text, [size] * (len(text) // size))
        assert b"[secret]" in output, form
        assert output.endswith(b"line\n"), form
        if find(output, value):
            left.append(form)
    assert left == []


def test_idle_gives_a_prompt_at_once_and_a_value_after_it_is_still_found() -> None:
    stream = StreamFilter(_guard())
    assert stream.feed(b"Password: ") == b""
    assert stream.idle() == b"Password: "
    stream.feed(VALUE[:5])
    assert stream.idle() == VALUE[:5]
    stream.feed(VALUE[5:] + b" done")
    assert stream.idle() == b"[secret] done"


@pytest.mark.parametrize("seed", range(20))
def test_no_six_characters_pass_wherever_the_writer_pauses(seed: int) -> None:
    source = random.Random(seed)  # noqa: S311 - reproducible
    stream, output, rest = StreamFilter(_guard()), b"", b"prompt> " + VALUE + b" end\n"
    while rest:
        size = source.randrange(1, 9)
        output += stream.feed(rest[:size])
        output += stream.idle() if source.random() < 0.5 else b""
        rest = rest[size:]
    output += stream.flush()
    assert not any(VALUE[at : at + 6] in output for at in range(19))
    assert output.startswith(b"prompt> ")
    assert output.endswith(b" end\n")


def test_what_is_held_stays_bounded() -> None:
    stream = StreamFilter(_guard())
    given_out = sum(len(stream.feed(b"endless" * 100)) for _ in range(100))
    assert 70_000 - given_out <= 512


def test_a_long_secret_gives_few_markers() -> None:
    value = STRONG["64 KB"]
    output = _filtered(_guard(value), b"key:\n" + value + b"done\n", [4096] * 17)
    assert output.endswith(b"done\n")
    assert len(output) < len(value) // 20
    assert find(output, value) == []


def test_a_broken_guard_lets_nothing_through(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = _guard()
    monkeypatch.setattr(guard, "_broken", True)
    assert _filtered(guard, b"anything at all", []) == b"[secret]"
