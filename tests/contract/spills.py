"""Looks for a value in what is shown of an object: its texts, its fields, its traceback."""

from __future__ import annotations

import base64
import json
import re
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from urllib.parse import quote

__all__ = ["forms", "shown", "spills"]


_PLAIN = re.compile(rb"[\w.-]{12,}")


def forms(value: bytes) -> frozenset[bytes]:
    """The value as it is, its longest plain part, and the encodings that texts usually use."""
    text = value.decode("utf-8", "backslashreplace")
    return frozenset(
        {
            value,
            max(_PLAIN.findall(value), key=len, default=value),
            value.hex().encode(),
            base64.b64encode(value).rstrip(b"="),
            base64.urlsafe_b64encode(value).rstrip(b"="),
            quote(value).encode(),
            json.dumps(text)[1:-1].encode(),
            repr(value)[2:-1].encode(),
        }
    )


def shown(thing: object) -> Iterator[str]:
    """Every text that a log line, a message or a debugger would make of ``thing``."""
    yield from (repr(thing), str(thing), format(thing))
    if isinstance(thing, BaseException):
        yield from traceback.format_exception(thing)
        yield from map(repr, thing.args)
    elif is_dataclass(thing):
        for field in fields(thing):
            yield from shown(getattr(thing, field.name))
    elif isinstance(thing, Mapping):
        for part in (*thing.keys(), *thing.values()):
            yield from shown(part)
    elif isinstance(thing, tuple | list | set | frozenset):
        for part in thing:
            yield from shown(part)


def spills(value: bytes, *things: object) -> list[str]:
    """The types of the ``things`` that show ``value``.

    Raises:
        ValueError: There is nothing to look at, so nothing would be proved.
    """
    if not things:
        raise ValueError("nothing to look at")
    sought = forms(value)
    return [
        type(thing).__name__
        for thing in things
        if any(form in text.encode() for text in shown(thing) for form in sought)
    ]
