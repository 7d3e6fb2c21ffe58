"""What an HTTP status of Vault or OpenBao means in ``core.errors``.

The server's own ``errors`` text can carry values (a database engine echoes the statement with a
part of the generated password), so it is searched for known sentences and never passed on.

Source: https://openbao.org/api-docs/ and https://developer.hashicorp.com/vault/api-docs,
section "HTTP status codes"; the sentences were seen on OpenBao 2.7.2.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from mcp_server.core.errors import (
    AuthenticationError,
    ConfigError,
    ConflictError,
    LimitError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitedError,
    SealedStoreError,
    SecretsError,
    StoreError,
    StoreTimeoutError,
    UnreachableError,
    UnsupportedError,
)

__all__ = ["refusal", "wrong_version"]

_BY_STATUS: Final[dict[int, type[SecretsError]]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    405: UnsupportedError,
    408: StoreTimeoutError,
    413: LimitError,
    415: UnsupportedError,
    429: RateLimitedError,
    472: SealedStoreError,
    473: SealedStoreError,
    501: SealedStoreError,
    503: SealedStoreError,
}


def refusal(status: int, body: bytes, *, changing: bool) -> SecretsError:
    """The error for a reply that is not a success.

    Args:
        status: HTTP status.
        body: Searched only, see above.
        changing: Whether the request would have changed something, so that a failure in the
            middle (500, 502, 504) leaves its outcome open.
    """
    known = _known_sentence(status, body)
    if known is not None:
        return known
    if status in _BY_STATUS:
        return _BY_STATUS[status]()
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:  # RFC 9110, 15.5: the request is at fault
        return StoreError("The store refused the request as not valid.")
    if changing:
        return OutcomeUnknownError("The store failed in the middle of the change.")
    if status in {502, 504}:
        return UnreachableError("A proxy answered that the store behind it cannot be reached.")
    return StoreError("The store had an internal error.", next_step="Look into the server's log.")


def _known_sentence(status: int, body: bytes) -> SecretsError | None:
    if status == HTTPStatus.BAD_REQUEST:  # Vault reports many things so
        return _known_bad_request(body)
    if status == HTTPStatus.FORBIDDEN and b"invalid token" in body:  # newer Vault says so
        return AuthenticationError()
    return _known_absence(body) if status == HTTPStatus.NOT_FOUND else None


def _known_absence(body: bytes) -> SecretsError | None:
    if b"no handler for route" in body:
        return NotFoundError(
            "The store has no such mount.",
            next_step="Check `mounts` and `namespace` in the store's configuration.",
        )
    if b"Invalid path for a versioned K/V secrets engine" in body:
        return wrong_version()
    return None


def wrong_version() -> ConfigError:
    """The mount is there and speaks another KV version."""
    return ConfigError(
        "The mount has another KV version than the configuration says; nothing was written.",
        next_step="Correct the version, 1 or 2, under `mounts` in the store's configuration.",
    )


def _known_bad_request(body: bytes) -> SecretsError | None:
    if b"check-and-set parameter did not match" in body:
        return ConflictError()
    if b"check-and-set parameter required" in body:
        return ConflictError("This secret may only be changed with compare-and-set.")
    if b"invalid role or secret ID" in body or b"missing client token" in body:
        return AuthenticationError()
    if b"custom_metadata validation failed" in body:
        return LimitError("Custom metadata has at most 64 keys of 128 and texts of 512 bytes.")
    if b"unsupported operation" in body or b"unsupported path" in body:
        return UnsupportedError()
    return None
