"""Authentication and token administration through hvac, over our own connections.

hvac knows the APIs; its own network layer (requests) follows redirects, obeys proxy variables
and has no limit on a reply, and its exceptions carry the server's text. So hvac gets an adapter
that sends through ``Session``: same pool, limits and errors as every other request.

Imported on first use only: hvac loads requests, which costs more than a hundred requests to a
store.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import hvac
from hvac.adapters import Adapter
from hvac.exceptions import VaultError

from mcp_server.clients.vault._json import Json, JsonObject, moment, section, text
from mcp_server.clients.vault.auth import TokenInfo
from mcp_server.core.errors import ProtocolError

__all__ = ["Admin", "Send"]

Send = Callable[[str, str, JsonObject | None], JsonObject]


class Admin:
    """The part of the API that is not the hot path."""

    def __init__(self, send: Send) -> None:
        # The empty token and the explicit options keep hvac from reading VAULT_* variables.
        self._auth = hvac.Client(
            url="https://configured.invalid",
            token="",
            cert=(),
            verify=True,
            allow_redirects=False,
            adapter=partial(_SessionAdapter, send),
        ).auth

    def approle_login(self, mount: str, role_id: str, secret_id: str) -> str:
        """Exchange role id and secret id for a token."""
        with _translated():
            login = self._auth.approle.login
            reply = login(role_id, secret_id, use_token=False, mount_point=mount)
        return _issued(reply)

    def lookup_self(self) -> TokenInfo:
        """Describe the token in use."""
        with _translated():
            reply = self._auth.token.lookup_self()
        # The reply holds the token itself (`id`); only what is named here goes on.
        data = section(reply, "data")
        policies = [*_names(data.get("policies")), *_names(data.get("identity_policies"))]
        return TokenInfo(
            display_name=text(data, "display_name"),
            policies=tuple(dict.fromkeys(policies)),
            expires=moment(data, "expire_time"),
        )


class _SessionAdapter(Adapter):  # type: ignore[misc]  # hvac has no type information
    """hvac's requests over ``Session``."""

    def __init__(self, send: Send, **options: object) -> None:
        super().__init__(**options)
        self._send = send

    def get_login_token(self, response: JsonObject) -> str:
        return _issued(response)

    def request(self, method: str, url: str, **options: Json) -> JsonObject:
        body = options.get("json")
        return self._send(method.upper(), url, body if isinstance(body, dict) else None)


class _translated:  # noqa: N801 - reads as a clause: with _translated()
    """hvac's own complaints (it checks parameters) become ours; their text stops here."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        if kind is not None and issubclass(kind, VaultError):
            raise ProtocolError from None


def _issued(reply: JsonObject) -> str:
    token = text(section(reply, "auth"), "client_token")
    if not token:
        raise ProtocolError
    return token


def _names(listed: Json) -> list[str]:
    return [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
