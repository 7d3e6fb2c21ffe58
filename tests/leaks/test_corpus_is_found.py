"""The leak search itself: each disguise of each value is found, and ordinary output is not."""

import pytest

from mcp_server.core.guard import Guard
from tests.leaks.corpus import STRONG, WEAK, encodings, find, frame, ordinary


def _planted(form: bytes) -> bytes:
    return frame("before " + form.decode("utf-8", "replace") + " after")


def test_every_encoding_of_every_value_is_found_in_a_realistic_frame(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows, cells, missed = [f"{'value':30}{'forms':>6}{'guard':>7}{'oracle':>7}"], 0, []
    for name, value in STRONG.items():
        guard = Guard()
        assert guard.register(value)
        planted = {form: _planted(data) for form, data in encodings(value).items()}
        guarded = {form for form, text in planted.items() if guard.check(text).blocked}
        found = {form for form, text in planted.items() if find(text, value)}
        cells += len(planted)
        missed += [f"{name} / {form}" for form in planted if form not in guarded & found]
        rows.append(f"{name:30}{len(planted):6}{len(guarded):7}{len(found):7}")
    with capsys.disabled():
        print("", *rows, sep="\n")  # noqa: T201 - the matrix belongs into the test's report
    assert cells >= 600
    assert missed == []


@pytest.mark.parametrize("name", STRONG)
def test_neither_guard_nor_oracle_fires_on_ordinary_output(name: str) -> None:
    guard = Guard()
    assert guard.register(STRONG[name])
    frames = ordinary("held out", 40)
    assert len(frames) == 40
    assert [text for text in frames if guard.check(text).blocked] == []
    assert find(b"\n".join(frames), STRONG[name]) == []


@pytest.mark.parametrize("name", WEAK)
def test_a_guessable_value_is_ignored_by_the_guard_and_still_found_by_the_oracle(name: str) -> None:
    guard = Guard()
    assert not guard.register(WEAK[name])
    assert not guard.check(frame(WEAK[name].decode())).blocked
    assert "raw" in find(frame(WEAK[name].decode()), WEAK[name])


def test_the_oracle_finds_a_value_that_another_tool_wrote() -> None:
    # Forms made by hand, so that the oracle is not only checked against its own encoder.
    value = b"Zk3vQ9xT1mB7rW5y"
    assert find(b'{"data": "' + b"WmszdlE5eFQxbUI3clc1eQ==" + b'"}', value)
    assert find(b"5a6b337651397854316d423772573579", value)
    assert find(b"00000000: 5a6b 3376 5139 7854 316d 4237 7257 3579  Zk3vQ9xT", value)
    assert find(rb"\"Zk3v\\u0051" rb"9xT1mB7rW5y\"", value)
    assert find(b"y5Wr7Bm1Tx9Qv3kZ", value)
    assert not find(b"Zk3vQ then something else", value)


def test_a_frame_of_another_value_is_not_taken_for_this_one() -> None:
    first, second = STRONG["random 24"], STRONG["random 32 hex"]
    guard = Guard()
    guard.register(first)
    others = [
        form for form, data in encodings(second).items() if guard.check(_planted(data)).blocked
    ]
    assert others == []
    assert find(_planted(second), first) == []
