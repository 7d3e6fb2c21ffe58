"""``vault://``: the KV engines of HashiCorp Vault and OpenBao."""

from mcp_server.backends.vault._backend import VaultBackend

__all__ = ["VaultBackend"]
