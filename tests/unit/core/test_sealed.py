"""A sealed value shows nothing, in none of the ways that Python shows things."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle
import pprint
import sys
import traceback
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.core import sealed
from mcp_server.core.sealed import Sealed, _open, on_seal, seal

VALUE = b"canary-sealed-5e6f7a8b"
TEXT = VALUE.decode()


@dataclasses.dataclass
class Holder:
    value: object


@pytest.fixture
def watched() -> Iterator[list[tuple[bytes, int | None]]]:
    """What a watcher sees; the watcher leaves with the test."""
    seen: list[tuple[bytes, int | None]] = []
    before = list(sealed._watchers)
    on_seal(lambda payload, bits: seen.append((payload, bits)))
    yield seen
    sealed._watchers[:] = before


SHOWN: dict[str, Callable[[object], str]] = {
    "repr": repr,
    "str": str,
    "format": format,
    "f-string": lambda v: f"{v} {v!r} {v!s} {v!a} {v:>40}",
    "percent": lambda v: "%s %r" % (v, v),  # noqa: UP031 - the old way is a way
    "str.format": "{0} {0!r}".format,
    "in a list": lambda v: str([v]),
    "in a dict": lambda v: repr({"k": v}),
    "in a dataclass": lambda v: repr(Holder(v)),
    "pprint": lambda v: pprint.pformat({"k": [v]}),
    "json default": lambda v: json.dumps({"k": v}, default=repr),
    "exception": lambda v: "".join(traceback.format_exception(ValueError(v))),
}

RAISES: dict[str, Callable[..., object]] = {
    "pickle": pickle.dumps,
    "old pickle": lambda v: pickle.dumps(v, protocol=0),
    "copy": copy.copy,
    "deep copy": copy.deepcopy,
    "asdict": lambda v: dataclasses.asdict(Holder(v)),
    "state": lambda v: v.__getstate__(),
    "json": json.dumps,
    "bytes": bytes,
    "length": len,
    "iteration": list,
    "index": lambda v: v[0],
    "membership": lambda v: b"c" in v,
    "order": lambda v: v < Sealed(b""),
    "concatenation": lambda v: v + b"",
    "join": lambda v: b"".join([v]),
    "int": int,
    "memoryview": memoryview,
    "vars": vars,
    "attribute": lambda v: v.payload,
}


@pytest.mark.parametrize("show", SHOWN.values(), ids=SHOWN.keys())
def test_no_text_shows_the_value(show: Callable[[object], str]) -> None:
    assert TEXT not in show(seal(VALUE))
    assert TEXT in show(TEXT)  # the way does show what it can


@pytest.mark.parametrize("take", RAISES.values(), ids=RAISES.keys())
def test_what_cannot_be_shown_raises_without_the_value(take: Callable[..., object]) -> None:
    with pytest.raises((TypeError, AttributeError)) as refusal:
        take(seal(VALUE))

    assert TEXT not in "".join(traceback.format_exception(refusal.value))


def test_a_log_line_shows_nothing(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("%s %r", seal(VALUE), seal(VALUE), extra={"v": seal(VALUE)})

    assert "<sealed> <sealed>" in caplog.text
    assert TEXT not in caplog.text


def test_a_traceback_with_its_locals_shows_nothing() -> None:
    def fails(value: Sealed) -> None:
        raise ValueError(value)

    with pytest.raises(ValueError, match="sealed") as raised:
        fails(seal(VALUE))

    told = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
    text = "".join(told.format())
    assert "<sealed>" in text
    assert "canary" not in text.replace("VALUE", "")


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_nothing_tells_whether_two_values_are_equal_or_how_long(a: bytes, b: bytes) -> None:
    first, second, other = Sealed(a), Sealed(a), Sealed(b)

    assert first != second
    assert first != other
    assert first not in {second, other}
    assert first == first  # noqa: PLR0124 - identity is all there is
    assert bool(first)
    assert sys.getsizeof(first) == sys.getsizeof(Sealed(b""))
    assert repr(first) == repr(other)


@given(st.binary())
def test_what_goes_in_comes_out_where_it_may(payload: bytes) -> None:
    assert _open(Sealed(payload)) == payload


def test_watchers_learn_of_a_value_first(watched: list[tuple[bytes, int | None]]) -> None:
    seal(VALUE)
    seal(b"generated", generated_bits=128)

    assert watched == [(VALUE, None), (b"generated", 128)]


def test_without_its_watcher_no_value_is_sealed(watched: list[tuple[bytes, int | None]]) -> None:
    def broken(_payload: bytes, _bits: int | None) -> None:
        raise RuntimeError

    on_seal(broken)

    with pytest.raises(RuntimeError):
        seal(VALUE)
    assert watched == [(VALUE, None)]
