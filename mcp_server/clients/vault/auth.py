"""How a token comes to be: from a file, from the environment, or by an AppRole login.

A token is itself a value. It lives in a ``Token``, which shows nothing, and leaves it only as the
header of a request to the one server it was configured for.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NoReturn, final

from mcp_server.core.errors import AuthenticationError, ConfigError
from mcp_server.core.sealed import seal

__all__ = [
    "AppRole",
    "Login",
    "Token",
    "TokenFromEnvironment",
    "TokenFromFile",
    "TokenInfo",
    "discover_login",
]

_MAX_CREDENTIAL = 16 * 1024
_CREDENTIAL = re.compile(r"[\x21-\x7e]+")
AppRoleLogin = Callable[[str, str, str], "Token"]


@final
class Token:
    """A token that shows nothing of itself. The egress guard learns of it here."""

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        if not _CREDENTIAL.fullmatch(text):
            raise AuthenticationError("The token holds characters that no Vault token has.")
        seal(text.encode("ascii"))
        self.__text = text

    def __repr__(self) -> str:
        return "<token>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a token cannot be copied or pickled")

    def header(self) -> dict[str, str]:
        """The request header that carries it."""
        return {"X-Vault-Token": self.__text}

    def is_same(self, other: Token) -> bool:
        """Whether a source gave the same token again."""
        return self.__text == other.__text


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What the server knows about the token in use.

    Attributes:
        display_name: Untrusted text.
        policies: Names of the policies, the identity's included.
        expires: ``None`` for a token without end.
    """

    display_name: str
    policies: tuple[str, ...]
    expires: datetime | None


class Login(ABC):
    """A source of tokens. Reads nothing until the first request needs a token."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._token: Token | None = None

    def token(self, approle_login: AppRoleLogin) -> Token:
        """The token in use.

        Args:
            approle_login: Exchanges mount, role id and secret id for a token.

        Raises:
            AuthenticationError: There is none, or the login was refused.
        """
        with self._lock:
            if self._token is None:
                self._token = self._obtain(approle_login)
            return self._token

    def after_refusal(self, refused: Token, approle_login: AppRoleLogin) -> Token | None:
        """Another token, once the server does not know ``refused`` any more; else ``None``."""
        with self._lock:
            if self._token is None or self._token is refused:
                self._token = self._obtain(approle_login)
            return None if self._token.is_same(refused) else self._token

    @abstractmethod
    def _obtain(self, approle_login: AppRoleLogin) -> Token:
        """Read or ask for a token."""


class TokenFromFile(Login):
    """The content of a file, read again when the server refuses what it held.

    So a sink that Vault Agent keeps fresh works. The path comes from the operator.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def _obtain(self, _approle_login: AppRoleLogin) -> Token:
        return Token(_read_credential(self._path))


class TokenFromEnvironment(Login):
    """The content of a variable that the operator named."""

    def __init__(self, variable: str) -> None:
        super().__init__()
        self._variable = variable

    def _obtain(self, _approle_login: AppRoleLogin) -> Token:
        text = os.environ.get(self._variable, "").strip()
        if not text:
            raise AuthenticationError(f"The variable {self._variable} holds no token.")
        return Token(text)


class AppRole(Login):
    """A login with role id and secret id, each the content of a file; repeated on expiry.

    Source: https://openbao.org/api-docs/auth/approle/. Needs no policy: the login itself is
    unauthenticated. A secret id that is used up or expired makes the login fail.
    """

    def __init__(self, role_id_file: Path, secret_id_file: Path, mount: str = "approle") -> None:
        super().__init__()
        self._role_id_file = role_id_file
        self._secret_id_file = secret_id_file
        self._mount = mount

    def _obtain(self, approle_login: AppRoleLogin) -> Token:
        role_id = _read_credential(self._role_id_file)
        secret_id = _read_credential(self._secret_id_file)
        seal(secret_id.encode("ascii"))
        return approle_login(self._mount, role_id, secret_id)


def discover_login(environment: Mapping[str, str], home: Path) -> Login | None:
    """What the vendor's own tool would use: ``VAULT_TOKEN``, then ``~/.vault-token``.

    Source: https://developer.hashicorp.com/vault/docs/commands, "Token helper".
    """
    if environment.get("VAULT_TOKEN"):
        return TokenFromEnvironment("VAULT_TOKEN")
    token_file = home / ".vault-token"
    return TokenFromFile(token_file) if token_file.is_file() else None


def _read_credential(path: Path) -> str:
    """The stripped text of a small regular file; a FIFO or device never blocks the caller."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no path
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            content = file.read(_MAX_CREDENTIAL + 1) if regular else b""
        text = content.decode("ascii").strip()
    except OSError:
        raise AuthenticationError("A credential file of the store cannot be read.") from None
    except UnicodeDecodeError:
        raise ConfigError("A credential file of the store does not hold a credential.") from None
    if len(content) > _MAX_CREDENTIAL or not _CREDENTIAL.fullmatch(text):
        raise ConfigError("A credential file of the store does not hold a credential.")
    return text
