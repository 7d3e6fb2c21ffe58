"""Reading YAML and JSON that nobody vouches for: bounded, without aliases, without echo.

Bounds: bytes, nesting depth, number of nodes. YAML aliases are refused (a 280-byte file can grow
to gigabytes), and so are duplicate keys, which parsers resolve differently. Errors of the parsers
carry a snippet of the text, so none of it is passed on.
"""

from __future__ import annotations

import json
from typing import Final

import yaml

from mcp_server.core.errors import LimitError, SourceError

__all__ = ["MAX_BYTES", "MAX_DEPTH", "load_json", "load_yaml", "load_yaml_texts"]

MAX_BYTES: Final = 2_097_152
MAX_DEPTH: Final = 32
_MAX_NODES: Final = 50_000
_OPENING = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSING = (yaml.MappingEndEvent, yaml.SequenceEndEvent)
# The constructors of PyYAML answer a text that does not fit an explicit tag, such as `!!int ""`,
# with whatever their code runs into.
_WRONG = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, OverflowError)
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Exact(_Loader):  # type: ignore[misc, valid-type]  # the C form where there is one
    """Keeps the text of a number, truth value or date that is not what JSON would write."""


def _exact(loader: _Exact, node: yaml.ScalarNode) -> object:
    value = _Loader.yaml_constructors[node.tag](loader, node)
    return value if json.dumps(value, default=lambda _: None) == node.value else node.value


for _kind in ("int", "float", "bool", "timestamp"):
    _Exact.add_constructor(f"tag:yaml.org,2002:{_kind}", _exact)


def load_yaml(text: bytes) -> object:
    """The plain objects of one YAML document.

    Raises:
        LimitError: Too large, too deep, or an alias.
        SourceError: Not YAML, several documents, or a duplicate key.
    """
    return _load(text, _Loader)


def load_yaml_texts(text: bytes) -> object:
    """The same for a file of values, where ``0123`` is no octal number and ``yes`` no truth.

    YAML 1.1 would read them as 83 and ``true``, and a value would be changed on its way.
    """
    return _load(text, _Exact)


def _load(text: bytes, loader: type[yaml.SafeLoader]) -> object:
    _check_size(text)
    try:
        _check_events(text)
        node = yaml.compose(text, Loader=loader)
        _check_duplicates(node)
        return yaml.load(text, Loader=loader)  # noqa: S506 - a form of SafeLoader
    except _WRONG:
        raise SourceError("The file is not valid YAML.") from None


def load_json(text: bytes) -> object:
    """The plain objects of one JSON text; the same bounds and errors as ``load_yaml``."""
    _check_size(text)
    _check_brackets(text)
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise SourceError("The file is not valid JSON.") from None


def _check_size(text: bytes) -> None:
    if len(text) > MAX_BYTES:
        raise LimitError("The document is too large.")


def _check_events(text: bytes) -> None:
    depth = 0
    for nodes, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.AliasEvent):
            raise LimitError("YAML aliases are not accepted.")
        depth += isinstance(event, _OPENING) - isinstance(event, _CLOSING)
        if depth > MAX_DEPTH or nodes > _MAX_NODES:
            raise LimitError("The document is nested too deeply or has too many parts.")


def _check_duplicates(root: yaml.Node | None) -> None:
    open_nodes = [root]
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, yaml.MappingNode):
            keys = [(key.tag, key.value) for key, _ in node.value if isinstance(key.value, str)]
            if len(set(keys)) != len(keys):
                raise SourceError("The document has a duplicate key.")
            open_nodes.extend(value for _, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            open_nodes.extend(node.value)


def _check_brackets(text: bytes) -> None:
    """Bound the nesting before the parser recurses into it."""
    depth = 0
    in_string = escaped = False
    for byte in text:
        if escaped:
            escaped = False
        elif in_string:
            escaped, in_string = byte == ord("\\"), byte != ord('"')
        elif byte == ord('"'):
            in_string = True
        else:
            depth += (byte in b"[{") - (byte in b"]}")
            if depth > MAX_DEPTH:
                raise LimitError("The document is nested too deeply.")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise SourceError("The document has a duplicate key.")
    return found
