"""A bounded pool of keep-alive connections to one server, and what can go wrong on the wire."""

from __future__ import annotations

import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from mcp_server.clients.vault._connection import Connection, RawRequest, connect
from mcp_server.clients.vault._reply import MalformedError, RawReply, TooLargeError
from mcp_server.clients.vault._settings import VaultSettings, read_origin
from mcp_server.core.errors import (
    ConfigError,
    LimitError,
    OutcomeUnknownError,
    ProtocolError,
    StoreError,
    StoreTimeoutError,
    UnreachableError,
)

__all__ = ["Transport"]

_MAX_IDLE = 60.0  # seconds; below the five minutes after which Vault closes an idle connection


class _GoneError(Exception):
    """The server closed the connection before its reply was complete."""


class Transport:
    """Sends requests to the configured address and nowhere else. Safe to share among threads.

    A reply of any status but a redirect is returned as it came. A redirect is never followed:
    whoever may answer for the store could otherwise collect the token.
    """

    def __init__(self, settings: VaultSettings) -> None:
        self._settings = settings
        self._origin = read_origin(settings.address)
        self._tls = _tls_context(settings) if self._origin.tls else None
        self._slots = threading.BoundedSemaphore(settings.pool_size)
        self._idle: deque[Connection] = deque()

    def send(self, request: RawRequest) -> RawReply:
        """Exchange one request for its reply.

        A request is sent twice only when it is repeatable and a kept connection had ended.

        Raises:
            UnreachableError: No connection, or it ended before a repeatable request's reply.
            StoreTimeoutError: No complete reply to a repeatable request in time.
            LimitError: The request, or the reply to a repeatable one, is too large.
            ProtocolError: A redirect, or a reply to a repeatable request that is not HTTP.
            OutcomeUnknownError: The reply to any other request was lost or unusable.
        """
        if len(request.body or b"") > self._settings.max_body:
            raise LimitError(f"A request to Vault has at most {self._settings.max_body} bytes.")
        with self._slot():
            return _no_redirect(self._send(request))

    def send_both(self, first: RawRequest, second: RawRequest) -> tuple[RawReply, RawReply]:
        """Exchange two repeatable requests, at the same time where a second connection is free.

        Raises:
            StoreError: As ``send``, for either.
        """
        with self._slot(), self._spare() as spare:
            replies = self._overlapped(spare, first, second) if spare else None
            one, other = replies or (self._send(first), self._send(second))
        return _no_redirect(one), _no_redirect(other)

    def close(self) -> None:
        """Close the idle connections."""
        while (connection := self._pop()) is not None:
            connection.close()

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(timeout=self._settings.read_timeout):
            raise StoreTimeoutError("All connections to the store are busy; nothing was sent.")
        try:
            yield
        finally:
            self._slots.release()

    @contextmanager
    def _spare(self) -> Iterator[Connection | None]:
        """A kept connection besides the slot's own, if that can be had without waiting."""
        if not self._slots.acquire(blocking=False):
            yield None
            return
        try:
            yield self._take_idle()
        finally:
            self._slots.release()

    def _overlapped(
        self, spare: Connection, first: RawRequest, second: RawRequest
    ) -> tuple[RawReply, RawReply] | None:
        """The second is on its way while the first is exchanged; ``None``: it got lost."""
        try:
            with self._carrying(spare, second):
                spare.post(second, time.monotonic() + self._settings.read_timeout)
                reply = self._send(first)
                return reply, spare.receive(self._settings.max_body)
        except _GoneError:
            return None

    def _send(self, request: RawRequest) -> RawReply:
        kept = self._take_idle()
        if kept is not None:
            try:
                return self._exchange(kept, request)
            except _GoneError:
                if not request.repeatable:
                    raise OutcomeUnknownError from None
        try:
            return self._exchange(self._connect(), request)
        except _GoneError:
            ended = UnreachableError("The store closed the connection without a full answer.")
            raise _lost(request, ended) from None

    def _take_idle(self) -> Connection | None:
        while (connection := self._pop()) is not None:
            if time.monotonic() - connection.idle_since < _MAX_IDLE and connection.is_quiet():
                return connection
            connection.close()
        return None

    def _pop(self) -> Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _connect(self) -> Connection:
        try:
            return connect(self._origin, self._settings.connect_timeout, self._tls)
        except ssl.SSLCertVerificationError:
            raise UnreachableError(
                "The store's certificate is not trusted; nothing was sent.",
                next_step="Set `ca_file` to the authority that signed it, and check the host name.",
            ) from None
        except (OSError, UnicodeError):
            raise UnreachableError from None

    def _exchange(self, connection: Connection, request: RawRequest) -> RawReply:
        with self._carrying(connection, request):
            connection.post(request, time.monotonic() + self._settings.read_timeout)
            return connection.receive(self._settings.max_body)

    @contextmanager
    def _carrying(self, connection: Connection, request: RawRequest) -> Iterator[None]:
        """Say what a failure on the wire means, and keep the connection if it can be used again."""
        try:
            yield
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            raise _GoneError from None
        except TimeoutError:
            raise _lost(request, StoreTimeoutError()) from None
        except TooLargeError:
            raise _lost(request, LimitError("The store's answer is too large.")) from None
        except (MalformedError, OSError):
            raise _lost(request, ProtocolError()) from None
        finally:
            self._keep(connection)

    def _keep(self, connection: Connection) -> None:
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.close()


def _no_redirect(reply: RawReply) -> RawReply:
    if 300 <= reply.status < 400:  # noqa: PLR2004 - RFC 9110, 15.4
        raise ProtocolError(
            "The store answered with a redirect, which is not followed.",
            next_step="Configure the address of the active node itself.",
        )
    return reply


def _lost(request: RawRequest, error: StoreError) -> StoreError:
    """What a missing reply means: nothing for a read, everything for a change."""
    return error if request.repeatable else OutcomeUnknownError()


def _tls_context(settings: VaultSettings) -> ssl.SSLContext:
    # Not create_default_context(): it writes session keys to the file that SSLKEYLOGFILE names.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.ca_file is None:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(settings.ca_file)
    except OSError:
        raise ConfigError("The file named by `ca_file` is not a readable PEM bundle.") from None
    return context
