"""The configured stores, each opened when first named."""

from __future__ import annotations

from threading import Lock

from mcp_server.backends import open_store, schemes
from mcp_server.backends.base import Backend
from mcp_server.core.config import Config
from mcp_server.core.errors import UnknownStoreError
from mcp_server.core.ports import Session, StoreSettings
from mcp_server.core.refs import Ref

__all__ = ["ConfiguredStores"]


class ConfiguredStores:
    """Opens stores by scheme and ``?store=`` name (``core.ports.Stores``).

    Args:
        config: Which stores there are and which a scheme means.
        session: Handed to each store.
    """

    def __init__(self, config: Config, session: Session) -> None:
        self._config = config
        self._session = session
        self._settings = {store.name: store for store in config.stores}
        self._open: dict[str, Backend] = {}
        self._lock = Lock()

    def open(self, ref: Ref) -> Backend:
        """The store that ``ref`` names.

        Raises:
            UnknownStoreError: No such store, or it is of another scheme.
        """
        settings = self._settings.get(ref.store or self._config.defaults.get(ref.scheme, ""))
        if settings is None or settings.backend != ref.scheme:
            raise UnknownStoreError
        with self._lock:
            if settings.name not in self._open:
                self._open[settings.name] = open_store(settings, self._session)
            return self._open[settings.name]

    def settings(self) -> tuple[StoreSettings, ...]:
        """All configured stores, in the order of the configuration."""
        return self._config.stores

    def schemes(self) -> tuple[str, ...]:
        """Every scheme that there is a backend for, configured or not."""
        return schemes()

    def close(self) -> None:
        """Close what was opened."""
        with self._lock:
            for store in self._open.values():
                store.close()
            self._open.clear()
