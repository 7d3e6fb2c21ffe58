"""Generated values: made here, sealed here, never shown.

Every recipe gives at least 64 bits of entropy. Key pairs give a private half, sealed, and a
public half, which is not a value.
"""

from __future__ import annotations

import base64
import math
import secrets
import string
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from mcp_server.core.errors import SourceError
from mcp_server.core.sealed import Sealed, declare_public, seal

if TYPE_CHECKING:  # the library is loaded on first use
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["KEY_PAIRS", "PUBLIC_SUFFIX", "Generated", "Recipe", "generate", "normal_length"]

_ALPHABET: Final = string.ascii_letters + string.digits
_SYMBOLS: Final = "-_.~!*+="  # none needs quoting in a URL's userinfo, a shell word or .env
_MIN_BITS: Final = 64


class Recipe(StrEnum):
    """What to generate. ``length`` is given in characters, bytes, words or bits as noted."""

    PASSWORD = "password"  # noqa: S105 - a recipe's name; characters, letters, digits and safe symbols
    ALPHANUMERIC = "alphanumeric"  # characters, letters and digits
    PASSPHRASE = "passphrase"  # noqa: S105 - same; words of the BIP-39 English list, 11 bits each
    TOKEN = "token"  # noqa: S105 - same; bytes, as URL-safe base64
    HEX = "hex"  # bytes
    BASE64 = "base64"  # bytes
    UUID = "uuid"  # random (version 4)
    SSH_ED25519 = "ssh-ed25519"  # OpenSSH private key
    RSA = "rsa"  # bits, PKCS #8 PEM
    EC_P256 = "ec-p256"  # PKCS #8 PEM
    AGE = "age"  # X25519 identity


KEY_PAIRS: Final = frozenset({Recipe.SSH_ED25519, Recipe.RSA, Recipe.EC_P256, Recipe.AGE})
PUBLIC_SUFFIX: Final = ".pub"  # key under which the public half is written beside the private one


@dataclass(frozen=True, slots=True)
class Generated:
    """A value and, for key pairs, its public half in the usual text form."""

    value: Sealed
    public: str | None = None


_LENGTHS: Final[dict[Recipe, tuple[int, int, int]]] = {  # least, default, most
    Recipe.PASSWORD: (12, 32, 256),
    Recipe.ALPHANUMERIC: (12, 32, 256),
    Recipe.PASSPHRASE: (6, 7, 24),
    Recipe.TOKEN: (16, 32, 512),
    Recipe.HEX: (16, 32, 512),
    Recipe.BASE64: (16, 32, 512),
    Recipe.RSA: (2048, 3072, 4096),
}


def normal_length(recipe: Recipe, length: int | None) -> int | None:
    """The length that will be used, ``None`` where a recipe has no choice.

    Raises:
        SourceError: Out of the recipe's bounds.
    """
    if recipe not in _LENGTHS:
        if length is not None:
            raise SourceError(f"{recipe.value} takes no length.")
        return None
    least, default, most = _LENGTHS[recipe]
    chosen = default if length is None else length
    if not least <= chosen <= most:
        raise SourceError(f"{recipe.value} takes a length from {least} to {most}.")
    return chosen


def generate(recipe: Recipe, length: int | None = None) -> Generated:
    """Make one value.

    Args:
        recipe: What to make.
        length: In the recipe's unit; the default where omitted.
    """
    made = _MAKERS[recipe](normal_length(recipe, length) or 0)
    if made.public is not None:
        declare_public(made.public.encode())
    return made


def _password(length: int) -> Generated:
    """At least one symbol, digit and letter of each case, by drawing again until so."""
    alphabet = _ALPHABET + _SYMBOLS
    classes = (string.ascii_lowercase, string.ascii_uppercase, string.digits, _SYMBOLS)
    while True:
        text = _draw(alphabet, length)
        if all(any(c in text for c in each) for each in classes):
            return _text(text, length * math.log2(len(alphabet)))


def _alphanumeric(length: int) -> Generated:
    return _text(_draw(_ALPHABET, length), length * math.log2(len(_ALPHABET)))


def _passphrase(words: int) -> Generated:
    from mnemonic import Mnemonic  # noqa: PLC0415 - loaded on first use

    chosen = Mnemonic("english").wordlist
    text = "-".join(secrets.choice(chosen) for _ in range(words))
    return _text(text, words * math.log2(len(chosen)))


def _token(size: int) -> Generated:
    return _text(secrets.token_urlsafe(size), size * 8)


def _hex(size: int) -> Generated:
    return _text(secrets.token_hex(size), size * 8)


def _base64(size: int) -> Generated:
    return _text(base64.b64encode(secrets.token_bytes(size)).decode(), size * 8)


def _uuid(_: int) -> Generated:
    return _text(str(uuid.uuid4()), 122)


def _ssh_ed25519(_: int) -> Generated:
    from cryptography.hazmat.primitives import serialization as s  # noqa: PLC0415 - on first use
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - same
        Ed25519PrivateKey,
    )

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.OpenSSH, s.NoEncryption())
    public = key.public_key().public_bytes(s.Encoding.OpenSSH, s.PublicFormat.OpenSSH)
    return Generated(seal(private, generated_bits=256), public.decode())


def _rsa(bits: int) -> Generated:
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415 - on first use

    return _pem_pair(rsa.generate_private_key(public_exponent=65537, key_size=bits))


def _ec_p256(_: int) -> Generated:
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - on first use

    return _pem_pair(ec.generate_private_key(ec.SECP256R1()))


def _age(_: int) -> Generated:
    from pyrage import x25519  # noqa: PLC0415 - loaded on first use

    identity = x25519.Identity.generate()
    sealed = seal(str(identity).encode(), generated_bits=256)
    return Generated(sealed, str(identity.to_public()))


def _draw(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _text(text: str, bits: float) -> Generated:
    if bits < _MIN_BITS:
        raise SourceError(f"A generated value has at least {_MIN_BITS} bits.")
    return Generated(seal(text.encode(), generated_bits=int(bits)))


def _pem_pair(key: RSAPrivateKey | EllipticCurvePrivateKey) -> Generated:
    from cryptography.hazmat.primitives import serialization as s  # noqa: PLC0415 - on first use

    private = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    public = key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    return Generated(seal(private, generated_bits=128), public.decode())


_MAKERS: Final[dict[Recipe, Callable[[int], Generated]]] = {
    Recipe.PASSWORD: _password,
    Recipe.ALPHANUMERIC: _alphanumeric,
    Recipe.PASSPHRASE: _passphrase,
    Recipe.TOKEN: _token,
    Recipe.HEX: _hex,
    Recipe.BASE64: _base64,
    Recipe.UUID: _uuid,
    Recipe.SSH_ED25519: _ssh_ed25519,
    Recipe.RSA: _rsa,
    Recipe.EC_P256: _ec_p256,
    Recipe.AGE: _age,
}
