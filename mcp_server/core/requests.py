"""What a caller asks for, before anything is resolved. No field takes a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mcp_server.core.generate import Recipe
from mcp_server.core.model import RemovalMode
from mcp_server.core.sources import FileFormat

__all__ = ["STDIN", "DeleteRequest", "KeyRequest", "RunRequest", "WriteRequest"]

STDIN: Final = "standard input"  # a binding's name that no variable can have


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """The source of one key: exactly one of ``generate``, ``copy``, ``file``, ``env``, ``version``.

    Attributes:
        key: The key to write.
        length: For ``generate``, in the recipe's unit.
        copy: A reference, with a key unless its own key has the same name.
        file: A path; ``part`` is the key or JSON pointer inside it, else the key's own name.
        env: The name of a variable.
        version: An older version of the same key.
    """

    key: str
    generate: Recipe | None = None
    length: int | None = None
    copy: str | None = None
    file: str | None = None
    part: str | None = None
    env: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """A change of one secret, or a delivery to ``runtime://NAME``.

    Attributes:
        target: The reference, or ``runtime://NAME``.
        keys: Sources key by key.
        from_file: Import every key of a file.
        format: Of ``from_file``.
        copy_from: Copy every key of another secret.
        remove: Keys to drop.
        replace: Drop every other key.
        owner: Metadata, as ``schedule`` and ``consumers``.
    """

    target: str
    keys: tuple[KeyRequest, ...] = ()
    from_file: str | None = None
    format: FileFormat = FileFormat.AUTO
    copy_from: str | None = None
    remove: tuple[str, ...] = ()
    replace: bool = False
    owner: str | None = None
    schedule: str | None = None
    consumers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteRequest:
    """A removal; ``versions`` empty means the current one."""

    target: str
    mode: RemovalMode = RemovalMode.DELETE
    versions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One child process with values in its environment or on its standard input.

    Attributes:
        command: Executable and arguments.
        bindings: Pairs of variable name and reference; the name ``STDIN`` is the pipe.
        folder: Where it runs, absolute.
        files: Env files with plain settings for it, real paths.
        settings: Names of those settings.
    """

    command: tuple[str, ...]
    bindings: tuple[tuple[str, str], ...]
    folder: str
    files: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
