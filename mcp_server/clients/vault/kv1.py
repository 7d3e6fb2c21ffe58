"""KV version 1: one value set per path, no versions, no compare-and-set, no metadata.

Source: https://openbao.org/api-docs/secret/kv/kv-v1/.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus

from mcp_server.clients.vault import kv
from mcp_server.clients.vault._json import Json, section, value_bytes, value_text
from mcp_server.clients.vault._refusals import wrong_version
from mcp_server.clients.vault._session import Call, Session
from mcp_server.clients.vault.kv import KvRead
from mcp_server.core.errors import NotFoundError

__all__ = ["KvV1"]


class KvV1:
    """One KV v1 mount. Key names cannot be had without the values."""

    def __init__(self, session: Session, mount: str) -> None:
        self._session = session
        self._mount = mount

    def read(self, path: str) -> KvRead:
        """The values. ``read`` on ``MOUNT/PATH``.

        Raises:
            NotFoundError: No such secret.
        """
        stored = self._stored(path)
        return KvRead(None, {key: value_bytes(value) for key, value in stored.items()})

    def names(self, path: str = "") -> tuple[str, ...]:
        """Names directly below ``path``; folders end with a slash. ``list`` on ``MOUNT/PATH/``."""
        where = self._path(path).rstrip("/")
        call = Call("LIST", where, folder=True, accept=frozenset({HTTPStatus.NOT_FOUND}))
        status, reply = self._session.call(call)
        if reply.get("warnings"):
            raise wrong_version()
        return () if status == HTTPStatus.NOT_FOUND else kv.read_names(section(reply, "data"))

    def write(self, path: str, values: Mapping[str, bytes]) -> None:
        """Replace everything. ``create``/``update`` on ``MOUNT/PATH``; the last writer wins.

        Raises:
            UnsupportedError: A value is not UTF-8; nothing was sent.
        """
        body: dict[str, Json] = {key: value_text(value) for key, value in values.items()}
        self._session.call(Call("POST", self._path(path), body=body))

    def merge(self, path: str, changes: Mapping[str, bytes | None]) -> None:
        """Set keys and, for ``None``, remove some; others stay as they are, of whatever type.

        Read, changed here and written whole, since KV v1 has no patch: whoever writes in
        between is overwritten. ``read`` and ``create``/``update`` on ``MOUNT/PATH``.
        """
        kept: dict[str, Json] = {}
        with suppress(NotFoundError):
            kept = self._stored(path)
        changed: dict[str, Json] = {
            key: value_text(value) for key, value in changes.items() if value is not None
        }
        left = {key: value for key, value in kept.items() if key not in changes}
        self._session.call(Call("POST", self._path(path), body=left | changed))

    def delete(self, path: str) -> None:
        """Remove for good; also succeeds when there is nothing. ``delete`` on ``MOUNT/PATH``."""
        self._session.call(Call("DELETE", self._path(path)))

    def _stored(self, path: str) -> dict[str, Json]:
        _, reply = self._session.call(Call("GET", self._path(path)))
        return section(reply, "data")

    def _path(self, path: str) -> str:
        return f"{self._mount}/{path}"
