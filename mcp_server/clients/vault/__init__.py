"""Client for HashiCorp Vault and OpenBao: pooled, bounded, and it never follows a redirect.

Reads and writes of secrets go over keep-alive connections of the standard library; hvac serves
logins and token administration, over the same connections. Whatever the server says, what leaves
here is typed data or a class of ``core.errors``.
"""

from mcp_server.clients.vault._paths import Location, check_path
from mcp_server.clients.vault._settings import VaultSettings
from mcp_server.clients.vault.auth import (
    AppRole,
    Login,
    TokenFromEnvironment,
    TokenFromFile,
    TokenInfo,
    discover_login,
)
from mcp_server.clients.vault.client import Acl, VaultClient
from mcp_server.clients.vault.kv import KvMetadata, KvRead, KvShape, KvVersion, KvWritten
from mcp_server.clients.vault.kv1 import KvV1
from mcp_server.clients.vault.kv2 import KvV2

__all__ = [
    "Acl",
    "AppRole",
    "KvMetadata",
    "KvRead",
    "KvShape",
    "KvV1",
    "KvV2",
    "KvVersion",
    "KvWritten",
    "Location",
    "Login",
    "TokenFromEnvironment",
    "TokenFromFile",
    "TokenInfo",
    "VaultClient",
    "VaultSettings",
    "check_path",
    "discover_login",
]
