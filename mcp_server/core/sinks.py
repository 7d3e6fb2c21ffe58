"""Where values may go besides stores: a runtime file, or one child's environment.

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
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from mcp_server.core import exits
from mcp_server.core.errors import BadReferenceError, SourceError
from mcp_server.core.sealed import Sealed

__all__ = ["RUNTIME_SCHEME", "RuntimeFolder", "in_child_environment", "runtime_name"]

RUNTIME_SCHEME: Final = "runtime"
Result = TypeVar("Result")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@%+,-]*")


def runtime_name(text: str) -> str:
    """The file name of a ``runtime://NAME`` target."""
    name = text.removeprefix(f"{RUNTIME_SCHEME}://")
    if not _NAME.fullmatch(name):
        raise BadReferenceError("A runtime file is runtime://NAME with a plain file name.")
    return name


def in_child_environment(
    values: Mapping[str, Sealed], start: Callable[[Mapping[str, bytes]], Result]
) -> Result:
    """Start one child with the values in its environment; ``start`` must not keep them."""
    return exits.child_environment(values, start)


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
        as it is.
        """
        self._prepare()
        path = self.path / name
        exits.into_file(values, _renderer(name, len(values)), lambda data: _replace(path, data))
        return path

    def clear(self) -> None:
        """Remove the folder and everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _prepare(self) -> None:
        if self.path.is_dir():
            return
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = self._root.lstat()
        if info.st_uid != os.getuid() or info.st_mode & 0o077 or not self._root.is_dir():
            raise SourceError("The runtime folder is not private to this user.")
        self._sweep()
        self.path.mkdir(mode=0o700)
        atexit.register(self.clear)

    def _sweep(self) -> None:
        for folder in self._root.iterdir():
            pid = folder.name.partition("-")[0]
            if pid.isdigit() and not _alive(int(pid)):
                shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _renderer(name: str, count: int) -> Callable[[Mapping[str, bytes]], bytes]:
    suffix = Path(name).suffix or name
    if suffix == ".env":
        return _as_env
    if suffix in {".json", ".yaml", ".yml"}:
        return _as_json  # JSON is YAML too
    if count != 1:
        raise SourceError("A file without .env, .json or .yaml in its name holds one key.")
    return lambda values: next(iter(values.values()))


def _as_env(values: Mapping[str, bytes]) -> bytes:
    return b"".join(
        name.encode() + b"=" + _env_quoted(value) + b"\n" for name, value in values.items()
    )


def _env_quoted(value: bytes) -> bytes:
    text = _text(value)
    if _PLAIN.fullmatch(text):
        return text.encode()
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped.replace("$", chr(92) + "$")}"'.encode()


def _as_json(values: Mapping[str, bytes]) -> bytes:
    return json.dumps({name: _text(value) for name, value in values.items()}).encode() + b"\n"


def _text(value: bytes) -> str:
    """Text as it is; bytes that are not UTF-8 as base64."""
    with suppress(UnicodeDecodeError):
        return value.decode()
    return base64.b64encode(value).decode()


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_name(path.name + ".part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        partial.unlink(missing_ok=True)
        raise SourceError("The runtime file could not be written whole.") from None
    finally:
        os.close(descriptor)
    partial.replace(path)
