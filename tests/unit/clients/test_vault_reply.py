"""The reader of HTTP replies: what it takes, what it refuses, and that no byte is lost between."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.clients.vault._reply import (
    Inbox,
    MalformedError,
    RawReply,
    TooLargeError,
    read_reply,
)

MAX_BODY = 1_000
OK = b"HTTP/1.1 200 OK\r\n"
JSON = b"Content-Type: application/json\r\n"
LENGTH = b"Content-Length: 2\r\n\r\nok"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


class Pieces:
    """A socket whose ``recv`` gives one piece after the other, then the end."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    def settimeout(self, _seconds: float) -> None: ...

    def recv(self, _most: int) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(b"".join(self._pieces))


def inbox_of(*pieces: bytes) -> Inbox:
    inbox = Inbox(cast("socket.socket", Pieces(*pieces)))
    inbox.deadline = time.monotonic() + 60
    return inbox


def read(*pieces: bytes) -> RawReply:
    return read_reply(inbox_of(*pieces), MAX_BODY)


TAKEN = {
    "a length": (OK + JSON + LENGTH, RawReply(200, "application/json", b"ok", keeps=True)),
    "no reason": (b"HTTP/1.1 200\r\n" + LENGTH, RawReply(200, "", b"ok", keeps=True)),
    "parameters and capitals of a type": (
        OK + b"content-TYPE:Application/JSON; charset=utf-8\r\n" + LENGTH,
        RawReply(200, "application/json", b"ok", keeps=True),
    ),
    "spaces around a length": (
        OK + b"Content-Length: \t2 \r\n\r\nok",
        RawReply(200, "", b"ok", keeps=True),
    ),
    "chunks": (
        OK + CHUNKED + b"1\r\no\r\n1;name=value\r\nk\r\n0\r\nTrailer: x\r\n\r\n",
        RawReply(200, "", b"ok", keeps=True),
    ),
    "no body": (b"HTTP/1.1 204 No Content\r\n\r\n", RawReply(204, "", b"", keeps=True)),
    "interim replies": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK + LENGTH,
        RawReply(200, "", b"ok", keeps=True),
    ),
    "an end that is the stream's": (OK + b"\r\nok", RawReply(200, "", b"ok", keeps=False)),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n" + LENGTH, RawReply(200, "", b"ok", keeps=False)),
    "a connection about to close": (
        OK + b"Connection: keep-alive\r\nconnection: x, Close\r\n" + LENGTH,
        RawReply(200, "", b"ok", keeps=False),
    ),
    "bytes that nobody asked for": (OK + LENGTH + b"H", RawReply(200, "", b"ok", keeps=False)),
}


@pytest.mark.parametrize("case", TAKEN)
def test_a_good_reply_is_read_to_its_end_however_it_is_cut(case: str) -> None:
    sent, expected = TAKEN[case]
    assert read(sent) == expected
    for cut in range(1, len(sent)):
        assert read(sent[:cut], sent[cut:]).body == expected.body, cut
    assert read(*(bytes([byte]) for byte in sent)).body == expected.body


# The library takes 103 for the last word, reads one Connection header of two, and does not look
# at what follows.
DIFFERS = {"interim replies", "a connection about to close", "bytes that nobody asked for"}


@pytest.mark.parametrize("case", sorted(TAKEN.keys() - DIFFERS))
def test_it_is_what_the_standard_library_reads(case: str) -> None:
    sent, expected = TAKEN[case]
    response = HTTPResponse(cast("socket.socket", Pieces(sent)))
    response.begin()
    known_type = response.headers.get_content_type() if "Content-Type" in response.headers else ""
    body = response.read()
    assert (response.status, known_type, body, not response.will_close) == (
        expected.status,
        expected.content_type,
        expected.body,
        expected.keeps,
    )


@pytest.mark.parametrize("case", [case for case in TAKEN if "stream's" not in case])
def test_a_reply_that_ends_early_is_no_reply(case: str) -> None:
    sent = TAKEN[case][0].removesuffix(b"H") if "nobody" in case else TAKEN[case][0]
    for cut in range(1, len(sent)):
        with pytest.raises(MalformedError):
            read(sent[:cut])


