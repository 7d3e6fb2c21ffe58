"""How often ordinary output is withheld, for many kinds of registered values."""

import base64
import random
import string
from collections.abc import Callable
from uuid import UUID

import pytest

from mcp_server.core.guard import Guard
from tests.leaks.corpus import ordinary

_SOURCE = random.Random("registered values")  # noqa: S311 - reproducible
_FRAMES = 1000
_WORDS = ("gentle", "harbor", "velvet", "thunder", "copper", "meadow", "lantern", "walnut")


def _characters(alphabet: str, length: int) -> str:
    return "".join(_SOURCE.choices(alphabet, k=length))


def _private_key() -> str:
    body = base64.encodebytes(_SOURCE.randbytes(600)).decode()
    return f"-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n"


def _database_document() -> str:
    return (
        '{"username":"billing","host":"redis-3.search.svc.cluster.local","database":"checkout",'
        f'"engine":"postgres","password":"{_characters(string.ascii_letters, 20)}"}}'
    )


def _dsn() -> str:
    password = _characters(string.ascii_letters, 16)
    return f"postgres://app:{password}@postgres-1.billing.svc.cluster.local:5432/billing"


KINDS: dict[str, Callable[[], str]] = {
    "24 letters and digits": lambda: _characters(string.ascii_letters + string.digits, 24),
    "32 hex digits": lambda: _characters("0123456789abcdef", 32),
    "20 printable": lambda: _characters(string.printable[:94], 20),
    "12 letters and digits": lambda: _characters(string.ascii_letters + string.digits, 12),
    "20 lower case": lambda: _characters(string.ascii_lowercase, 20),
    "16 digits": lambda: _characters(string.digits, 16),
    "UUID": lambda: str(UUID(int=_SOURCE.getrandbits(128))),
    "passphrase": lambda: "-".join(_SOURCE.choices(_WORDS, k=5)),
    "host": lambda: f"vault-{_SOURCE.randrange(9)}.payments.svc.cluster.local/v2/metadata",
    "private key": _private_key,
    "database document": _database_document,
    "DSN": _dsn,
}
# Blocked frames allowed of 1,000, with 100 values of one kind registered at once. Any four
# characters of a value of twelve count, and random certificates hold them now and then.
_ALLOWED, _ALLOWED_FOR_TWELVE = 1, 25


@pytest.mark.parametrize("kind", KINDS)
def test_ordinary_output_is_hardly_ever_withheld(kind: str) -> None:
    guard = Guard(budget=1 << 30)
    registered = sum(guard.register(KINDS[kind]().encode()) for _ in range(100))
    frames = ordinary("false alarms", _FRAMES)
    assert registered > 90
    assert len(frames) == _FRAMES
    blocked = sum(guard.check(text).blocked for text in frames)
    assert blocked <= (_ALLOWED_FOR_TWELVE if kind.startswith("12 ") else _ALLOWED)
