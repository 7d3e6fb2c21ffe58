"""Where values come from without passing the model: files and variables of this machine.

A file source is a regular file below the project or a folder the operator named, at most 1 MiB,
never key material of other programs (``.ssh``, ``.gnupg``, ``.aws``, ``.kube``, …), never a link
out of those folders. Formats: ``.env`` (python-dotenv's dialect, no interpolation), JSON, YAML,
and raw (the whole file is one value). A variable source is never one of the assistant or of this
program's own logins.
"""

from __future__ import annotations

import io
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from mcp_server.core import strength
from mcp_server.core.documents import load_json, load_yaml_texts
from mcp_server.core.errors import LimitError, SourceError
from mcp_server.core.pointers import descend, steps_of
from mcp_server.core.process import is_variable
from mcp_server.core.sealed import Sealed, seal
from mcp_server.core.text import is_plain

__all__ = [
    "RAW_KEY",
    "EnvLine",
    "FileFormat",
    "FileValues",
    "SourceRules",
    "env_lines",
    "file_stamp",
    "read_file",
    "read_variable",
]

RAW_KEY: Final = "value"
_MAX_FILE: Final = 1_048_576
_KEY_MATERIAL: Final = frozenset(
    {".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".git", ".age", ".sops", ".claude"}
    | {".vault-token", ".netrc", ".pgpass", ".git-credentials", ".secret-management"}
    | {"secret-management", "gcloud", "age-key.txt", "keys.txt"}
    | {".claude.json", ".codex", ".gemini", ".bao-token", ".terraform.d", ".password-store"}
    | {"keyrings", ".my.cnf", ".pypirc"}
)
_NAME: Final = re.compile(r"[A-Za-z_][\w.-]{0,127}")
_KERNEL: Final = (("proc",), ("sys",), ("dev",))  # a project may be the root folder
_OWN_VARIABLES: Final = re.compile(
    r"(?:ANTHROPIC|CLAUDE|OPENAI|CODEX|CURSOR|GEMINI|COPILOT|MCP|SECRET_MANAGEMENT|SOPS|AWS|VAULT"
    r"|BAO|LD|DYLD)(?:_.*)?|CLAUDECODE|PYTHON.*"
)


class FileFormat(StrEnum):
    """How a file is read; ``auto`` decides by the name."""

    AUTO = "auto"
    ENV = "env"
    JSON = "json"
    YAML = "yaml"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class SourceRules:
    """What the operator allows as sources.

    Attributes:
        project: The project folder; files below it are sources.
        folders: Further folders whose files are.
        variables: Names of variables used unasked; others are asked about.
    """

    project: Path
    folders: tuple[Path, ...] = ()
    variables: frozenset[str] = frozenset()

    def check(self, path: str) -> Path:
        """The real path of an allowed file source.

        Raises:
            SourceError: Not there, not a regular file, or not allowed.
        """
        try:
            asked = self.project / Path(path).expanduser()
            real = asked.resolve()
        except (OSError, RuntimeError, ValueError):
            raise SourceError("There is no such file.") from None
        self._permit(asked, real)
        try:
            regular = stat.S_ISREG(real.stat().st_mode)
        except OSError:
            raise SourceError("There is no such file.") from None
        if not regular:
            raise SourceError("A file source is a regular file.")
        return real

    def _permit(self, asked: Path, real: Path) -> None:
        """By name alone: a refusal does not tell what else there is on this machine."""
        within = any(real.is_relative_to(folder) for folder in (self.project, *self.folders))
        if not within or real.parts[1:2] in _KERNEL:
            raise SourceError("The file lies outside the project and the operator's folders.")
        # Some file systems do not tell the case of letters apart.
        if _KEY_MATERIAL.intersection(part.casefold() for part in (*real.parts, *asked.parts)):
            raise SourceError("Files that hold keys or logins of programs are never sources.")
        if not is_plain(str(real)):
            raise SourceError("The file's path has control or hidden characters.")

    def check_variable(self, name: str) -> str:
        """The name of an allowed variable source."""
        if not is_variable(name):
            raise SourceError("A variable name has letters, digits and underscores.")
        if name not in self.variables and _OWN_VARIABLES.fullmatch(name):
            raise SourceError("Variables of the assistant and of store logins are never sources.")
        return name


@dataclass(frozen=True, slots=True)
class FileValues:
    """The keys of a file, sealed, and what was skipped, by line number and reason."""

    values: Mapping[str, Sealed]
    skipped: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, repr=False)
class EnvLine:
    """One line of a ``.env`` file: its number, the variable, and the text, unquoted."""

    number: int
    name: str
    text: str


def file_stamp(path: Path) -> str:
    """Identity of a file's present content, without a hash or a size: inode and times."""
    try:
        info = path.stat()
    except OSError:
        raise SourceError("The file is gone.") from None
    return f"{info.st_dev}:{info.st_ino}:{info.st_mtime_ns}:{info.st_ctime_ns}"


