"""From a path in a reference to a request target that stays inside its mount."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from mcp_server.core.errors import BadReferenceError, ConfigError
from mcp_server.core.text import is_plain

__all__ = ["Location", "check_path", "encode_path", "locate", "target"]

_MAX_PATH = 1024
_ENCODED_SEPARATOR = re.compile(r"%(?:25)*(?:2e|2f|5c)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Location:
    """A secret or folder inside a KV mount; ``path`` is empty for the mount itself."""

    mount: str
    path: str


def locate(mounts: Iterable[str], path: str) -> Location:
    """Find the configured mount that a path lies in; the longest one wins.

    Raises:
        ConfigError: No configured mount covers the path.
    """
    for mount in sorted(mounts, key=len, reverse=True):
        if path == mount or path.startswith(f"{mount}/"):
            return Location(mount, path[len(mount) + 1 :])
    raise ConfigError(
        "No configured mount covers this path.",
        next_step="Add it and its KV version to the store, for example `mounts: {team: 2}`.",
    )


def check_path(path: str) -> None:
    """Refuse a path whose segments could lead out of its mount.

    ``core.refs`` refuses most of it before; a server that normalises ``..`` would otherwise
    answer from outside the mount, with the same token.

    Raises:
        BadReferenceError: A segment is empty, ``.`` or ``..``, or holds an encoded dot or
            separator, a backslash or a hidden character; or the path is too long.
    """
    if len(path) > _MAX_PATH or not all(map(_is_harmless, path.split("/"))):
        raise BadReferenceError("A path in Vault has plain segments: no empty, . or .. ones.")


def encode_path(path: str) -> str:
    """Check a path and percent-encode each segment.

    Raises:
        BadReferenceError: As for ``check_path``.
    """
    check_path(path)
    return "/".join(quote(segment, safe="") for segment in path.split("/"))


def target(path: str, query: Mapping[str, str | int] | None = None, *, folder: bool = False) -> str:
    """The request target of an API path, which is encoded and checked here."""
    options = f"?{urlencode(query)}" if query else ""
    return f"/v1/{encode_path(path)}{'/' if folder else ''}{options}"


def _is_harmless(segment: str) -> bool:
    return (
        segment not in {"", ".", ".."}
        and "\\" not in segment
        and is_plain(segment)
        and not _ENCODED_SEPARATOR.search(segment)
    )
