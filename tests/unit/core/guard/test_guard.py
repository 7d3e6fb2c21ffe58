import base64
import json
import random
import string
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.core.guard import Guard, Metrics, Reason, Verdict
from mcp_server.core.guard import _guard as module
from tests.leaks.corpus import frame, ordinary

VALUE = b"Zk3vQ9xT1mB7rW5yLp0cDf2H"


def _guard(*values: bytes) -> Guard:
    guard = Guard()
    for value in values:
        assert guard.register(value)
    return guard


def _value(seed: int, length: int = 24) -> bytes:
    alphabet = string.ascii_letters + string.digits
    return "".join(random.Random(seed).choices(alphabet, k=length)).encode()  # noqa: S311 - test data


def _armoured(label: str, body: str) -> bytes:
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n".encode()


def test_a_frame_with_a_value_is_blocked_and_one_without_is_clean() -> None:
    guard = _guard(VALUE)
    assert guard.check(frame(VALUE.decode())) == Verdict(Reason.MATCH)
    assert guard.check(frame("nothing here")) == Verdict()
    assert not guard.check(frame("nothing here")).blocked


def test_a_guard_without_values_lets_everything_through() -> None:
    assert not Guard().check(frame(VALUE.decode())).blocked


def test_a_value_below_the_floor_is_not_registered() -> None:
    guard = Guard()
    assert not guard.register(b"password1234")
    assert not guard.register(b"482913")
    assert guard.metrics().values == 0


def test_a_short_generated_value_is_registered_when_its_generator_vouches_for_it() -> None:
    guard = Guard()
    assert guard.register(b"k9Qx7vB3mT8", 65)
    assert guard.check(frame("k9Qx7vB3mT8")).blocked


@given(st.integers(0, 18), st.integers(6, 24))
def test_every_six_characters_of_a_random_value_are_found(start: int, length: int) -> None:
    part = VALUE[start : start + max(6, length)]
    assert _SHARED.check(frame(part.decode())).blocked


_SHARED = _guard(VALUE)


def test_practically_all_runs_of_six_characters_of_random_values_are_found() -> None:
    found = total = 0
    for seed in range(40):
        guard = _guard(_value(seed))
        for at in range(19):
            total += 1
            found += guard.check(b"x=" + _value(seed)[at : at + 6] + b";").blocked
    assert total == 760
    assert found / total > 0.98


def test_four_characters_of_a_value_of_twelve_are_found() -> None:
    guard = _guard(b"k9Qx7vB3mT8w")
    assert all(guard.check(b"k9Qx7vB3mT8w"[at : at + 4]).blocked for at in range(9))


def test_five_characters_of_a_longer_value_are_not_a_match() -> None:
    assert not _guard(VALUE).check(b"user=" + VALUE[3:8] + b" ok").blocked


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_json_in_json_hides_nothing_however_deep(depth: int) -> None:
    value = 'p@ss"w\\ord/+CANARY\n-7391&<x>'
    text = value
    for _ in range(depth):
        text = json.dumps({"value": text})
    assert _guard(value.encode()).check(text.encode()).blocked


def test_a_value_between_other_text_at_any_place_is_found_in_base64() -> None:
    guard = _guard(VALUE)
    for before in range(7):
        blob = base64.b64encode(b"a" * before + VALUE + b":tail")
        assert guard.check(b'{"blob":"' + blob + b'"}').blocked


@pytest.mark.parametrize(
    "value",
    [
        _armoured("CERTIFICATE", "MIIBszCCAVmgAwIBAgIUQk9Qx7vB3mT8w"),
        _armoured("PUBLIC KEY", "MIIBszCCAVmgAwIBAgIUQk9Qx7vB3mT8w"),
        b'{"username": "app", "host": "db-7.internal.example", "password": "hunter2"}',
        b"postgres://app:hunter2@db-7.internal.example:5432/app",
        b"DB_HOST=db-7.internal.example\nDB_PASSWORD=hunter2\n",
    ],
)
def test_public_halves_and_guessable_parts_are_not_registered(value: bytes) -> None:
    guard = Guard()
    guard.register(value)
    shown = "db-7.internal.example app hunter2 MIIBszCCAVmgAwIBAgIU"
    assert not guard.check(frame(shown)).blocked


