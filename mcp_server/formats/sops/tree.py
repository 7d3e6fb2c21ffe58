"""A document as a tree of leaves, walked in document order.

Only ``leaves`` and ``mapped`` know the shape; encryption and the MAC see one leaf after the
other with its path, so a format with another shape needs another walk and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from mcp_server.core.errors import InputError, LimitError
from mcp_server.formats.sops.values import Leaf

__all__ = ["MAX_DEPTH", "Map", "Node", "Path", "keys_of", "leaves", "mapped", "place"]

MAX_DEPTH: Final = 64
"""Maps and lists inside one another; SOPS files in the wild stay below ten."""

Node: TypeAlias = "Leaf | list[Node] | dict[str, Node] | None"
"""``None``, empty lists and empty maps are neither encrypted nor part of the MAC."""
Map: TypeAlias = dict[str, Node]
Path: TypeAlias = tuple[str | int, ...]
"""Map keys (text) and list positions (numbers) from the root to a leaf."""


def leaves(node: Node, path: Path = ()) -> Iterator[tuple[Path, Leaf]]:
    """Yield every leaf with its path, in document order.

    Raises:
        LimitError: The tree is too deep.
    """
    _check_depth(path)
    match node:
        case Leaf():
            yield path, node
        case dict():
            for key, child in node.items():
                yield from leaves(child, (*path, key))
        case list():
            for position, child in enumerate(node):
                yield from leaves(child, (*path, position))


def mapped(tree: Map, change: Callable[[Path, Leaf], Leaf]) -> Map:
    """Build a tree of the same shape; ``change`` sees the leaves in document order.

    Raises:
        LimitError: The tree is too deep.
    """
    return {key: _mapped(child, (key,), change) for key, child in tree.items()}


def _mapped(node: Node, path: Path, change: Callable[[Path, Leaf], Leaf]) -> Node:
    _check_depth(path)
    match node:
        case Leaf():
            return change(path, node)
        case dict():
            return {key: _mapped(child, (*path, key), change) for key, child in node.items()}
        case list():
            return [_mapped(child, (*path, at), change) for at, child in enumerate(node)]
    return None


def _check_depth(path: Path) -> None:
    if len(path) > MAX_DEPTH:
        raise LimitError("The document is nested too deeply.")


def keys_of(path: Path) -> tuple[str, ...]:
    """Return the map keys of a path; rules and additional data ignore list positions."""
    return tuple(part for part in path if isinstance(part, str))


def place(path: Path) -> bytes:
    """Return the additional data that binds a token to its place: ``a:b:``.

    A key that contains a colon makes two places look alike; that is SOPS's form, and the MAC
    over all values in order is what tells them apart.

    Raises:
        InputError: A key has characters that UTF-8 cannot hold.
    """
    try:
        return "".join(f"{key}:" for key in keys_of(path)).encode()
    except UnicodeEncodeError:
        raise InputError("A key has characters that UTF-8 cannot hold.") from None
