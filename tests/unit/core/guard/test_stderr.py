import io
import logging
import random
import re

import pytest

from mcp_server.core.guard import Guard, GuardedStream, guarded_text

VALUE = b"Zk3vQ9xT1mB7rW5yLp0cDf2H"
_NOTICE = re.compile(rb"Withheld: [a-z ]+\. Incident [0-9a-f]{8}\.")


def _stream() -> tuple[GuardedStream, io.BytesIO]:
    guard, sink = Guard(), io.BytesIO()
    assert guard.register(VALUE)
    return GuardedStream(guard, sink), sink


def test_ordinary_lines_pass_unchanged() -> None:
    stream, sink = _stream()
    stream.write(b"one\ntwo\n")
    assert sink.getvalue() == b"one\ntwo\n"


def test_a_line_with_a_value_is_replaced_and_its_neighbours_stay() -> None:
    stream, sink = _stream()
    stream.write(b"before\ntoken=" + VALUE + b" x\nafter\n")
    lines = sink.getvalue().splitlines()
    assert (lines[0], lines[2]) == (b"before", b"after")
    assert _NOTICE.fullmatch(lines[1])


@pytest.mark.parametrize("cut", range(1, 24))
def test_a_value_split_over_two_writes_is_found(cut: int) -> None:
    stream, sink = _stream()
    stream.write(b"token=" + VALUE[:cut])
    stream.write(VALUE[cut:] + b"\n")
    assert _NOTICE.search(sink.getvalue())
    assert VALUE[:6] not in sink.getvalue()


@pytest.mark.parametrize("seed", range(20))
def test_at_most_five_characters_leave_however_a_value_is_written_and_flushed(seed: int) -> None:
    source = random.Random(seed)  # noqa: S311 - reproducible
    stream, sink = _stream()
    rest = b"log " + VALUE + b" end\n"
    while rest:
        size = source.randrange(1, 6)
        stream.write(rest[:size])
        stream.flush()
        rest = rest[size:]
    assert _NOTICE.search(sink.getvalue())
    shown = b"".join(_NOTICE.split(sink.getvalue()))
    assert not any(VALUE[at : at + 6] in shown for at in range(19))


def test_a_value_over_two_lines_is_found() -> None:
    stream, sink = _stream()
    stream.write(VALUE[:5] + b"\n" + VALUE[5:9] + b"\n")
    assert _NOTICE.search(sink.getvalue())


def test_an_unfinished_line_waits_for_flush() -> None:
    stream, sink = _stream()
    stream.write(b"no end")
    assert sink.getvalue() == b""
    stream.flush()
    assert sink.getvalue() == b"no end"


def test_an_endless_line_is_written_in_bounded_pieces() -> None:
    stream, sink = _stream()
    for _ in range(200):
        stream.write(b"endless " * 128)
    assert len(sink.getvalue()) >= 128 << 10


def test_logging_through_the_text_stream_is_guarded() -> None:
    guard, sink = Guard(), io.BytesIO()
    guard.register(VALUE)
    stream = guarded_text(guard, sink)
    handler = logging.StreamHandler(stream)
    log = logging.getLogger("tests.guard.stderr")
    log.addHandler(handler)
    log.propagate = False
    log.error("connecting")
    log.error("failed with %s", VALUE.decode())
    log.error("broken \ud800 text")
    lines = sink.getvalue().splitlines()
    assert lines[0] == b"connecting"
    assert _NOTICE.fullmatch(lines[1])
    assert lines[2] == b"broken \\ud800 text"


def test_the_binary_stream_beneath_the_text_is_guarded_too() -> None:
    guard, sink = Guard(), io.BytesIO()
    guard.register(VALUE)
    stream = guarded_text(guard, sink)
    stream.buffer.write(VALUE + b"\n")
    assert _NOTICE.fullmatch(sink.getvalue().strip())


def test_an_unfinished_text_is_shown_on_flush_and_on_close() -> None:
    sink = io.BytesIO()
    stream = guarded_text(Guard(), sink)
    stream.write("no end")
    stream.flush()
    assert sink.getvalue() == b"no end"


def test_a_child_cannot_inherit_the_stream_beneath() -> None:
    stream, _ = _stream()
    with pytest.raises(io.UnsupportedOperation):
        stream.fileno()
