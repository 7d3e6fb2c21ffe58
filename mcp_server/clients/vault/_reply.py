"""One HTTP/1.1 reply, read strictly and until a moment in time.

The standard library reads headers with its parser for e-mail: half of what a request costs this
process, and lenient with what a server should not send. Here a bare line feed, a folded or
nameless header, two lengths, or a length beside chunks end the exchange.

Source: RFC 9112 (https://www.rfc-editor.org/rfc/rfc9112), sections 4 to 7 and 9.3.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Inbox", "MalformedError", "RawReply", "TooLargeError", "read_reply", "remaining"]

_CHUNK = 64 * 1024
_MAX_HEAD = 32 * 1024
_MAX_FIELDS = 100
_MAX_LINE = 1024
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n]*)?")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;[^\r\n]*)?\r\n")
_INTERIM = range(100, 200)
_BODILESS = frozenset({204, 304})


class MalformedError(Exception):
    """A reply is not HTTP, or ends early."""


class TooLargeError(Exception):
    """A reply is longer than allowed."""


@dataclass(frozen=True, slots=True)
class RawReply:
    """One HTTP reply, read to its end.

    Attributes:
        content_type: In lower case, without parameters; empty when the server gave none.
        keeps: Whether the connection can carry another exchange.
    """

    status: int
    content_type: str
    body: bytes = field(repr=False)
    keeps: bool = False


class Inbox:
    """What came in on a socket and was not read yet."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._bytes = bytearray()
        self.deadline = 0.0
        """``time.monotonic()`` after which nothing more is received."""

    def __len__(self) -> int:
        return len(self._bytes)

    def through(self, mark: bytes, most: int) -> bytes:
        """Everything up to the end of ``mark``.

        Raises:
            MalformedError: It is not among the next ``most`` bytes, or the stream ends.
        """
        seen = 0
        while (at := self._bytes.find(mark, seen, most)) < 0:
            if len(self._bytes) >= most:
                raise MalformedError
            seen = max(0, len(self._bytes) - len(mark) + 1)
            self._more()
        return self._take(at + len(mark))

    def exactly(self, count: int) -> bytes:
        """The next ``count`` bytes.

        Raises:
            MalformedError: The stream ends before.
        """
        while len(self._bytes) < count:
            self._more()
        return self._take(count)

    def rest(self, most: int) -> bytes:
        """Everything until the stream ends.

        Raises:
            TooLargeError: That is more than ``most`` bytes.
        """
        while self.receive():
            if len(self._bytes) > most:
                raise TooLargeError
        return self._take(len(self._bytes))

    def receive(self) -> bool:
        """Wait for more; false at the end of the stream."""
        self._sock.settimeout(remaining(self.deadline))
        received = self._sock.recv(_CHUNK)
        self._bytes += received
        return bool(received)

    def _more(self) -> None:
        if not self.receive():
            raise MalformedError

    def _take(self, count: int) -> bytes:
        taken = bytes(self._bytes[:count])
        del self._bytes[:count]
        return taken


def read_reply(inbox: Inbox, max_body: int) -> RawReply:
    """Read one reply to a request other than HEAD, skipping interim ones.

    Args:
        inbox: The stream, with its deadline set.
        max_body: Bytes of a body that are read at most.

    Raises:
        OSError: ``ConnectionResetError`` also when the stream ends before the reply begins.
        MalformedError: The reply is not HTTP, or ends early.
        TooLargeError: The body is longer than ``max_body``.
    """
    if not inbox and not inbox.receive():
        raise ConnectionResetError
    minor, status, headers = _read_head(inbox)
    while status in _INTERIM:
        minor, status, headers = _read_head(inbox)
    body, delimited = _read_body(inbox, status, headers, max_body)
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    keeps = delimited and minor == b"1" and not _closes(headers) and not inbox
    return RawReply(status, kind.decode("latin-1"), body, keeps)


def remaining(deadline: float) -> float:
    """Seconds until a moment of ``time.monotonic()``.

    Raises:
        TimeoutError: There are none.
    """
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _read_head(inbox: Inbox) -> tuple[bytes, int, dict[bytes, bytes]]:
    start, *fields = inbox.through(b"\r\n\r\n", _MAX_HEAD)[:-4].split(b"\r\n")
    match = _STATUS_LINE.fullmatch(start)
    if match is None or len(fields) > _MAX_FIELDS:
        raise MalformedError
    headers: dict[bytes, bytes] = {}
    for line in fields:
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name):
            raise MalformedError
        key, value = name.lower(), value.strip(b" \t")
        headers[key] = headers[key] + b", " + value if key in headers else value
    return match[1], int(match[2]), headers


def _closes(headers: Mapping[bytes, bytes]) -> bool:
    options = headers.get(b"connection", b"").lower().split(b",")
    return any(option.strip() == b"close" for option in options)


def _read_body(
    inbox: Inbox, status: int, headers: Mapping[bytes, bytes], max_body: int
) -> tuple[bytes, bool]:
    """The body, and whether it had an end of its own, other than that of the stream."""
    coding, length = headers.get(b"transfer-encoding"), headers.get(b"content-length")
    if status in _BODILESS:
        return b"", True
    if coding is None and length is None:
        return inbox.rest(max_body), False
    if length is None and coding is not None and coding.lower() == b"chunked":
        return _read_chunks(inbox, max_body), True
    if coding is not None or length is None or not _LENGTH.fullmatch(length):
        raise MalformedError
    if int(length) > max_body:
        raise TooLargeError
    return inbox.exactly(int(length)), True


def _read_chunks(inbox: Inbox, max_body: int) -> bytes:
    body = bytearray()
    while size := _chunk_size(inbox.through(b"\r\n", _MAX_LINE)):
        if len(body) + size > max_body:
            raise TooLargeError
        body += inbox.exactly(size)
        if inbox.exactly(2) != b"\r\n":
            raise MalformedError
    for _ in range(_MAX_FIELDS):
        if inbox.through(b"\r\n", _MAX_LINE) == b"\r\n":
            return bytes(body)
    raise MalformedError


def _chunk_size(line: bytes) -> int:
    match = _CHUNK_SIZE.fullmatch(line)
    if match is None:
        raise MalformedError
    return int(match[1], 16)
