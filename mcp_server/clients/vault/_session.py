"""Requests with a token: headers, refusals, and the one renewal when a token has expired."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from mcp_server.clients.vault._connection import RawRequest
from mcp_server.clients.vault._json import JsonObject, parse_object
from mcp_server.clients.vault._paths import encode_path, target
from mcp_server.clients.vault._refusals import refusal
from mcp_server.clients.vault._reply import RawReply
from mcp_server.clients.vault._settings import VaultSettings
from mcp_server.clients.vault._transport import Transport
from mcp_server.clients.vault.auth import Login, Token
from mcp_server.core.errors import (
    AuthenticationError,
    OutcomeUnknownError,
    ProtocolError,
    SecretsError,
)

if TYPE_CHECKING:
    from mcp_server.clients.vault._admin import Admin, Send

__all__ = ["Answer", "Call", "Session", "admin"]

Answer: TypeAlias = tuple[int, JsonObject]
"""Status and reply; an empty object for an empty reply."""

_OK = range(200, 300)
_FORBIDDEN = 403
_READS = frozenset({"GET", "LIST"})
_MERGE_PATCH = "application/merge-patch+json"  # RFC 7396


@dataclass(frozen=True, slots=True)
class Call:
    """One API call.

    Attributes:
        method: ``GET``, ``LIST``, ``POST``, ``PATCH``, ``DELETE``.
        path: API path below ``/v1/``, decoded; segments are encoded and checked later.
        query: Options of a read. Never a value: they show in logs of proxies.
        body: May hold values.
        folder: The path gets a trailing slash.
        asks: A ``POST`` that changes nothing and may be repeated.
        accept: Statuses besides 2xx that are returned, not raised.
    """

    method: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: JsonObject | None = field(default=None, repr=False)
    folder: bool = False
    asks: bool = False
    accept: frozenset[int] = frozenset()

    @property
    def changing(self) -> bool:
        """Whether a lost reply leaves its outcome open."""
        return self.method not in _READS and not self.asks


class Session:
    """Speaks for one login to one server. Safe to share among threads."""

    def __init__(self, settings: VaultSettings, login: Login) -> None:
        self._transport = Transport(settings)
        self._login = login
        self._fixed_headers = _fixed_headers(settings)

    def call(self, call: Call) -> Answer:
        """Carry out one call.

        Raises:
            AuthenticationError: No token, or the server does not know it and no other is there.
            PermissionDeniedError: The token is known and lacks the right.
            SecretsError: As ``Transport.send`` and ``_refusals.refusal`` say.
        """
        token = self._login.token(self._approle_login)
        reply = self._send(call, token)
        if reply.status == _FORBIDDEN and (other := self._successor(token)):
            reply = self._send(call, other)
        return _judged(call, reply)

    def call_both(
        self, first: Call, second: Call
    ) -> tuple[Callable[[], Answer], Callable[[], Answer]]:
        """Carry out two calls that change nothing, at the same time.

        Returns:
            Two functions: each gives or raises what ``call`` would.

        Raises:
            SecretsError: As ``call``, but for what one of the replies says.
        """
        token = self._login.token(self._approle_login)
        replies = self._send_both(first, second, token)
        if any(reply.status == _FORBIDDEN for reply in replies) and (
            other := self._successor(token)
        ):
            replies = self._send_both(first, second, other)
        return partial(_judged, first, replies[0]), partial(_judged, second, replies[1])

    def ask_anonymously(self, call: Call) -> Answer:
        """Carry out a call without a token."""
        return _judged(call, self._send(call, None))

    def send(self, method: str, url: str, body: JsonObject | None) -> JsonObject:
        """One call for hvac, which gives paths with ``/v1/``."""
        asks = url.endswith("/lookup-self")
        return self.call(Call(method, _api_path(url), body=body, asks=asks))[1]

    def close(self) -> None:
        """Close the idle connections."""
        self._transport.close()

    def _send(self, call: Call, token: Token | None) -> RawReply:
        return self._transport.send(self._request(call, token))

    def _send_both(self, first: Call, second: Call, token: Token) -> tuple[RawReply, RawReply]:
        requests = self._request(first, token), self._request(second, token)
        return self._transport.send_both(*requests)

    def _request(self, call: Call, token: Token | None) -> RawRequest:
        headers = dict(self._fixed_headers)
        if token is not None:
            headers |= token.header()
        body = None
        if call.body is not None:
            patch = call.method == "PATCH"
            headers["Content-Type"] = _MERGE_PATCH if patch else "application/json"
            body = json.dumps(call.body, ensure_ascii=False).encode("utf-8")
        path = target(call.path, call.query, folder=call.folder)
        return RawRequest(call.method, path, headers, body, repeatable=not call.changing)

    def _successor(self, refused: Token) -> Token | None:
        """The token to repeat a call with; ``None`` where the server knows the refused one.

        Raises:
            AuthenticationError: It does not, and there is no other.
        """
        if self._knows(refused):
            return None
        other = self._login.after_refusal(refused, self._approle_login)
        if other is None:
            raise AuthenticationError
        return other

    def _knows(self, token: Token) -> bool:
        """Whether the server knows a token; a 403 alone does not tell.

        Any valid token may ask for the mounts it sees, without a policy that says so, whereas
        ``auth/token/lookup-self`` is refused to tokens without the ``default`` policy.
        """
        reply = self._send(Call("GET", "sys/internal/ui/mounts"), token)
        return reply.status != _FORBIDDEN

    def _approle_login(self, mount: str, role_id: str, secret_id: str) -> Token:
        encode_path(mount)

        def send(method: str, url: str, body: JsonObject | None) -> JsonObject:
            # A login changes nothing that a lost reply would leave in doubt.
            return self.ask_anonymously(Call(method, _api_path(url), body=body, asks=True))[1]

        return Token(admin(send).approle_login(mount, role_id, secret_id))


def admin(send: Send) -> Admin:
    """Hvac's part of the API over ``send``, loaded on first use."""
    from mcp_server.clients.vault._admin import Admin  # noqa: PLC0415 - hvac is slow to load

    return Admin(send)


def _api_path(url: str) -> str:
    return url.removeprefix("/v1/")


def _fixed_headers(settings: VaultSettings) -> dict[str, str]:
    headers = {"X-Vault-Request": "true", "Accept": "application/json"}
    if settings.namespace is not None:
        headers["X-Vault-Namespace"] = settings.namespace
    if settings.agent_session is not None:
        headers["X-Agent-Session"] = settings.agent_session
    return headers


def _judged(call: Call, reply: RawReply) -> Answer:
    succeeded = reply.status in _OK
    if not succeeded and reply.status not in call.accept:
        raise refusal(reply.status, reply.body, changing=call.changing)
    try:
        parsed = _parsed(reply)
    except SecretsError:
        if call.changing:
            raise OutcomeUnknownError("The change was sent but its reply makes no sense.") from None
        raise
    if not succeeded and parsed.get("errors"):
        raise refusal(reply.status, reply.body, changing=call.changing)
    return reply.status, parsed


def _parsed(reply: RawReply) -> JsonObject:
    if not reply.body:
        return {}
    if reply.content_type != "application/json":
        raise ProtocolError
    return parse_object(reply.body)
