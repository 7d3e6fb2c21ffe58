"""``local://``: the embedded store, a SOPS file on this machine."""

from mcp_server.backends.local._backend import LocalBackend

__all__ = ["LocalBackend"]