def test_a_stream_that_ends_before_the_reply_is_a_lost_connection() -> None:
    with pytest.raises(ConnectionResetError):
        read()


REFUSED = {
    "other protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "newer HTTP": b"HTTP/2.0 200 OK\r\n" + LENGTH,
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n" + LENGTH,
    "a status that is none": b"HTTP/1.1 099 OK\r\n" + LENGTH,
    "a line feed alone": OK.replace(b"\r", b"") + LENGTH,
    "a line feed inside a reason": b"HTTP/1.1 200 O\nK\r\n" + LENGTH,
    "a folded header": OK + b"X-A: b\r\n c\r\n" + LENGTH,
    "a nameless header": OK + b": b\r\n" + LENGTH,
    "a space before the colon": OK + b"Content-Length : 2\r\n\r\nok",
    "no colon": OK + b"hello\r\n" + LENGTH,
    "two lengths": OK + b"Content-Length: 3\r\n" + LENGTH,
    "a negative length": OK + b"Content-Length: -2\r\n\r\nok",
    "a length with a sign": OK + b"Content-Length: +2\r\n\r\nok",
    "a length in other digits": OK + "Content-Length: ٢\r\n\r\nok".encode(),
    "a length beside chunks": OK + b"Content-Length: 2\r\n" + CHUNKED + b"0\r\n\r\n",
    "an unknown coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunks twice": OK + b"Transfer-Encoding: chunked\r\n" + CHUNKED + b"0\r\n\r\n",
    "a chunk size that is none": OK + CHUNKED + b"zz\r\n",
    "a chunk size with a prefix": OK + CHUNKED + b"0x2\r\nok\r\n0\r\n\r\n",
    "a negative chunk size": OK + CHUNKED + b"-2\r\nok\r\n0\r\n\r\n",
    "a chunk that is longer than said": OK + CHUNKED + b"1\r\nok\r\n0\r\n\r\n",
    "endless headers": OK + b"X-A: b\r\n" * 101 + LENGTH,
    "a huge header": OK + b"X-A: " + b"b" * 40_000 + b"\r\n" + LENGTH,
    "endless trailers": OK + CHUNKED + b"0\r\n" + b"X-A: b\r\n" * 101 + b"\r\n",
}


@pytest.mark.parametrize("case", REFUSED)
def test_anything_else_is_refused_however_it_is_cut(case: str) -> None:
    sent = REFUSED[case]
    for cut in (*range(min(len(sent), 200)), len(sent)):
        with pytest.raises(MalformedError):
            read(*filter(None, (sent[:cut], sent[cut:])))


ENDLESS: dict[str, Callable[[], Iterator[bytes]]] = {
    "an announced length": lambda: iter([OK + b"Content-Length: 1001\r\n\r\n"]),
    "an announced chunk": lambda: iter([OK + CHUNKED + b"3e9\r\n"]),
    "many chunks": lambda: iter([OK + CHUNKED, *([b"1f4\r\n" + b"x" * 500 + b"\r\n"] * 3)]),
    "no end": lambda: iter([OK + b"\r\n", *([b"x" * 500] * 3)]),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_a_body_over_the_limit_is_not_taken(case: str) -> None:
    with pytest.raises(TooLargeError):
        read(*ENDLESS[case]())


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(1, 9)))
def test_two_replies_on_one_stream_are_each_read_whole(
    chunks: list[bytes], cuts: list[int]
) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    sent = OK + CHUNKED + body + OK + JSON + LENGTH
    pieces = []
    for size in cuts:
        pieces.append(sent[:size])
        sent = sent[size:]
    inbox = inbox_of(*filter(None, [*pieces, sent]))

    assert read_reply(inbox, MAX_BODY).body == b"".join(chunks)
    assert read_reply(inbox, MAX_BODY) == RawReply(200, "application/json", b"ok", keeps=True)
    assert len(inbox) == 0


def test_nothing_is_received_after_the_deadline() -> None:
    inbox = inbox_of(OK + LENGTH)
    inbox.deadline = time.monotonic() - 1
    with pytest.raises(TimeoutError):
        read_reply(inbox, MAX_BODY)
