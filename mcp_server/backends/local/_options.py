"""The operator's settings of a local store, checked.

::

    stores:
      local:
        backend: local
        path: ~/vault/local.sops.json        # all are optional
        key_file: ~/.config/secret-management/age-key.txt
        keyring: true                        # false: the key file only
        recovery_recipient: age1…            # can open the store too
        versions: 10                         # kept of each secret

``path`` is below ``$XDG_DATA_HOME/secret-management`` by default, ``key_file`` below
``$XDG_CONFIG_HOME/secret-management``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcp_server.core import places
from mcp_server.core.errors import ConfigError

__all__ = ["LocalOptions"]

DEFAULT_VERSIONS: Final = 10
MAX_VERSIONS: Final = 100
_NAMES: Final = ("path", "key_file", "keyring", "recovery_recipient", "versions")
_RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}")  # bech32 of an X25519 key


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """Where the store and its key lie, and what is kept.

    Attributes:
        path: The store's file; where it is a link, what that leads to.
        key_file: The age key file.
        keyring: Whether the OS keyring may hold the key.
        recovery_recipient: ``age1…`` of somebody who can open the store too.
        versions: Kept of each secret; older ones go when a new one is written.
    """

    path: Path
    key_file: Path
    keyring: bool
    recovery_recipient: str | None
    versions: int

    @classmethod
    def read(cls, options: Mapping[str, object]) -> LocalOptions:
        """Check the settings.

        Raises:
            ConfigError: One is unknown or wrong; it is named.
        """
        if not set(_NAMES).issuperset(options):
            raise ConfigError(f"A local store takes {', '.join(_NAMES)}.")
        path = _path(options, "path") or places.data_folder() / "local.sops.json"
        return cls(
            Path(os.path.realpath(path)),
            _path(options, "key_file") or places.config_file().with_name("age-key.txt"),
            _switch(options, "keyring"),
            _recipient(options),
            _versions(options),
        )


def _path(options: Mapping[str, object], name: str) -> Path | None:
    value = options.get(name)
    if value is None:
        return None
    path = Path(value).expanduser() if isinstance(value, str) and "\0" not in value else None
    if path is None or not path.is_absolute() or not path.name:
        raise ConfigError(f"The option {name} of a local store is the absolute path of a file.")
    return path


def _switch(options: Mapping[str, object], name: str) -> bool:
    value = options.get(name, True)
    if not isinstance(value, bool):
        raise ConfigError(f"The option {name} of a local store is true or false.")
    return value


def _recipient(options: Mapping[str, object]) -> str | None:
    value = options.get("recovery_recipient")
    if value is None or (isinstance(value, str) and _RECIPIENT.fullmatch(value)):
        return value
    raise ConfigError(
        "The option recovery_recipient of a local store is an age X25519 public key (age1…).",
        next_step="Put the public key there, never the AGE-SECRET-KEY; then retry.",
    )


def _versions(options: Mapping[str, object]) -> int:
    value = options.get("versions", DEFAULT_VERSIONS)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_VERSIONS:
        raise ConfigError(f"The option versions of a local store is 1 to {MAX_VERSIONS}.")
    return value
