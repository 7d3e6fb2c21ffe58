# ruff: noqa: S311 - reproducible test data, no cryptography
"""Ordinary output of tools and logs, in which no leak test may find anything."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from uuid import UUID

__all__ = ["frame", "ordinary"]


def frame(text: str) -> bytes:
    """A JSON-RPC result as the server writes it: the text inside JSON inside JSON, and again."""
    inner = {"reference": "vault://secret/app/db#password", "version": 3, "note": text}
    message = {
        "jsonrpc": "2.0",
        "id": 7,
        "result": {
            "content": [{"type": "text", "text": json.dumps(inner, indent=2)}],
            "structuredContent": inner,
            "isError": False,
        },
    }
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass")


def ordinary(seed: str, count: int) -> list[bytes]:
    """Frames without any value, as tools and logs produce them; the same for the same seed."""
    source = random.Random(seed)
    makers = (_receipt, _listing, _audit_lines, _manifest, _error, _prose, _certificate, _log)
    return [frame(source.choice(makers)(source)) for _ in range(count)]


_APPS = ("billing", "checkout", "payments", "catalog", "search", "mailer", "identity", "gateway")
_THINGS = ("db", "cache", "queue", "smtp", "webhook", "signing", "oauth", "tls", "api", "ssh")
_KEYS = ("password", "token", "client_secret", "privateKey", "connectionString", "accessKeyId")
_HOSTS = ("postgres", "redis", "vault", "kafka", "mysql", "registry", "grafana", "ldap")


def _name(source: random.Random) -> str:
    zone = source.choice(("prod", "stage", "dev", "eu-west-1", "us-east-2"))
    return f"{zone}/{source.choice(_APPS)}/{source.choice(_THINGS)}-{source.randrange(30)}"


def _host(source: random.Random) -> str:
    return f"{source.choice(_HOSTS)}-{source.randrange(9)}.{source.choice(_APPS)}.svc.cluster.local"


def _time(source: random.Random) -> str:
    day, hour = source.randrange(1, 29), source.randrange(24)
    minute, micro = source.randrange(60), source.randrange(10**6)
    return f"2026-{source.randrange(1, 13):02}-{day:02}T{hour:02}:{minute:02}:07.{micro:06}Z"


def _digest(source: random.Random) -> str:
    return hashlib.sha256(source.randbytes(8)).hexdigest()


def _uuid(source: random.Random) -> str:
    return str(UUID(int=source.getrandbits(128), version=4))


def _receipt(source: random.Random) -> str:
    fields = {
        "reference": f"vault://secret/{_name(source)}#{source.choice(_KEYS)}",
        "version": source.randrange(40),
        "updated": _time(source),
        "fingerprint": _digest(source)[:16],
        "plan": _uuid(source),
        "state": source.choice(("created", "updated", "unchanged", "scheduled for deletion")),
        "next": "Call secrets_apply with this plan, or let it expire in 10 minutes.",
    }
    return json.dumps(fields)


def _listing(source: random.Random) -> str:
    rows = (f"{_name(source):40} {source.choice(_KEYS):18} {_time(source)}" for _ in range(25))
    return "\n".join(rows)


def _audit_lines(source: random.Random) -> str:
    lines = (
        json.dumps(
            {
                "time": _time(source),
                "type": "response",
                "auth": {"accessor": "hmac-sha256:" + _digest(source), "policies": ["default"]},
                "request": {
                    "id": _uuid(source),
                    "path": "secret/data/" + _name(source),
                    "remote_address": f"10.{source.randrange(256)}.4.{source.randrange(256)}",
                },
            }
        )
        for _ in range(6)
    )
    return "\n".join(lines)


def _manifest(source: random.Random) -> str:
    return (
        "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata:\n"
        f"  name: {source.choice(_APPS)}-{source.choice(_THINGS)}\n  uid: {_uuid(source)}\n"
        f"spec:\n  refreshInterval: 1h\n  data:\n    - secretKey: {source.choice(_KEYS)}\n"
        f"      remoteRef:\n        key: {_name(source)}\n"
        f"        property: {source.choice(_KEYS)}\n"
        f"image: registry.example/{source.choice(_APPS)}@sha256:{_digest(source)}\n"
    )


def _error(source: random.Random) -> str:
    return (
        f"STORE_UNREACHABLE: {_host(source)}:{source.randrange(1024, 65536)} did not answer "
        f"within {source.randrange(2, 30)} s. Next: check that the address is right. "
        f"Incident {_digest(source)[:8]}."
    )


def _prose(source: random.Random) -> str:
    sentences = (
        "The password of the database user is rotated every thirty days by the scheduler.",
        "Please grant the read capability on this path, then call secrets_status again.",
        "Nobody has used the old credential since the new one was applied to all consumers.",
        "An access key of the production account was last used from an unknown address.",
        "Don't paste values here: name a file, a variable or another reference instead.",
        "The certificate expires soon; its private key never leaves the store.",
        "Für die Umgebung «Produktion» gilt: erst prüfen, dann ändern — nie umgekehrt.",
        "Use `secrets run --env DB_PASSWORD=vault://secret/app#password -- ./migrate`.",
    )
    return " ".join(source.choices(sentences, k=8))


def _certificate(source: random.Random) -> str:
    body = base64.encodebytes(source.randbytes(700)).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"


def _log(source: random.Random) -> str:
    lines = (
        f"{_time(source)} INFO {source.choice(_APPS)}[{source.randrange(32768)}] "
        f"GET https://{_host(source)}/v1/secret/data/{_name(source)}?version={source.randrange(9)} "
        f"200 {source.randrange(9999)}B {source.randrange(900)}ms trace={_digest(source)[:32]}"
        for _ in range(10)
    )
    return "\n".join(lines)
