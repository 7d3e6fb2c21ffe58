"""The type that holds a secret value and shows nothing of it.

A ``Sealed`` has no ``repr``, ``str``, format, length, order, equality by content, pickle, copy
or JSON form. Values go in here, and out again only through ``core.exits``; a test reads the
imports and fails when another module opens one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn, final

__all__ = ["Sealed", "declare_public", "on_public", "on_seal", "seal"]

Watcher = Callable[[bytes, int | None], object]
_watchers: Final[list[Watcher]] = []
_public_watchers: Final[list[Callable[[bytes], object]]] = []


@final
class Sealed:
    """One value. Two are equal only when they are the same object."""

    __slots__ = ("__payload", "__weakref__", "generated_bits")

    def __init__(self, payload: bytes, generated_bits: int | None = None) -> None:
        self.__payload = payload
        self.generated_bits = generated_bits

    def __repr__(self) -> str:
        return "<sealed>"

    def __format__(self, spec: str) -> str:
        return "<sealed>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a sealed value cannot be copied or pickled")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a sealed value has no state to give")


def seal(payload: bytes, *, generated_bits: int | None = None) -> Sealed:
    """Take a value in. Everyone who watches (the egress guard) learns of it first.

    Args:
        payload: The value as bytes; text is UTF-8.
        generated_bits: Entropy in bits when this process generated it, else ``None``.
    """
    for watcher in _watchers:
        watcher(payload, generated_bits)
    return Sealed(payload, generated_bits)


def on_seal(watcher: Watcher) -> None:
    """Let ``watcher(payload, generated_bits)`` see every value sealed from now on."""
    _watchers.append(watcher)


def declare_public(material: bytes) -> None:
    """Tell whoever watches that this public half of a sealed key is not a value."""
    for watcher in _public_watchers:
        watcher(material)


def on_public(watcher: Callable[[bytes], object]) -> None:
    """Let ``watcher(material)`` see every public half declared from now on."""
    _public_watchers.append(watcher)


def _open(value: Sealed) -> bytes:
    """For ``core.exits`` alone."""
    payload: bytes = value._Sealed__payload  # type: ignore[attr-defined]  # noqa: SLF001 - mangled
    return payload
