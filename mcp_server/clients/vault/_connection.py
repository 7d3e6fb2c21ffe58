"""One keep-alive connection with a deadline that a dripping server cannot stretch.

``http.client.HTTPConnection`` has a time-out per ``recv`` and one switch (``debuglevel``) that
prints headers to standard output. So the request is written here and only the standard
library's parser (``http.client.HTTPResponse``) is used for the reply.
"""

from __future__ import annotations

import io
import ipaddress
import select
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPResponse, IncompleteRead
from typing import TYPE_CHECKING, cast

from mcp_server.clients.vault._settings import Origin, check_peer

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Connection", "RawReply", "RawRequest", "TooLargeError", "connect"]

_CHUNK = 64 * 1024
_TLS_RECORD = 16 * 1024


class TooLargeError(Exception):
    """A reply is longer than allowed."""


@dataclass(frozen=True, slots=True)
class RawRequest:
    """One HTTP request.

    Attributes:
        target: Path and query, percent-encoded.
        headers: Checked names and values; one of them is the token.
        repeatable: Sending it twice does no harm.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class RawReply:
    """One HTTP reply, read to its end."""

    status: int
    content_type: str
    body: bytes = field(repr=False)


class Connection:
    """A socket that carries one exchange at a time."""

    def __init__(self, sock: socket.socket, authority: str) -> None:
        self._sock = sock
        self._authority = authority
        self._pending = ("", 0.0)
        self.reusable = True
        self.idle_since = time.monotonic()

    def post(self, request: RawRequest, deadline: float) -> None:
        """Send a request; ``receive`` must follow before the next one.

        Args:
            request: What to send.
            deadline: ``time.monotonic()`` at which the last byte of the reply must have come.

        Raises:
            OSError: Including ``TimeoutError``, ``ConnectionError`` and ``ssl.SSLError``.
        """
        self.reusable = False
        self._send(_serialize(request, self._authority), deadline)
        self._pending = (request.method, deadline)

    def receive(self, max_body: int) -> RawReply:
        """Read the reply to what was posted.

        Args:
            max_body: Bytes of a reply that are read at most.

        Raises:
            OSError: As ``post``.
            http.client.HTTPException: The reply is not HTTP, or ends early.
            TooLargeError: The reply is longer than ``max_body``.
        """
        method, deadline = self._pending
        stream = _DeadlineReader(self._sock, deadline)
        # HTTPResponse asks its socket for makefile() and nothing else.
        response = HTTPResponse(cast("socket.socket", stream), method=method)
        try:
            response.begin()
            body = _read_body(response, max_body)
        finally:
            response.close()
        self.reusable = not response.will_close
        self.idle_since = time.monotonic()
        return RawReply(response.status, response.headers.get_content_type(), body)

    def _send(self, content: bytes, deadline: float) -> None:
        # In parts: over TLS each part of a large body would have the whole time-out.
        for start in range(0, len(content), _TLS_RECORD):
            self._sock.settimeout(_remaining(deadline))
            self._sock.sendall(content[start : start + _TLS_RECORD])

    def is_quiet(self) -> bool:
        """Whether an idle connection still stands: nothing to read, not even its end."""
        poller = select.poll()
        poller.register(self._sock, select.POLLIN)
        return not poller.poll(0)

    def close(self) -> None:
        """Close without a word."""
        self._sock.close()


def connect(origin: Origin, timeout: float, tls: ssl.SSLContext | None) -> Connection:
    """Open a connection; nothing is sent but the TLS handshake.

    Raises:
        OSError: No connection, no time, or no trust in the certificate.
        ConfigError: The name resolved to an address that no store has.
    """
    sock = socket.create_connection((origin.host, origin.port), timeout)
    try:
        check_peer(ipaddress.ip_address(sock.getpeername()[0]), tls=origin.tls)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            sock = tls.wrap_socket(sock, server_hostname=origin.host)
    except BaseException:
        sock.close()
        raise
    return Connection(sock, origin.authority)


class _DeadlineReader(io.RawIOBase):
    """Reads a socket until a moment in time, however slowly the bytes come."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self, _CHUNK)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._sock.settimeout(_remaining(self._deadline))
        return self._sock.recv_into(buffer)


def _remaining(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _serialize(request: RawRequest, authority: str) -> bytes:
    body = request.body or b""
    lines = [f"{request.method} {request.target} HTTP/1.1", f"Host: {authority}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    if request.body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "\r\n"]).encode("ascii") + body


def _read_body(response: HTTPResponse, max_body: int) -> bytes:
    if (response.length or 0) > max_body:
        raise TooLargeError
    body = bytearray()
    while chunk := response.read(_CHUNK):
        body += chunk
        if len(body) > max_body:
            raise TooLargeError
    if response.length:
        # read(amount) of the standard library ends early in silence.
        raise IncompleteRead(b"")
    return bytes(body)
