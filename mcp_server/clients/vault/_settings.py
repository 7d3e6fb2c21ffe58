"""Where a Vault or OpenBao server is and how patiently it is spoken to."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from mcp_server.core.errors import ConfigError

__all__ = ["Origin", "VaultSettings", "check_peer", "read_origin"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_HEADER_TEXT = re.compile(r"[\x21-\x7e]{1,512}")
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
# Instance metadata services hand out credentials to whoever asks from inside. Those outside
# the link-local ranges: Amazon over IPv6, Alibaba Cloud, the Azure wire server.
_METADATA_SERVICES = frozenset(
    ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16")
)


@dataclass(frozen=True, slots=True)
class Origin:
    """The one server a token may be sent to."""

    tls: bool
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Value of the ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class VaultSettings:
    """One configured server.

    Attributes:
        address: ``https://HOST[:PORT]``; ``http`` only for a loopback address.
        mounts: KV mounts and their version, 1 or 2, for example ``{"secret": 2, "team/kv": 1}``.
            They stand in the configuration so that no right on ``sys/mounts`` is needed.
        namespace: Sent as ``X-Vault-Namespace``.
        ca_file: PEM bundle that alone is trusted; ``None`` means the system's.
        connect_timeout: Seconds for TCP, for each address of the host, and again for TLS.
        read_timeout: Seconds from the start of a request to the last byte of its reply.
        max_body: Bytes, of a request as of a reply.
        pool_size: Connections at most; more callers wait, at most ``read_timeout``.
        agent_session: Sent as ``X-Agent-Session``. The server's audit log shows it after
            ``sys/config/auditing/request-headers/x-agent-session`` was written once.

    Raises:
        ConfigError: A setting is not usable.
    """

    address: str
    mounts: Mapping[str, int] = field(default_factory=dict)
    namespace: str | None = None
    ca_file: Path | None = None
    connect_timeout: float = 5.0
    read_timeout: float = 15.0
    max_body: int = 8 * 1024 * 1024
    pool_size: int = 8
    agent_session: str | None = None

    def __post_init__(self) -> None:
        read_origin(self.address)
        for text in (self.namespace, self.agent_session):
            if text is not None and not _HEADER_TEXT.fullmatch(text):
                raise ConfigError("A Vault namespace or session id is printable ASCII text.")
        if not all(version in {1, 2} for version in self.mounts.values()):
            raise ConfigError("A KV mount has version 1 or 2.")
        if min(self.connect_timeout, self.read_timeout, self.max_body, self.pool_size) <= 0:
            raise ConfigError("Vault time-outs and limits are positive numbers.")


def read_origin(address: str) -> Origin:
    """Split and check an address.

    Raises:
        ConfigError: Not ``https://HOST[:PORT]``, or ``http`` to another machine, or a
            link-local or metadata address. The address is not echoed: it may hold a password.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError("The Vault address is not a URL.") from None
    extras = parts.query or parts.fragment or parts.username or parts.password
    if parts.scheme not in {"http", "https"} or parts.path not in {"", "/"} or extras:
        raise ConfigError("A Vault address is https://HOST[:PORT] and nothing more.")
    if not _HOST.fullmatch(host):
        raise ConfigError("The host of the Vault address is not a plain name or IP address.")
    tls = parts.scheme == "https"
    literal = _as_ip(host)
    if literal is not None:
        check_peer(literal, tls=tls)
    elif not tls and host != "localhost":
        raise ConfigError("A Vault address without TLS must be on this machine.")
    return Origin(tls, host, port or (443 if tls else 80))


def check_peer(peer: Address, *, tls: bool) -> None:
    """Refuse an address that no store has; called again for what a name resolved to.

    Raises:
        ConfigError: Link-local, metadata, unspecified or multicast, or not loopback without TLS.
    """
    actual = getattr(peer, "ipv4_mapped", None) or peer
    if (
        actual.is_link_local
        or actual.is_unspecified
        or actual.is_multicast
        or actual in _METADATA_SERVICES
    ):
        raise ConfigError("A Vault address may not be link-local or a metadata service.")
    if not tls and not actual.is_loopback:
        raise ConfigError("A Vault address without TLS must be on this machine.")


def _as_ip(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
