"""The token in a value's place: ``ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]``.

AES-256-GCM under the file's data key, with a 32-byte IV and a tag of its own; the additional
data binds the token to its place in the document. Source: ``aes/cipher.go`` of getsops/sops.
"""

from __future__ import annotations

import re
import secrets
from base64 import b64decode, b64encode
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mcp_server.core.errors import CorruptError
from mcp_server.formats.sops.values import Kind, Leaf

__all__ = ["DATA_KEY_BYTES", "ValueCipher", "new_data_key"]

DATA_KEY_BYTES: Final = 32
_IV_BYTES: Final = 32
_TAG_BYTES: Final = 16
_OPENABLE_IV_BYTES: Final = range(8, 129)  # what the AES-GCM implementation accepts
_BASE64: Final = r"([A-Za-z0-9+/]+={0,2})"
_TOKEN: Final = re.compile(
    rf"ENC\[AES256_GCM,data:{_BASE64},iv:{_BASE64},tag:{_BASE64},type:([a-z]+)\]"
)
_KINDS: Final = {kind.value: kind for kind in Kind}


def new_data_key() -> bytes:
    """Return a fresh data key."""
    return secrets.token_bytes(DATA_KEY_BYTES)


class ValueCipher:
    """Encrypts and decrypts single values under one data key.

    Raises:
        CorruptError: The data key has the wrong size.
    """

    __slots__ = ("_aead",)

    def __init__(self, data_key: bytes) -> None:
        if len(data_key) != DATA_KEY_BYTES:
            raise CorruptError("The document's data key has the wrong size.")
        self._aead = AESGCM(data_key)

    def seal(self, leaf: Leaf, additional: bytes) -> str:
        """Encrypt a value under a fresh IV. An empty value stays the empty string."""
        if not leaf.data:
            return ""
        iv = secrets.token_bytes(_IV_BYTES)
        sealed = self._aead.encrypt(iv, leaf.data, additional)
        data, tag = sealed[:-_TAG_BYTES], sealed[-_TAG_BYTES:]
        return f"ENC[AES256_GCM,data:{_b64(data)},iv:{_b64(iv)},tag:{_b64(tag)},type:{leaf.kind}]"

    def open(self, token: str, additional: bytes) -> Leaf:
        """Decrypt a value; the empty string is itself.

        Raises:
            CorruptError: Not a token, another key's, moved to another place, or altered.
        """
        if not token:
            return Leaf(Kind.TEXT, b"")
        data, iv, tag, kind = _split(token)
        try:
            plain = self._aead.decrypt(iv, data + tag, additional)
        except InvalidTag:
            raise CorruptError(
                "A value of the document does not decrypt: it was altered or moved, "
                "or belongs to another key."
            ) from None
        return Leaf.parse(kind, plain)


def _split(token: str) -> tuple[bytes, bytes, bytes, Kind]:
    match = _TOKEN.fullmatch(token)
    if match is None or match[4] not in _KINDS:
        raise CorruptError("A value that should be encrypted is not, or in an unknown way.")
    data, iv, tag = _unb64(match[1]), _unb64(match[2]), _unb64(match[3])
    if len(tag) != _TAG_BYTES or len(iv) not in _OPENABLE_IV_BYTES:
        raise CorruptError("An encrypted value of the document is malformed.")
    return data, iv, tag, _KINDS[match[4]]


def _b64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _unb64(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise CorruptError("An encrypted value of the document is malformed.") from None
