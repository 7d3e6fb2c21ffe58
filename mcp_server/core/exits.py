"""Every way a value can leave a ``Sealed``: the one module that opens them.

To know where values may go, read this file. A test reads the imports of the whole project and
fails when another module opens a sealed value, or when a module outside the list given at each
function calls it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import TypeVar

from mcp_server.core import strength
from mcp_server.core.errors import TooWeakError
from mcp_server.core.guard import guessed
from mcp_server.core.sealed import Sealed, _open

__all__ = ["child_environment", "fingerprint", "into_file", "into_store", "same"]

Result = TypeVar("Result")
_FINGERPRINT_HEX = 16


def into_store(
    values: Mapping[str, Sealed], send: Callable[[Mapping[str, bytes]], Result]
) -> Result:
    """To a store, by its backend (called by ``backends.base`` only)."""
    return send({key: _open(value) for key, value in values.items()})


def into_file(
    values: Mapping[str, Sealed],
    render: Callable[[Mapping[str, bytes]], bytes],
    write: Callable[[bytes], None],
) -> None:
    """To a declared sink file, rendered as its format (called by ``core.sinks`` only)."""
    write(render({key: _open(value) for key, value in values.items()}))


def child_environment(
    values: Mapping[str, Sealed], start: Callable[[Mapping[str, bytes]], Result]
) -> Result:
    """To the environment or a pipe of one child (called by ``core.broker`` only).

    ``start`` must not keep them.
    """
    return start({name: _open(value) for name, value in values.items()})


def same(written: Mapping[str, Sealed], found: Mapping[str, Sealed]) -> bool:
    """Whether a store holds what was just written to it (called by ``core.executor`` only).

    Not an oracle about a stored value: the caller wrote ``written`` itself a moment ago.
    """
    return all(
        key in found and hmac.compare_digest(_open(value), _open(found[key]))
        for key, value in written.items()
    )


def fingerprint(value: Sealed, key: bytes) -> str:
    """A keyed fingerprint, 64 bits of HMAC-SHA-256 (called by ``core.broker`` only).

    Comparable under the same key only.

    Args:
        value: The value.
        key: A key of this run; never stored, so fingerprints of two runs tell nothing.

    Raises:
        TooWeakError: The value, or a part of it that has to be guessed, is below the entropy
            floor: in ``postgres://app:1234@db.example/app`` only the four digits are unknown.
    """
    payload = _open(value)
    if not strength.above_floor(payload, generated_bits=value.generated_bits):
        raise TooWeakError
    if value.generated_bits is None and not all(map(strength.above_floor, guessed(payload))):
        raise TooWeakError
    return hmac.new(key, payload, hashlib.sha256).hexdigest()[:_FINGERPRINT_HEX]
