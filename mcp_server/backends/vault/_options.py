"""The operator's settings of a Vault store, checked.

::

    team:
      backend: vault
      address: https://vault.example.com:8200
      mounts: {secret: 2, team/kv: 1}        # KV mounts and their version
      namespace: team-a                      # optional, as all below
      ca_file: /etc/ssl/team-ca.pem
      timeout: 15                            # seconds for a whole reply
      connect_timeout: 5
      auth: {method: token, file: ~/.vault-token}
      # or  {method: token, env: VAULT_TOKEN}
      # or  {method: approle, role_id_file: …, secret_id_file: …, mount: approle}

Without ``auth`` the vendor's own login counts (``VAULT_TOKEN``, then ``~/.vault-token``), but only
where ``VAULT_ADDR`` or ``BAO_ADDR`` names this very address: a token goes where its owner sends it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from mcp_server.clients.vault import (
    AppRole,
    Login,
    TokenFromEnvironment,
    TokenFromFile,
    VaultSettings,
    discover_login,
)
from mcp_server.core.errors import ConfigError
from mcp_server.core.ports import StoreSettings
from mcp_server.core.process import is_variable

__all__ = ["read_login", "read_settings"]

_OPTIONS: Final = frozenset(
    {"address", "mounts", "namespace", "ca_file", "timeout", "connect_timeout", "auth"}
)
_TOKEN_SOURCES: Final = (frozenset({"file"}), frozenset({"env"}))
_APPROLE_OPTIONS: Final = frozenset({"role_id_file", "secret_id_file", "mount"})
_MAX_SECONDS = 600

Read = TypeVar("Read")


def read_settings(store: StoreSettings, agent_session: str) -> VaultSettings:
    """Address, mounts and limits.

    Raises:
        ConfigError: An option is unknown, missing or of the wrong type; it is named.
    """
    options = store.options
    if not _OPTIONS.issuperset(options):
        raise ConfigError(f"A vault store takes {', '.join(sorted(_OPTIONS))}.")
    defaults = VaultSettings("https://vault.invalid")
    return VaultSettings(
        address=_text(options, "address"),
        mounts=_mounts(options.get("mounts", {})),
        namespace=_optional(options, "namespace", _text, None),
        ca_file=_optional(options, "ca_file", _path, None),
        connect_timeout=_optional(options, "connect_timeout", _seconds, defaults.connect_timeout),
        read_timeout=_optional(options, "timeout", _seconds, defaults.read_timeout),
        agent_session=agent_session,
    )


def read_login(store: StoreSettings, environment: Mapping[str, str], home: Path) -> Login:
    """Where the token comes from; nothing is read yet.

    Raises:
        ConfigError: As above, or no ``auth`` and no login of the vendor's tool for this address.
    """
    auth = store.options.get("auth")
    if auth is None:
        return _discovered(_text(store.options, "address"), environment, home)
    if not isinstance(auth, Mapping):
        raise ConfigError("`auth` of a vault store is a mapping with `method`.")
    rest = {str(name): value for name, value in auth.items() if name != "method"}
    if auth.get("method") == "token" and frozenset(rest) in _TOKEN_SOURCES:
        return _token(rest)
    if auth.get("method") == "approle" and _APPROLE_OPTIONS.issuperset(rest):
        mount = _optional(rest, "mount", _text, "approle")
        return AppRole(_path(rest, "role_id_file"), _path(rest, "secret_id_file"), mount)
    raise ConfigError(
        "`auth` is method token with file or env, "
        "or method approle with role_id_file and secret_id_file."
    )


def _token(options: Mapping[str, object]) -> Login:
    if "file" in options:
        return TokenFromFile(_path(options, "file"))
    variable = _text(options, "env")
    if not is_variable(variable):
        raise ConfigError("`env` names an environment variable.")
    return TokenFromEnvironment(variable)


def _discovered(address: str, environment: Mapping[str, str], home: Path) -> Login:
    named = {environment.get(name, "").rstrip("/") for name in ("VAULT_ADDR", "BAO_ADDR")}
    login = discover_login(environment, home) if address.rstrip("/") in named else None
    if login is None:
        raise ConfigError(
            "No login is configured for this vault store.",
            next_step="Log in with `bao login` or `vault login`, then add to the store"
            " `auth: {method: token, file: ~/.vault-token}`.",
        )
    return login


def _mounts(value: object) -> dict[str, int]:
    if not isinstance(value, Mapping):
        raise ConfigError("`mounts` maps KV mounts to their version, for example {secret: 2}.")
    mounts = {str(name).strip("/"): version for name, version in value.items()}
    if len(mounts) != len(value) or not all(type(v) is int for v in mounts.values()):
        raise ConfigError("`mounts` names each KV mount once, with version 1 or 2.")
    return mounts


def _optional(
    options: Mapping[str, object],
    name: str,
    read: Callable[[Mapping[str, object], str], Read],
    default: Read,
) -> Read:
    return default if options.get(name) is None else read(options, name)


def _text(options: Mapping[str, object], name: str) -> str:
    value = options.get(name)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"`{name}` of a vault store is missing or not text.")
    return value


def _path(options: Mapping[str, object], name: str) -> Path:
    path = Path(_text(options, name)).expanduser()
    if not path.is_absolute():
        raise ConfigError(f"`{name}` of a vault store is an absolute path, or begins with ~.")
    return path


def _seconds(options: Mapping[str, object], name: str) -> float:
    value = options.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        value = 0
    if not 0 < value <= _MAX_SECONDS:  # also refuses NaN
        raise ConfigError(f"`{name}` of a vault store is a number of seconds up to 600.")
    return float(value)