def read_file(path: Path, how: FileFormat, pointers: frozenset[str] = frozenset()) -> FileValues:
    """Read a checked file (``SourceRules.check``) into sealed values.

    Args:
        path: From ``SourceRules.check``.
        how: The format. A raw file's single value has the key ``RAW_KEY``.
        pointers: JSON pointers (``/a/b``) whose values are given too, under the pointer's text.
    """
    content = _read(path)
    chosen = format_of(path, how)
    if chosen is FileFormat.ENV:
        return _read_env(content)
    if chosen is FileFormat.RAW:
        return FileValues({RAW_KEY: seal(content)})
    tree = load_json(content) if chosen is FileFormat.JSON else load_yaml_texts(content)
    if not isinstance(tree, dict):
        raise SourceError("The file's top level is not a mapping of names to values.")
    found = _from_tree(tree)
    pointed = {pointer: seal(_scalar(_at(tree, pointer))) for pointer in pointers}
    return FileValues({**found.values, **pointed}, found.skipped)


def read_variable(name: str) -> Sealed:
    """The value of a checked variable (``SourceRules.check_variable``)."""
    value = os.environb.get(name.encode())
    if not value:
        raise SourceError("The variable is not set here.")
    return seal(value)


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise SourceError("The file cannot be opened.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SourceError("A file source is a regular file.")
    try:
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(_MAX_FILE + 1)
    except OSError:
        raise SourceError("The file cannot be read.") from None
    if len(content) > _MAX_FILE:
        raise LimitError("A file source has at most 1 MiB.")
    return content


def format_of(path: Path, how: FileFormat = FileFormat.AUTO) -> FileFormat:
    """The format that will be used: the one asked for, else by the file's name."""
    if how is not FileFormat.AUTO:
        return how
    if path.suffix in {".yaml", ".yml"}:
        return FileFormat.YAML
    if path.suffix == ".json":
        return FileFormat.JSON
    if path.name.startswith(".env") or path.suffix == ".env":
        return FileFormat.ENV
    return FileFormat.RAW


def env_lines(path: Path) -> tuple[tuple[EnvLine, ...], tuple[str, ...]]:
    """The lines of a checked ``.env`` file that set a variable, and what was skipped.

    For a file of references and plain settings; what holds values is read by ``read_file``.
    """
    return _env_lines(_read(path))


def _env_lines(content: bytes) -> tuple[tuple[EnvLine, ...], tuple[str, ...]]:
    from dotenv.parser import parse_stream  # noqa: PLC0415 - loaded on first use

    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError("A .env file is UTF-8 text.") from None
    lines: list[EnvLine] = []
    skipped: list[str] = []
    for binding in parse_stream(io.StringIO(text)):
        number = binding.original.line
        if binding.error or (binding.key is not None and binding.value is None):
            skipped.append(f"line {number}: not NAME=VALUE")
        elif binding.key is not None and binding.value is not None:
            lines.append(EnvLine(number, binding.key, binding.value))
    return tuple(lines), tuple(skipped)


def _read_env(content: bytes) -> FileValues:
    lines, skipped = _env_lines(content)
    kept = [line for line in lines if _is_name(line)]
    unnamed = [f"line {line.number}: not NAME=VALUE" for line in lines if not _is_name(line)]
    last = {line.name: line for line in kept}
    again = [f"line {each.number}: set again below" for each in kept if last[each.name] != each]
    values = {line.name: seal(line.text.encode()) for line in last.values()}
    return FileValues(values, (*skipped, *unnamed, *again))


def _is_name(line: EnvLine) -> bool:
    """Names are shown, so what stands before ``=`` must be one.

    It is part of a value where the file is no .env file, or where a value goes on in lines
    without quotes: a URL with options, the last line of a key in base64 with its padding.
    """
    if not _NAME.fullmatch(line.name):
        return False
    words = re.split(r"[_.-]", line.name)
    return bool(line.text.strip("=")) or not any(strength.above_floor(w.encode()) for w in words)


def _from_tree(tree: dict[object, object]) -> FileValues:
    values: dict[str, Sealed] = {}
    skipped: list[str] = []
    for position, (name, node) in enumerate(tree.items(), 1):
        if isinstance(name, str) and node is not None:
            values[name] = seal(_scalar(node))
        else:
            skipped.append(f"entry {position}: no name or no value")
    return FileValues(values, tuple(skipped))


def _at(tree: object, pointer: str) -> object:
    try:
        node = descend(tree, steps_of(pointer))
    except LookupError:
        node = None
    if node is None:
        raise SourceError("The file has no value at that pointer.")
    return node


def _scalar(node: object) -> bytes:
    """Text as it is; anything else as compact JSON, the form that pointers read."""
    if isinstance(node, str):
        try:
            return node.encode()
        except UnicodeEncodeError:  # JSON can write half a character (RFC 8259, section 8.2)
            raise SourceError("A text in the file is not Unicode.") from None
    return json.dumps(node, separators=(",", ":"), default=str).encode()
