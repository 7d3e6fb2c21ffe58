"""One server as a whole: its KV mounts, and the login in use."""

from __future__ import annotations

from dataclasses import dataclass

from mcp_server.clients.vault._json import JsonObject, section, text
from mcp_server.clients.vault._paths import Location, locate
from mcp_server.clients.vault._refusals import wrong_version
from mcp_server.clients.vault._session import Call, Session, admin
from mcp_server.clients.vault._settings import VaultSettings
from mcp_server.clients.vault.auth import Login, TokenInfo
from mcp_server.clients.vault.kv1 import KvV1
from mcp_server.clients.vault.kv2 import KvV2
from mcp_server.core.errors import NotFoundError, PermissionDeniedError

__all__ = ["Acl", "VaultClient"]


@dataclass(frozen=True, slots=True)
class Acl:
    """The server's own summary of what the login may do.

    It leaves out policy paths with a ``+`` segment, so ``allows`` can say no where the server
    would say yes; never the other way round.
    """

    root: bool
    exact: dict[str, frozenset[str]]
    prefixes: dict[str, frozenset[str]]

    def allows(self, capability: str, below: str) -> bool:
        """Whether ``capability`` is given on any path that starts with ``below``."""
        named = (held for path, held in self.exact.items() if path.startswith(below))
        covering = (
            held
            for prefix, held in self.prefixes.items()
            if prefix.startswith(below) or below.startswith(prefix)
        )
        return self.root or any(capability in held for held in (*named, *covering))


class VaultClient:
    """A pooled client for one configured server. Contacts nothing before the first call.

    Args:
        settings: Address, mounts and limits.
        login: Where the token comes from; it is sent to ``settings.address`` only.
    """

    def __init__(self, settings: VaultSettings, login: Login) -> None:
        self.settings = settings
        self._session = Session(settings, login)
        self._confirmed: set[str] = set()
        self._kv1 = {m: KvV1(self._session, m) for m, v in settings.mounts.items() if v == 1}
        self._kv2 = {m: KvV2(self._session, m) for m, v in settings.mounts.items() if v != 1}

    def locate(self, path: str) -> Location:
        """The configured mount of a path.

        Raises:
            ConfigError: No mount covers it.
        """
        return locate(self.settings.mounts, path)

    def kv1(self, mount: str) -> KvV1:
        """A configured mount of version 1."""
        return self._kv1[mount]

    def kv2(self, mount: str) -> KvV2:
        """A configured mount of version 2."""
        return self._kv2[mount]

    def confirm_version(self, mount: str) -> None:
        """Ask, once, whether a mount has the configured version: before a first write to it.

        A v2 write to a v1 mount would succeed, in the wrong place. Needs no policy but any right
        in the mount; where the server does not answer, the configuration counts.

        Raises:
            ConfigError: It has the other version; nothing was written.
        """
        if mount in self._confirmed:
            return
        try:
            _, reply = self._session.call(Call("GET", f"sys/internal/ui/mounts/{mount}"))
        except (PermissionDeniedError, NotFoundError):
            reply = {}
        actual = _kv_version(section(reply, "data"))
        if actual is not None and actual != self.settings.mounts[mount]:
            raise wrong_version()
        self._confirmed.add(mount)

    def token_info(self) -> TokenInfo:
        """Describe the login. ``read`` on ``auth/token/lookup-self`` (policy ``default``)."""
        return admin(self._session.send).lookup_self()

    def acl(self) -> Acl:
        """What the login may do. ``read`` on ``sys/internal/ui/resultant-acl`` (``default``)."""
        _, reply = self._session.call(Call("GET", "sys/internal/ui/resultant-acl"))
        data = section(reply, "data")
        return Acl(
            data.get("root") is True,
            _capabilities(section(data, "exact_paths")),
            _capabilities(section(data, "glob_paths")),
        )

    def discover_mounts(self) -> dict[str, int]:
        """KV mounts that the login can see anything of, with their version. Needs no policy.

        For proposing a configuration; nothing else asks the server for its mounts.
        """
        _, reply = self._session.call(Call("GET", "sys/internal/ui/mounts"))
        mounts = section(section(reply, "data"), "secret")
        found = {name.rstrip("/"): _kv_version(section(mounts, name)) for name in mounts}
        return {name: version for name, version in found.items() if version is not None}

    def close(self) -> None:
        """Close the idle connections."""
        self._session.close()


def _kv_version(mount: JsonObject) -> int | None:
    if mount.get("type") != "kv":
        return None
    return 2 if text(section(mount, "options"), "version") == "2" else 1


def _capabilities(paths: JsonObject) -> dict[str, frozenset[str]]:
    return {path: _held(section(paths, path)) for path in paths}


def _held(entry: JsonObject) -> frozenset[str]:
    listed = entry.get("capabilities")
    names = listed if isinstance(listed, list) else []
    return frozenset(name for name in names if isinstance(name, str))
