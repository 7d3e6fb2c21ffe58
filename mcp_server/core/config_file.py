"""One configuration file, read once, within bounds, and checked without echoing it."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mcp_server.core.documents import MAX_BYTES, load_yaml
from mcp_server.core.errors import ConfigError, LimitError, SourceError
from mcp_server.core.text import clean, is_plain

__all__ = ["ConfigFile", "Table", "digest_now"]

Table = Mapping[str, object]
_PATTERN: Final = re.compile(r"\*\*|[a-z*][a-z0-9*-]*://[^?#%\\]*(?<!/)|[a-z][a-z0-9-]*://")


class ConfigFile:
    """One configuration file as checked tables; errors name the file and the place.

    Args:
        path: The file; one that is not there is an empty one.
        allowed: Names at the top level.

    Raises:
        ConfigError: No regular file, not bounded YAML, or another name.
    """

    def __init__(self, path: Path, allowed: set[str]) -> None:
        self.path = path
        try:
            content = _content(path)
            tree = None if content is None else load_yaml(content)
        except (SourceError, LimitError, OSError):
            raise ConfigError(f"{_shown(path)} is not readable, bounded YAML.") from None
        self.digest = _digest(content)
        self.table = self.check(tree or {}, allowed, "top level")

    def check(self, value: object, allowed: set[str], place: str) -> Table:
        """A table with no other names."""
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise self.wrong(place, "is a table of names")
        if value.keys() - allowed:
            raise self.wrong(place, f"knows only {', '.join(sorted(allowed))}")
        return value

    def items(self, value: object, place: str) -> list[object]:
        """A list; nothing is an empty one."""
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.wrong(place, "is a list")
        return value

    def texts(self, value: object, place: str) -> tuple[str, ...]:
        """A list of texts."""
        found = self.items(value, place)
        return tuple(self.text(each, place) for each in found)

    def pattern(self, value: object, place: str) -> str:
        """A pattern that can match; a rule with a slip in it would otherwise be inert."""
        text = self.text(value, place)
        if not _PATTERN.fullmatch(text) or not is_plain(text):
            raise self.wrong(place, "is scheme://path, decoded, with * and **, and no key or store")
        return text

    def patterns(self, value: object, place: str) -> tuple[str, ...]:
        """A list of patterns."""
        return tuple(self.pattern(each, place) for each in self.items(value, place))

    def text(self, value: object, place: str) -> str:
        """A text that is not empty."""
        if not isinstance(value, str) or not value:
            raise self.wrong(place, "is text")
        return value

    def wrong(self, place: str, rule: str) -> ConfigError:
        """The error to raise: file, place and rule, never the content."""
        return ConfigError(f"{_shown(self.path)}: {place} {rule}.")


def _shown(path: Path) -> str:
    return clean(str(path), 400)


def _content(path: Path) -> bytes | None:
    """What the file holds, ``None`` where there is none.

    Never waits and never reads without bound: a repository can hold a link to a device.

    Raises:
        OSError: There is something, but no regular file that can be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MAX_BYTES + 1)


def _digest(content: bytes | None) -> str:
    return "" if content is None else hashlib.sha256(content).hexdigest()


def digest_now(path: Path) -> str:
    """The digest of what the file holds now."""
    try:
        return _digest(_content(path))
    except OSError:
        return "unreadable"
