"""Where values may go besides stores and children: runtime files.

The runtime folder is private to one session (0700, files 0600), lies outside every repository and
is removed at the end; folders of sessions that died are removed by the next one. A runtime file
can be read by anything that runs as the user, the assistant's own tools included, and plans that
use one say so.
"""

from __future__ import annotations

import atexit
import base64
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from mcp_server.core import exits
from mcp_server.core.durable import write_all
from mcp_server.core.errors import BadReferenceError, SourceError
from mcp_server.core.process import is_variable
from mcp_server.core.sealed import Sealed

__all__ = [
    "RUNTIME_SCHEME",
    "RuntimeFolder",
    "check_keys",
    "holds_one",
    "runtime_name",
]

RUNTIME_SCHEME: Final = "runtime"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PID: Final = re.compile(r"[1-9][0-9]{0,8}")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@%+,-]*")
# In single quotes a shell reads everything as it is; python-dotenv reads \\ and \' there.
_SINGLE: Final = re.compile(r"(?:[^'\\]|\\(?![\\']|\Z))*")
_SPECIAL: Final = re.compile(r'[\\"$`]')
_BACKSLASHED: Final = r"\\\g<0>"
_BEYOND_BMP: Final = re.compile("([\U00010000-\U0010ffff]+)")
_LAST_OF_BMP: Final = "\uffff"


def runtime_name(text: str) -> str:
    """The file name of a ``runtime://NAME`` target."""
    name = text.removeprefix(f"{RUNTIME_SCHEME}://")
    if not _NAME.fullmatch(name):
        raise BadReferenceError("A runtime file is runtime://NAME with a plain file name.")
    return name


class RuntimeFolder:
    """The runtime files of one session.

    Args:
        root: ``places.runtime_root()``.
        session: The session's id.
    """

    def __init__(self, root: Path, session: str) -> None:
        self._root = root
        self.path = root / f"{os.getpid()}-{session}"

    def deliver(self, name: str, values: Mapping[str, Sealed]) -> Path:
        """Write the values as the format that the name's suffix says.

        ``.env``, ``.json`` and ``.yaml`` hold every key; any other name holds exactly one value,
        as it is. Bytes that are not UTF-8 become base64 in the first three. A ``.env`` file holds
        variables only; a POSIX shell reads exactly the values. So does python-dotenv, but for what
        it has no way to write: ``${NAME}``, which it replaces, a carriage return, and a ``$`` or
        backtick together with an apostrophe or backslashes.

        Raises:
            SourceError: The file cannot be written, or does not hold such keys.
        """
        render = _renderer(name, tuple(values))
        self._prepare()
        path = self.path / name
        exits.into_file(values, render, lambda data: _replace(path, data))
        return path

    def clear(self) -> None:
        """Remove the folder and everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _prepare(self) -> None:
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _private(self._root):
                raise SourceError("The runtime folder is not private to this user.")
            if _private(self.path):
                return
            self._sweep()
            self.path.mkdir(mode=0o700)
        except OSError:
            raise SourceError("The runtime folder cannot be made.") from None
        atexit.register(self.clear)

    def _sweep(self) -> None:
        for folder in self._root.iterdir():
            pid = folder.name.partition("-")[0]
            if _PID.fullmatch(pid) and not _alive(int(pid)):
                shutil.rmtree(folder, ignore_errors=True)


def _private(folder: Path) -> bool:
    """Whether it is a folder, no link to one, that belongs to this user alone."""
    try:
        info = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid() and not info.st_mode & 0o077


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def holds_one(name: str) -> bool:
    """Whether a runtime file of this name holds one value as it is."""
    return Path(name).suffix not in {".env", ".json", ".yaml", ".yml"}


def check_keys(name: str, keys: Collection[str]) -> None:
    """Whether a runtime file of this name can hold these keys.

    Raises:
        SourceError: It cannot.
    """
    if holds_one(name) and len(keys) != 1:
        raise SourceError("A file without .env, .json or .yaml in its name holds one key.")
    if Path(name).suffix == ".env" and not all(map(is_variable, keys)):
        raise SourceError("A .env file holds keys of letters, digits and underscores only.")


def _renderer(name: str, keys: Collection[str]) -> Callable[[Mapping[str, bytes]], bytes]:
    check_keys(name, keys)
    if holds_one(name):
        return lambda values: next(iter(values.values()))
    return _as_env if Path(name).suffix == ".env" else _as_json  # JSON is YAML too


def _as_env(values: Mapping[str, bytes]) -> bytes:
    return b"".join(
        name.encode() + b"=" + _env_quoted(value) + b"\n" for name, value in values.items()
    )


def _env_quoted(value: bytes) -> bytes:
    text = _text(value)
    if _PLAIN.fullmatch(text):
        return text.encode()
    if _SINGLE.fullmatch(text):
        return f"'{text}'".encode()
    return f'"{_SPECIAL.sub(_BACKSLASHED, text)}"'.encode()


def _as_json(values: Mapping[str, bytes]) -> bytes:
    pairs = ", ".join(f"{_json(name)}: {_json(_text(value))}" for name, value in values.items())
    return f"{{{pairs}}}\n".encode()


def _json(text: str) -> str:
    """A JSON string that YAML reads alike: it has no escape made of two halves."""
    parts = _BEYOND_BMP.split(text)
    return f'"{"".join(p if p > _LAST_OF_BMP else json.dumps(p)[1:-1] for p in parts)}"'


def _text(value: bytes) -> str:
    """Text as it is; bytes that are not UTF-8 as base64."""
    with suppress(UnicodeDecodeError):
        return value.decode()
    return base64.b64encode(value).decode()


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{secrets.token_hex(4)}")  # no name that one can ask for
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise SourceError(
            "The runtime file could not be written whole; nothing was delivered.",
            next_step="Make room in the runtime folder, then plan it again.",
        ) from None
