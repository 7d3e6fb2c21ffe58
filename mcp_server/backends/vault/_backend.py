"""The backend: from a reference to a mount, and who we are in this server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

from mcp_server.backends.base import Backend, RawSecret
from mcp_server.backends.vault._engine import Engine, checked_cursor, page
from mcp_server.backends.vault._kv1 import Kv1Engine
from mcp_server.backends.vault._kv2 import Kv2Engine
from mcp_server.backends.vault._options import read_login, read_settings
from mcp_server.clients.vault import Acl, TokenInfo, VaultClient, check_path
from mcp_server.core.errors import BadReferenceError, PermissionDeniedError
from mcp_server.core.model import (
    Ability,
    Change,
    Description,
    Identity,
    Listing,
    Removal,
    Written,
)
from mcp_server.core.ports import Session, StoreSettings
from mcp_server.core.refs import Ref
from mcp_server.core.text import clean

__all__ = ["VaultBackend"]

_KV2 = 2
# What each act needs, as capability and kind of path below the mount; see the class docstring.
_NEEDS: Final[dict[int, dict[str, tuple[tuple[str, str], ...]]]] = {
    1: {
        "describe and list": (("list", ""),),
        "fetch": (("read", ""),),
        "put": (("create", ""), ("update", ""), ("read", "")),
        "erase": (("delete", ""),),
    },
    2: {
        "describe": (("read", "metadata/"), ("read", "subkeys/")),
        "list": (("list", "metadata/"),),
        "fetch": (("read", "data/"),),
        "put": (("create", "data/"), ("update", "data/"), ("patch", "data/")),
        "metadata": (("create", "metadata/"), ("patch", "metadata/")),
        "delete": (("update", "delete/"),),
        "restore": (("update", "undelete/"),),
        "destroy": (("update", "destroy/"),),
        "erase": (("delete", "metadata/"),),
    },
}


class VaultBackend(Backend):
    """KV version 2 and 1 of HashiCorp Vault and OpenBao.

    A reference is ``vault://MOUNT/PATH``; ``MOUNT`` is one of the configured ``mounts``. Values are
    text: a value that is not UTF-8 is refused, a number or object that others wrote is fetched as
    its JSON text. Key names and history are described without reading a value.

    The policy for everything on a KV v2 mount ``secret``; a task that needs less leaves lines out,
    and ``secrets status`` names what is missing then::

        # describe; also needed to delete, restore, destroy and erase
        path "secret/metadata/*" { capabilities = ["read", "list", "create", "patch", "delete"] }
        path "secret/subkeys/*" { capabilities = ["read"] }
        # list with details in one call (OpenBao)
        path "secret/detailed-metadata/*" { capabilities = ["list"] }
        # fetch: read; put: create a secret, update (replace) it, patch some of its keys
        path "secret/data/*" { capabilities = ["read", "create", "update", "patch"] }
        path "secret/delete/*" { capabilities = ["update"] }
        path "secret/undelete/*" { capabilities = ["update"] }
        path "secret/destroy/*" { capabilities = ["update"] }
        # status: who we are and what is missing; both are part of the policy "default"
        path "auth/token/lookup-self" { capabilities = ["read"] }
        path "sys/internal/ui/resultant-acl" { capabilities = ["read"] }

    On ``secret/metadata/*``, ``list`` serves listings, ``create`` and ``patch`` owner, schedule and
    consumers, ``delete`` erasing. On a KV v1 mount ``team/kv``::

        # list and describe; fetch, and put some keys; put; erase
        path "team/kv/*" { capabilities = ["list", "read", "create", "update", "delete"] }

    KV v1 has no versions, metadata or compare-and-set, and names no keys without their values:
    such an ability is declared for the v2 mounts and refused on a v1 mount.

    Source: https://openbao.org/docs/concepts/policies/ and
    https://openbao.org/docs/secrets/kv/kv-v2/#acl-rules.
    """

    scheme: ClassVar[str] = "vault"
    abilities: ClassVar[frozenset[Ability]] = frozenset(
        {
            Ability.FETCH,
            Ability.PUT,
            Ability.CAS,
            Ability.DELETE,
            Ability.RESTORE,
            Ability.DESTROY,
            Ability.ERASE,
            Ability.VERSIONS,
            Ability.METADATA,
        }
    )

    def __init__(self, settings: StoreSettings, session: Session) -> None:
        super().__init__(settings, session)
        client_settings = read_settings(settings, session.id)
        login = read_login(settings, os.environ, Path.home())
        self._client = VaultClient(client_settings, login)
        self._mounts = client_settings.mounts
        for mount in self._mounts:
            check_path(mount)

    def resolve(self, ref: Ref) -> Ref:
        """As it is, once every segment is harmless and a configured mount covers it.

        Raises:
            BadReferenceError: A segment could lead out of the mount.
            ConfigError: No configured mount covers the path, nor lies below it.
        """
        ref = super().resolve(ref)
        if ref.path:
            check_path(ref.path)
        if not self._mounts_below(ref.path):
            self._client.locate(ref.path)
        return ref

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _identity(self) -> Identity:
        try:
            info = self._client.token_info()
        except PermissionDeniedError:
            needed = (
                "The login needs read on auth/token/lookup-self; the policy `default` gives it."
            )
            raise PermissionDeniedError(next_step=needed) from None
        warnings = [*_warnings(info), *self._unconfigured()]
        missing: tuple[str, ...] = ()
        try:
            missing = self._missing(self._client.acl())
        except PermissionDeniedError:
            warnings.append("Its own permissions are hidden (sys/internal/ui/resultant-acl).")
        return Identity(info.display_name, info.expires, tuple(warnings), missing)

    def _describe(self, ref: Ref) -> Description:
        engine, path = self._engine(ref)
        return engine.describe(ref, path)

    def _list(self, prefix: Ref, cursor: str | None, limit: int, *, details: bool) -> Listing:
        above = self._mounts_below(prefix.path)
        if above:
            return page(above, checked_cursor(cursor), limit)
        location = self._client.locate(prefix.path)
        engine = self._mount(location.mount)
        return engine.entries(prefix, location.path, cursor, limit, details=details)

    def _fetch(self, ref: Ref) -> RawSecret:
        engine, path = self._engine(ref)
        return engine.fetch(ref, path)

    def _put(self, ref: Ref, raw: Mapping[str, bytes], change: Change) -> Written:
        engine, path = self._engine(ref)
        self._client.confirm_version(self._client.locate(ref.path).mount)
        return engine.put(ref, path, raw, change)

    def _delete(self, ref: Ref, removal: Removal) -> Written:
        engine, path = self._engine(ref)
        return engine.delete(ref, path, removal)

    def _engine(self, ref: Ref) -> tuple[Engine, str]:
        location = self._client.locate(ref.path)
        if not location.path:
            raise BadReferenceError("This is a mount, not a secret.")
        return self._mount(location.mount), location.path

    def _mount(self, mount: str) -> Engine:
        if self._mounts[mount] == _KV2:
            return Kv2Engine(self._client.kv2(mount), self.session.clock)
        return Kv1Engine(self._client.kv1(mount))

    def _mounts_below(self, path: str) -> set[str]:
        """Next segments, as folders, of the mounts that lie below ``path``."""
        start = f"{path}/" if path else ""
        below = [mount for mount in self._mounts if mount.startswith(start)]
        return {f"{mount[len(start) :].partition('/')[0]}/" for mount in below}

    def _unconfigured(self) -> tuple[str, ...]:
        """A proposal where no mount is configured yet."""
        if self._mounts:
            return ()
        found = self._client.discover_mounts()
        seen = ", ".join(f"{clean(name)}: {version}" for name, version in sorted(found.items()))
        return (f"No mounts are configured. This login sees `mounts: {{{seen}}}`.",)

    def _missing(self, acl: Acl) -> tuple[str, ...]:
        return tuple(
            f"{capability} on {mount}/{kind}* ({act})"
            for mount, version in self._mounts.items()
            for act, needs in _NEEDS[version].items()
            for capability, kind in needs
            if not acl.allows(capability, f"{mount}/{kind}")
        )


def _warnings(info: TokenInfo) -> tuple[str, ...]:
    if "root" in info.policies:
        return ("This is a root token; use one that may do only what it needs.",)
    if info.expires is None:
        return ("This token never expires.",)
    return ()
