"""A PostgreSQL connection pool that outlives the rotation of its credential.

Copy this file into the application. It reads user and password from a JSON file that something
else keeps current: Vault Agent (``vault-agent-injector``), External Secrets Operator
(``eso-vault``, ``eso-aws``), or a mounted Kubernetes Secret. No value stands in a variable of the
environment, which a running process would never see change.

Needs ``psycopg>=3.2`` and ``psycopg_pool>=3.3`` (``drain``, and ``kwargs`` as a callable that is
asked again for every new connection).

Sources:
    https://www.psycopg.org/psycopg3/docs/api/pool.html
    https://www.psycopg.org/psycopg3/docs/news_pool.html
    https://developer.hashicorp.com/vault/docs/concepts/lease
"""

# ruff: noqa: INP001 - a file to copy, not a package
from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg_pool import ConnectionPool

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Credential", "RotatingPool", "read_credential"]

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Credential:
    """User and password of one lease or one version; always a pair."""

    username: str
    password: str = field(repr=False)


def read_credential(path: Path) -> Credential:
    """Read the pair from one file, so that it can never be half old and half new.

    Vault Agent renames a finished file into place and the kubelet swaps a link to the whole
    folder; two separate files could be read on either side of that swap.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    return Credential(username=content["username"], password=content["password"])


class RotatingPool(ConnectionPool[Connection]):
    """A pool whose next checkout works after the credential changed.

    - Each new connection asks the file again, so a reconnect never uses a remembered password.
    - A changed file drains the pool: idle connections are replaced, a connection that another
      thread is using finishes its work and is closed when it comes back.
    - A connection is tried before it is handed out. The statement must need the role: after its
      role is dropped a PostgreSQL session still answers ``SELECT 1``.

    Args:
        credential_file: JSON with ``username`` and ``password``.
        server: ``host``, ``port``, ``dbname`` and TLS settings. ``sslmode`` is ``verify-full``
            unless it says otherwise.
        size: Connections kept open, and at most.
        timeout: Seconds a checkout waits.
        max_lifetime: Seconds after which a connection is replaced; keep it below the time that
            the old credential stays valid after a rotation (grace or lease).
    """

    def __init__(
        self,
        credential_file: Path,
        server: dict[str, Any],
        *,
        size: int = 4,
        timeout: float = 10.0,
        max_lifetime: float = 900.0,
    ) -> None:
        self._credential_file = credential_file
        self._server = {"sslmode": "verify-full", **server}
        self._rotation_lock = threading.Lock()
        self._pooled_credential = read_credential(credential_file)
        super().__init__(
            kwargs=self._connection_arguments,
            check=self._check_role,
            min_size=size,
            timeout=timeout,
            max_lifetime=max_lifetime,
            open=False,
        )

    def getconn(self, timeout: float | None = None) -> Connection:
        """Check a connection out; prefer ``with pool.connection()``, which also returns it."""
        self._drain_after_rotation()
        return super().getconn(timeout)

    def _connection_arguments(self) -> dict[str, Any]:
        credential = read_credential(self._credential_file)
        return {**self._server, "user": credential.username, "password": credential.password}

    def _drain_after_rotation(self) -> None:
        current = read_credential(self._credential_file)
        with self._rotation_lock:
            rotated = current != self._pooled_credential
            self._pooled_credential = current
        if rotated:
            self.drain()

    def _check_role(self, connection: Connection) -> None:
        try:
            connection.execute("SELECT current_user")
            connection.rollback()
        except psycopg.Error:
            # The pool would take a session back that is alive but powerless.
            connection.close()
            # Its idle neighbours died of the same cause: restart, fail-over or revoked role.
            self.drain()
            raise
