"""JSON pointers (RFC 6901): the way to a value inside a structured one."""

from __future__ import annotations

import re

__all__ = ["descend", "literal", "steps_of"]

_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")


def steps_of(pointer: str) -> tuple[str, ...]:
    """The steps of a pointer, which begins with a slash."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/"))


def literal(key: str) -> str:
    """What stands for exactly this key where a pointer could stand too."""
    if not key.startswith("/"):
        return key
    return "/" + key.replace("~", "~0").replace("/", "~1")


def descend(node: object, steps: tuple[str, ...]) -> object:
    """What lies at the end of the steps; a list index has neither a sign nor a leading zero.

    Raises:
        LookupError: Nothing does.
    """
    for step in steps:
        if isinstance(node, dict):
            node = node[step]
        elif isinstance(node, list) and _INDEX.fullmatch(step):
            node = node[int(step)]
        else:
            raise LookupError
    return node
