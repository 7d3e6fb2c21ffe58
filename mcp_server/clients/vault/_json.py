"""JSON from a server that may be hostile, and KV values as the text they are kept as."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NoReturn, TypeAlias

from mcp_server.core.errors import LimitError, ProtocolError, UnsupportedError

__all__ = [
    "Json",
    "JsonObject",
    "integer",
    "moment",
    "parse_object",
    "section",
    "text",
    "value_bytes",
    "value_text",
]

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = dict[str, "Json"]

_MAX_DEPTH = 64


def parse_object(body: bytes) -> JsonObject:
    """Read one JSON object.

    Raises:
        ProtocolError: Not JSON, or not an object.
        LimitError: Nested deeper than 64 levels.
    """
    try:
        parsed: Json = _decoder.decode(body.decode("utf-8"))
    except RecursionError:
        raise LimitError("The store's answer is nested too deeply.") from None
    except ValueError:
        raise ProtocolError from None
    if not isinstance(parsed, dict):
        raise ProtocolError
    _check_depth(parsed)
    return parsed


def value_bytes(value: Json) -> bytes:
    """A KV value as UTF-8 text: a string as it is, anything else as compact JSON.

    Raises:
        ProtocolError: The value is no Unicode text or no finite number.
    """
    try:
        kept = value if isinstance(value, str) else _compact(value)
        return kept.encode("utf-8")
    except ValueError:
        raise ProtocolError from None


def value_text(value: bytes) -> str:
    """A value as the JSON string that KV keeps.

    Raises:
        UnsupportedError: The value is not UTF-8 text.
    """
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise UnsupportedError(
            "A KV secret holds text, and this value is not UTF-8.",
            next_step="Encode the file as base64 text first; its readers then decode it.",
        ) from None


def section(node: JsonObject, name: str) -> JsonObject:
    """The object at ``name``, an empty one for null or nothing.

    Raises:
        ProtocolError: Something else is there.
    """
    found = node.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ProtocolError
    return found


def integer(node: Mapping[str, Json], name: str) -> int:
    """The whole number at ``name``, 0 for nothing.

    Raises:
        ProtocolError: Something else is there.
    """
    found = node.get(name, 0)
    if not isinstance(found, int):
        raise ProtocolError
    return found


def text(node: Mapping[str, Json], name: str) -> str:
    """The string at ``name``, empty for null or nothing.

    Raises:
        ProtocolError: Something else is there.
    """
    found = node.get(name) or ""
    if not isinstance(found, str):
        raise ProtocolError
    return found


def moment(node: Mapping[str, Json], name: str) -> datetime | None:
    """The RFC 3339 time at ``name``; ``None`` for an empty one and for Go's zero time.

    Raises:
        ProtocolError: Something else is there.
    """
    written = text(node, name)
    if not written or written.startswith("0001-"):
        return None
    try:
        read = datetime.fromisoformat(written)
    except ValueError:
        raise ProtocolError from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _compact(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def _check_depth(tree: Json) -> None:
    level: list[Json] = [tree]
    for _ in range(_MAX_DEPTH):
        level = [child for node in level for child in _nested(node)]
        if not level:
            return
    raise LimitError("The store's answer is nested too deeply.")


def _nested(node: Json) -> list[Json]:
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [child for child in children if isinstance(child, dict | list)]