@pytest.mark.parametrize(
    "value",
    [
        b'{"username":"app","host":"db-7.internal.example","password":"Zk3vQ9xT1mB7rW5y"}',
        b"postgres://app:Zk3vQ9xT1mB7rW5y@db-7.internal.example:5432/app?sslmode=require",
        b"postgres://app:Zk3vQ9%2FxT1mB7rW5y@db-7.internal.example:5432/app",
        b"https://Zk3vQ9xT1mB7rW5y@github.example/team/app.git",
        b"# database\nexport DB_HOST=db-7.internal.example\nDB_PASSWORD='Zk3vQ9xT1mB7rW5y'\n",
    ],
)
def test_only_the_secret_parts_of_a_structured_value_are_searched_for(value: bytes) -> None:
    guard = _guard(value)
    assert guard.check(frame("xT1mB7rW5y")).blocked
    assert not guard.check(frame("db-7.internal.example:5432/app as app")).blocked


def test_a_token_in_place_of_a_password_next_to_other_punctuation_is_found() -> None:
    guard = _guard(b"postgres://app:Zk3v/Q9xT1@mB7rW5y@db.example/app")
    assert guard.check(b"Zk3v/Q9xT1@mB7rW5y").blocked


def test_material_declared_public_passes_and_the_rest_of_the_value_does_not() -> None:
    public, private = _value(1), _value(2)
    for declared_first in (True, False):
        guard = Guard()
        if declared_first:
            guard.declare_public(public)
        guard.register(public + private)
        if not declared_first:
            assert guard.check(public).blocked
            guard.declare_public(public)
        assert not guard.check(frame(public.decode())).blocked
        assert guard.check(frame(private.decode())).blocked


def test_two_public_texts_do_not_join_into_a_third() -> None:
    guard = Guard()
    guard.declare_public(VALUE[:12])
    guard.declare_public(VALUE[12:])
    guard.register(VALUE)
    assert guard.check(VALUE).blocked


def test_a_frame_over_the_bound_is_blocked() -> None:
    guard = Guard(max_frame=1000)
    assert guard.check(b"x" * 1001).reason is Reason.TOO_LARGE
    assert not guard.check(b"x" * 1000).blocked


def test_a_compressed_bomb_is_blocked() -> None:
    bomb = base64.b64encode(zlib.compress(b"\0" * (4 << 20)))
    assert _guard(VALUE).check(frame(bomb.decode())).reason is Reason.TOO_LARGE


