"""The stores. This file is the one table from scheme to backend.

To add a store: write a module with a subclass of ``base.Backend``, add its line here, and let
the contract suite run on it. Nothing in ``core`` changes.
"""

from __future__ import annotations

import importlib
from typing import Final

from mcp_server.backends.base import Backend
from mcp_server.core.errors import UnknownStoreError
from mcp_server.core.ports import Session, StoreSettings

__all__ = ["open_store", "register", "schemes"]

_TABLE: Final[dict[str, str]] = {}


def register(scheme: str, target: str) -> None:
    """Enter ``module:Class`` for ``scheme``; it is imported on first use.

    Raises:
        ValueError: The scheme is taken.
    """
    if scheme in _TABLE:
        raise ValueError(f"two backends for {scheme}://")
    _TABLE[scheme] = target


register("local", "mcp_server.backends.local:LocalBackend")
register("vault", "mcp_server.backends.vault:VaultBackend")
register("memory", "mcp_server.backends.memory:MemoryBackend")


def schemes() -> tuple[str, ...]:
    """Every known scheme, in the order of the table."""
    return tuple(_TABLE)


def open_store(settings: StoreSettings, session: Session) -> Backend:
    """Make the backend that ``settings`` names; contacts nothing."""
    target = _TABLE.get(settings.backend)
    if target is None:
        raise UnknownStoreError("The configuration names a backend that does not exist.")
    module, _, name = target.partition(":")
    backend: type[Backend] = getattr(importlib.import_module(module), name)
    return backend(settings, session)
