"""A typed SOPS value and its canonical bytes.

SOPS encrypts a value, and hashes it into the file's MAC, in one canonical form: text as UTF-8,
numbers in decimal, ``True`` and ``False``. A ``Leaf`` holds that form, so the cipher and the
MAC need no types, and text that is not UTF-8 (SOPS allows it) survives.

Source: ``ToBytes`` in ``sops.go`` and ``aes/cipher.go`` of getsops/sops v3.11 and v3.13.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from math import isfinite
from typing import Final

from mcp_server.core.errors import CorruptError, InputError

__all__ = ["INT64", "Kind", "Leaf", "real_text"]

INT64: Final = range(-(2**63), 2**63)
"""SOPS keeps whole numbers of this range exactly; JSON numbers beyond it become floats."""

_INTEGER: Final = re.compile(rb"[+-]?[0-9]{1,20}")
_REAL: Final = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_MAX_REAL_BYTES: Final = 1100  # the longest canonical float, 5e-324, has 326
_NOT_FINITE: Final = frozenset({b"NaN", b"+Inf", b"-Inf"})
_TRUE: Final = frozenset({b"True", b"true", b"TRUE", b"1", b"t", b"T"})
_FALSE: Final = frozenset({b"False", b"false", b"FALSE", b"0", b"f", b"F"})
_TIME: Final = re.compile(
    rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    rb"(?:Z|[+-][0-9]{2}:[0-9]{2})"
)


class Kind(StrEnum):
    """The ``type:`` of an encrypted value.

    ``BINARY`` is read but never made: sops 3.11 panics on a ``bytes`` token, and itself writes
    binary data as ``str``. A ``COMMENT`` is no value; it stands in a list of a JSON document
    that was encrypted from YAML, and the MAC leaves it out.
    """

    TEXT = "str"
    INTEGER = "int"
    REAL = "float"
    BOOLEAN = "bool"
    BINARY = "bytes"
    TIME = "time"
    COMMENT = "comment"


@dataclass(frozen=True, slots=True, repr=False)
class Leaf:
    """One value: its kind and its canonical bytes. Its ``repr`` shows the kind alone.

    Use ``of`` for Python values and ``parse`` for foreign bytes; both make the form canonical.
    """

    kind: Kind
    data: bytes

    def __repr__(self) -> str:
        return f"<{self.kind} leaf>"

    @classmethod
    def of(cls, value: str | bytes | bool | float) -> Leaf:  # noqa: FBT001 - a value, no switch
        """Make a leaf of a Python value.

        Bytes become text, whether UTF-8 or not, as sops does it. It keeps them exact, but its
        JSON output shows a replacement character for what is not UTF-8.

        Raises:
            InputError: A lone surrogate, a whole number beyond 64 bits, or not a number.
        """
        match value:
            case bool():
                return cls(Kind.BOOLEAN, b"True" if value else b"False")
            case int():
                return cls(Kind.INTEGER, _integer(value))
            case float():
                return cls(Kind.REAL, _real(value))
            case bytes():
                return cls(Kind.TEXT, value)
        return cls(Kind.TEXT, _text(value))

    @classmethod
    def parse(cls, kind: Kind, data: bytes) -> Leaf:
        """Make a leaf of decrypted bytes.

        Raises:
            CorruptError: The bytes are not a value of that kind.
        """
        match kind:
            case Kind.TEXT | Kind.BINARY | Kind.COMMENT:
                return cls(kind, data)
            case Kind.INTEGER if _INTEGER.fullmatch(data) and int(data) in INT64:
                return cls(kind, str(int(data)).encode())
            case Kind.REAL if data in _NOT_FINITE:
                return cls(kind, data)
            case Kind.REAL if len(data) <= _MAX_REAL_BYTES and _REAL.fullmatch(data):
                return cls(kind, real_text(float(data)).encode())
            case Kind.BOOLEAN if data in _TRUE or data in _FALSE:
                return cls(kind, b"True" if data in _TRUE else b"False")
            case Kind.TIME if _TIME.fullmatch(data):
                return cls(kind, data)
        raise CorruptError("A value of the document does not have the type it claims.")

    @property
    def text(self) -> str:
        """The canonical form as text.

        Raises:
            InputError: The value is not UTF-8.
        """
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            raise InputError("The value is binary and cannot be shown as text.") from None


def real_text(value: float) -> str:
    """Write a float as Go's ``FormatFloat(v, 'f', -1, 64)``: shortest, without exponent."""
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _integer(value: int) -> bytes:
    if value not in INT64:
        raise InputError("SOPS keeps whole numbers of 64 bits; store a larger one as text.")
    return str(value).encode()


def _real(value: float) -> bytes:
    if not isfinite(value):
        raise InputError("The number is not finite.")
    return real_text(value).encode()


def _text(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise InputError("The text has characters that UTF-8 cannot hold.") from None