@pytest.mark.parametrize(
    "unit", [b"\\", b"%", b"&amp;", b"eJw", b"H4sI", b"\\u00", b"@://", b"A=1\n"]
)
def test_hostile_repetition_is_searched_in_linear_time(unit: bytes) -> None:
    # The test's own time-out is the assertion: anything quadratic takes minutes.
    guard = _guard(VALUE)
    guard.check(unit * (2**20 // len(unit)) + b"\\u0041%41&lt;")
    guard.register(b"x://" + unit * (2**18 // len(unit)))


def test_a_failing_search_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = _guard(VALUE)

    def fail(_: bytes) -> None:
        raise ValueError(VALUE)

    monkeypatch.setattr(module, "views", fail)
    verdict = guard.check(frame("nothing here"))
    assert verdict.reason is Reason.FAILED
    assert VALUE.decode() not in repr(verdict)
    assert guard.locate(b"nothing here") == [(0, 12)]


def test_a_value_that_could_not_be_registered_blocks_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guard = Guard()

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(module, "needles", fail)
    assert not guard.register(VALUE)
    assert guard.check(b"nothing here").reason is Reason.FAILED


def test_the_oldest_values_leave_first_and_are_counted() -> None:
    guard = Guard(budget=1 << 20)
    for seed in range(60):
        guard.register(_value(seed))
        guard.register(_value(0))  # seen again and again, so never the oldest
    figures = guard.metrics()
    assert figures.evicted > 0
    assert figures.values + figures.evicted == 60
    assert figures.needle_bytes <= 1 << 20
    assert guard.check(_value(59)).blocked
    assert guard.check(_value(0)).blocked
    assert not guard.check(_value(1)).blocked


def test_registering_a_value_twice_changes_nothing() -> None:
    guard = _guard(VALUE)
    before = guard.metrics()
    assert guard.register(VALUE)
    assert guard.metrics() == before


def test_every_value_is_found_however_many_follow() -> None:
    guard = Guard()
    for seed in range(150):
        guard.register(_value(seed))
        guard.check(b"in between")
    assert all(guard.check(frame(_value(seed).decode())).blocked for seed in range(150))
    assert len(guard._index.segments()) <= 4


def test_a_large_value_is_bounded_and_its_stretches_are_found() -> None:
    body = base64.encodebytes(random.Random("large").randbytes(700_000))  # noqa: S311 - test data
    value = b"-----BEGIN PRIVATE KEY-----\n" + body + b"-----END PRIVATE KEY-----\n"
    guard = _guard(value)
    assert guard.metrics().needle_bytes < 16 << 20
    for at in range(1000, len(body) - 300, 50_000):
        assert guard.check(frame(body[at : at + 300].decode())).blocked
    assert guard.check(base64.b64encode(value)).blocked


def test_figures_count_frames_bytes_and_blocks() -> None:
    guard = _guard(VALUE)
    guard.check(b"12345")
    guard.check(VALUE)
    figures = guard.metrics()
    assert isinstance(figures, Metrics)
    assert (figures.frames, figures.bytes, figures.blocked) == (2, 5 + len(VALUE), 1)
    assert figures.nanoseconds > 0


def test_nothing_the_guard_shows_of_itself_holds_a_value() -> None:
    guard = _guard(VALUE)
    index = guard._index
    shown = [guard, index, *index.segments(), index.segments()[0].entries[0], guard.metrics()]
    shown += [module.views(VALUE), module.needles(VALUE, None), guard.check(VALUE)]
    for thing in shown:
        text = repr(thing) + str(thing) + f"{thing}"
        assert not _guard(VALUE).check(text.encode()).blocked
    assert _guard(VALUE).check(repr(VALUE).encode()).blocked  # the search would have found one


def test_threads_register_and_check_at_once() -> None:
    guard = Guard()
    start = threading.Barrier(4)

    def work(worker: int) -> bool:
        start.wait()
        found = True
        for step in range(25):
            value = _value(worker * 1000 + step)
            guard.register(value)
            found &= guard.check(frame(value.decode())).blocked
        return found

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
    assert guard.metrics().values == 100


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_can_be_registered_and_checked(data: bytes) -> None:
    guard = Guard()
    registered = guard.register(data)
    verdict = guard.check(data)
    assert verdict.reason in ({Reason.MATCH} if registered else {None, Reason.TOO_LARGE})


@settings(max_examples=100)
@given(st.text(min_size=12, max_size=60), st.text(max_size=20), st.text(max_size=20))
def test_a_registered_text_is_found_in_json_and_base64(value: str, before: str, after: str) -> None:
    data = value.encode("utf-8", "surrogatepass")
    guard = Guard()
    if guard.register(data):
        assert guard.check(json.dumps({"x": [before, value, after]}).encode()).blocked
        assert guard.check(json.dumps(json.dumps(before + value)).encode()).blocked
        assert guard.check(base64.b64encode(data)).blocked


def test_ordinary_output_stays_clean_with_many_values() -> None:
    guard = _guard(*(_value(seed) for seed in range(50)))
    frames = ordinary("unit", 150)
    assert len(frames) == 150
    assert [text for text in frames if guard.check(text).blocked] == []


def test_what_the_other_side_said_itself_is_no_leak_when_it_comes_back() -> None:
    """Else every text that comes back, or does not, answers a hundred thousand guesses."""
    guard = _guard(VALUE)
    piece = VALUE[5:13].decode()
    assert guard.check(frame(piece)).blocked
    guard.hear(frame(f"x%{ord(piece[0]):02x}{piece[1:]}y"))
    assert not guard.check(frame(piece)).blocked
    assert guard.check(frame(VALUE.decode())).blocked


def test_a_guess_that_was_heard_before_the_value_was_known_is_not_answered() -> None:
    guard = Guard()
    guard.hear(VALUE[5:13])
    assert guard.register(VALUE)
    assert not guard.check(frame(VALUE[5:13].decode())).blocked
    assert guard.check(frame(VALUE[12:20].decode())).blocked


def test_only_the_latest_of_what_was_heard_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_HEARD", 64)
    guard = _guard(VALUE)
    guard.hear(VALUE[5:13])
    guard.hear(b"-" * 200)
    assert guard.check(frame(VALUE[5:13].decode())).blocked
