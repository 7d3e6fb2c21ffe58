"""``KEY=SOURCE``: how a key's source is written on the command line. There is none for a value."""

from __future__ import annotations

import re
from typing import Final

from mcp_server.cli.failures import UsageError
from mcp_server.core.generate import Recipe
from mcp_server.core.refs import Ref
from mcp_server.core.requests import KeyRequest

__all__ = ["SOURCES_HELP", "key_request"]

SOURCES_HELP: Final = f"""\
sources:
  KEY=generate:RECIPE[:LENGTH]  {", ".join(list(Recipe)[:6])},
                                {", ".join(list(Recipe)[6:])}
  KEY=copy:REF                  a value of another secret
  KEY=file:PATH[#PART]          a file, or a key or JSON pointer inside a .env, JSON, YAML file
  KEY=env:NAME                  a variable of this shell
  KEY=version:N                 an older version of the same key
With a TARGET that ends in #key, KEY= may be left out.
"""
_SOURCE: Final = re.compile(r"(generate|copy|file|env|version):(.*)", re.DOTALL)
_LENGTH: Final = re.compile(r"[0-9]{1,5}")
_NO_VALUES: Final = (
    "A value is never typed here, and what was typed is not used. If it was a real secret, it is"
    " in your shell's history now: rotate it."
)


def key_request(text: str, target: str) -> KeyRequest:
    """One argument of ``secrets write``.

    Args:
        text: ``KEY=SOURCE``, or ``SOURCE`` for the key that ``target`` names.
        target: The target as it was typed.

    Raises:
        UsageError: It is neither. The text is not repeated.
    """
    alone = _SOURCE.fullmatch(text)
    if alone is not None:
        return _request(_key_of(target), alone[1], alone[2])
    key, _, source = text.partition("=")
    named = _SOURCE.fullmatch(source)
    if named is None or not key:
        raise UsageError(_NO_VALUES, next_step="Name a source: `secrets write --help` lists them.")
    return _request(key, named[1], named[2])


def _key_of(target: str) -> str:
    key = None if target.startswith("@") else Ref.parse(target).key
    if key is None:
        raise UsageError(
            "A source without KEY= needs a target that ends in #key.",
            next_step="Write KEY=SOURCE, for example password=generate:password.",
        )
    return key


def _request(key: str, kind: str, rest: str) -> KeyRequest:
    if not rest:
        raise UsageError(f"{kind}: needs something after the colon.")
    if kind == "generate":
        return _generated(key, rest)
    if kind == "file":
        path, _, part = rest.partition("#")
        return KeyRequest(key, file=path, part=part or None)
    if kind == "copy":
        return KeyRequest(key, copy=rest)
    if kind == "env":
        return KeyRequest(key, env=rest)
    return KeyRequest(key, version=rest)


def _generated(key: str, rest: str) -> KeyRequest:
    name, _, length = rest.partition(":")
    known = {recipe.value: recipe for recipe in Recipe}
    if name not in known:
        raise UsageError("There is no such recipe.", next_step=f"One of: {', '.join(known)}.")
    if length and not _LENGTH.fullmatch(length):
        raise UsageError("The length after the recipe is a whole number.")
    return KeyRequest(key, generate=known[name], length=int(length) if length else None)
