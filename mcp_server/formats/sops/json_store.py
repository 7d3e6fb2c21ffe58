"""JSON bytes to a tree and back, written as the real sops writes it.

Reading is stricter than sops: a key that stands twice is refused (two readers could disagree on
which one counts), and size, nesting and structure are bounded before anything is built.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Final, NoReturn, TypeAlias

from mcp_server.core.errors import CorruptError, InputError, LimitError
from mcp_server.formats.sops.tree import MAX_DEPTH, Map, Node
from mcp_server.formats.sops.values import INT64, Kind, Leaf

__all__ = ["MAX_DOCUMENT_BYTES", "dump", "indent_of", "load", "load_plain"]

MAX_DOCUMENT_BYTES: Final = 16 * 1024 * 1024
MAX_STRUCTURE: Final = 1_000_000
"""Brackets, colons and commas, wherever they stand: an encrypted value has eleven. Together
with the size this bounds the memory that a hostile document can claim."""

_STRUCTURE: Final = b"{[:,"
_MAX_NUMBER: Final = 1100
_INDENT: Final = re.compile(rb'\{\n([ \t]{1,16})"')
_SOPS_INDENT: Final = "\t"
_EXPONENT_BELOW: Final = 1e-6
_EXPONENT_FROM: Final = 1e21
_HTML: Final = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}

_Raw: TypeAlias = "str | bool | Leaf | list[_Raw] | dict[str, _Raw] | None"


def load(document: bytes) -> Map:
    """Read a JSON object as sops reads it.

    A whole number beyond 64 bits becomes a float. sops up to 3.13.1 reads every number as a
    float, but writes it back in a form that both readings agree on.

    Raises:
        CorruptError: Not UTF-8, not JSON, not an object, or a key stands twice.
        LimitError: Too large, too deep or too many parts.
    """
    return _load(document, _integer)


def load_plain(document: bytes) -> Map:
    """Read a plaintext JSON object that is to be encrypted.

    Raises:
        InputError: As ``CorruptError`` in ``load``, or a whole number that SOPS cannot keep.
        LimitError: As in ``load``.
    """
    try:
        return _load(document, _exact_integer)
    except CorruptError:
        raise InputError("The document is not a JSON object with unique keys.") from None


def dump(tree: Map, indent: str = _SOPS_INDENT) -> bytes:
    """Write a tree, byte for byte as sops does with the same indent.

    Raises:
        InputError: A clear value or a key is not text that UTF-8 can hold.
        LimitError: Too large or too deep to be read again.
    """
    parts: list[str] = []
    _write(tree, "\n", indent, parts.append)
    try:
        document = "".join(parts).encode() + b"\n"
    except UnicodeEncodeError:
        raise InputError("A key has characters that UTF-8 cannot hold.") from None
    _check_size(document)
    return document


def indent_of(document: bytes) -> str:
    """Return the indent a document is written with; the default of sops if it shows none."""
    match = _INDENT.match(document)
    return match[1].decode("ascii") if match else _SOPS_INDENT


def _load(document: bytes, parse_int: Callable[[str], Leaf]) -> Map:
    _check_size(document)
    try:
        raw: _Raw = json.loads(
            document.decode(),
            object_pairs_hook=_object,
            parse_int=parse_int,
            parse_float=_real,
            parse_constant=_refuse_constant,
        )
    except ValueError:
        raise CorruptError("The document is not valid JSON.") from None
    except RecursionError:
        raise LimitError("The document is nested too deeply.") from None
    if not isinstance(raw, dict):
        raise CorruptError("The document is not a JSON object.")
    return {_key(key): _node(value, 1) for key, value in raw.items()}


def _check_size(document: bytes) -> None:
    if len(document) > MAX_DOCUMENT_BYTES:
        raise LimitError("The document is too large.")
    if sum(document.count(char) for char in _STRUCTURE) > MAX_STRUCTURE:
        raise LimitError("The document has too many parts.")


def _object(pairs: list[tuple[str, _Raw]]) -> dict[str, _Raw]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise CorruptError("The document has a key twice.")
    return result


def _integer(text: str) -> Leaf:
    if text == "-0":
        return Leaf(Kind.REAL, b"-0")  # a float that sops wrote without its point
    short = len(text) <= len(str(INT64.start))
    return Leaf.of(int(text)) if short and int(text) in INT64 else _real(text)


def _exact_integer(text: str) -> Leaf:
    leaf = _integer(text)
    if leaf.kind is Kind.REAL and text != "-0":
        raise InputError("SOPS keeps whole numbers of 64 bits; write a larger one as text.")
    return leaf


def _real(text: str) -> Leaf:
    if len(text) > _MAX_NUMBER:
        raise LimitError("The document has a number with too many digits.")
    try:
        return Leaf.of(float(text))
    except InputError:
        raise CorruptError("The document has a number out of range.") from None


def _refuse_constant(_: str) -> NoReturn:
    raise CorruptError("The document is not valid JSON.")


def _node(raw: _Raw, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise LimitError("The document is nested too deeply.")
    match raw:
        case str():
            return _text(raw)
        case bool():
            return Leaf.of(raw)
        case dict():
            return {_key(key): _node(value, depth + 1) for key, value in raw.items()}
        case list():
            return [_node(value, depth + 1) for value in raw]
    return raw


def _text(raw: str) -> Leaf:
    try:
        return Leaf.of(raw)
    except InputError:
        raise CorruptError("The document has text that is not valid Unicode.") from None


def _key(raw: str) -> str:
    _text(raw)
    return raw


def _write(node: Node, line: str, indent: str, out: Callable[[str], object]) -> None:
    """Write a node; ``line`` is a line break with the indent of the node's own line."""
    if len(line) > 1 + MAX_DEPTH * max(1, len(indent)):
        raise LimitError("The document is nested too deeply.")
    match node:
        case dict():
            items = [(f"{_quoted(key)}: ", child) for key, child in node.items()]
            _write_items(items, "{}", (line, indent), out)
        case list():
            _write_items([("", child) for child in node], "[]", (line, indent), out)
        case Leaf():
            out(_scalar(node))
        case None:
            out("null")


def _write_items(
    items: list[tuple[str, Node]], ends: str, layout: tuple[str, str], out: Callable[[str], object]
) -> None:
    line, indent = layout
    separator = ends[0] + line + indent
    for prefix, child in items:
        out(separator + prefix)
        _write(child, line + indent, indent, out)
        separator = "," + line + indent
    out(line + ends[1] if items else ends)


def _scalar(leaf: Leaf) -> str:
    match leaf.kind:
        case Kind.TEXT | Kind.BINARY | Kind.TIME:
            return _quoted(leaf.text)
        case Kind.BOOLEAN:
            return leaf.text.lower()
        case Kind.REAL:
            return _real_literal(leaf)
        case Kind.COMMENT:
            raise InputError("JSON cannot hold a comment in clear.")
    return leaf.text


def _real_literal(leaf: Leaf) -> str:
    """Write a float as Go's ``encoding/json``: with an exponent only when far from one."""
    value = float(leaf.data)
    if value == 0 or _EXPONENT_BELOW <= abs(value) < _EXPONENT_FROM:
        return leaf.text
    if leaf.data[-1:].isalpha():
        raise InputError("JSON cannot hold a number that is not finite.")
    return repr(value).replace("e-0", "e-")


def _quoted(text: str) -> str:
    return str(encode_basestring(text)).translate(_HTML)
