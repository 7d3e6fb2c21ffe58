"""One keep-alive connection with a deadline that a dripping server cannot stretch.

``http.client`` has a time-out per ``recv``, a switch (``debuglevel``) that prints headers to
standard output, and a slow parser. So the request is written here; ``_reply`` reads its reply.
"""

from __future__ import annotations

import ipaddress
import select
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from mcp_server.clients.vault._reply import Inbox, RawReply, read_reply, remaining
from mcp_server.clients.vault._settings import Origin, check_peer

__all__ = ["Connection", "RawRequest", "connect"]

_TLS_RECORD = 16 * 1024


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


class Connection:
    """A socket that carries one exchange at a time."""

    def __init__(self, sock: socket.socket, authority: str) -> None:
        self._sock = sock
        self._authority = authority
        self._inbox = Inbox(sock)
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
        self._inbox.deadline = deadline

    def receive(self, max_body: int) -> RawReply:
        """Read the reply to what was posted.

        Args:
            max_body: Bytes of a reply that are read at most.

        Raises:
            OSError: As ``post``.
            MalformedError: The reply is not HTTP, or ends early.
            TooLargeError: The reply is longer than ``max_body``.
        """
        reply = read_reply(self._inbox, max_body)
        self.reusable = reply.keeps
        self.idle_since = time.monotonic()
        return reply

    def _send(self, content: bytes, deadline: float) -> None:
        # In parts: over TLS each part of a large body would have the whole time-out.
        for start in range(0, len(content), _TLS_RECORD):
            self._sock.settimeout(remaining(deadline))
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


def _serialize(request: RawRequest, authority: str) -> bytes:
    body = request.body or b""
    lines = [f"{request.method} {request.target} HTTP/1.1", f"Host: {authority}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    if request.body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "\r\n"]).encode("ascii") + body
