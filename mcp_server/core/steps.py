"""Turns the sources of a request into steps: which value each key gets, and what was looked at.

Only describes; reads no value from a store. (Importing a whole file reads it to learn its key
names; copying a whole secret needs a store that can name its keys.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from mcp_server.core.config import Config
from mcp_server.core.errors import InputError, NotFoundError, SourceError, UnsupportedError
from mcp_server.core.generate import normal_length
from mcp_server.core.model import Ability, Act, Description, State, Verb
from mcp_server.core.plans import Seen, Step
from mcp_server.core.pointers import literal
from mcp_server.core.ports import Store
from mcp_server.core.refs import Ref
from mcp_server.core.requests import KeyRequest, WriteRequest
from mcp_server.core.resolver import Resolver
from mcp_server.core.sources import RAW_KEY, FileFormat, file_stamp, format_of, read_file
from mcp_server.core.text import is_plain

__all__ = ["Sources", "StepPlanner", "named", "need"]

_MAX_TEXT: Final = 256
_MAX_KEYS: Final = 512


@dataclass(frozen=True, slots=True)
class Sources:
    """Resolved steps, the stamps of what is behind them, and what an import skipped."""

    steps: tuple[Step, ...]
    seen: tuple[Seen, ...]
    skipped: tuple[str, ...] = ()


class StepPlanner:
    """Plans sources.

    Args:
        config: Source rules.
        resolver: For the references of copies.
    """

    def __init__(self, config: Config, resolver: Resolver) -> None:
        self._rules = config.sources
        self._resolver = resolver

    def of_request(self, request: WriteRequest, target: Ref | None, act: Act) -> Sources:
        """Every source of a write or a delivery; ``target`` is the stored secret, if it is one."""
        parts = [self._one(key, target, act) for key in request.keys]
        if request.from_file is not None:
            parts.append(self._whole_file(request.from_file, request.format))
        if request.copy_from is not None:
            parts.append(self._whole_secret(request.copy_from, act))
        return _joined(parts)

    def of_bindings(self, bindings: Iterable[tuple[str, str]], act: Act) -> Sources:
        """Copies, by the name of the variable that each is bound to."""
        return _joined([self._copy(named(name, "variable"), ref, act) for name, ref in bindings])

    def _one(self, key: KeyRequest, target: Ref | None, act: Act) -> Sources:
        name = named(key.key, "key")
        given = (key.generate, key.copy, key.file, key.env, key.version)
        if sum(each is not None for each in given) != 1:
            raise InputError("Each key has one source: generate, copy, file, env or version.")
        if key.generate is not None:
            length = normal_length(key.generate, key.length)
            return Sources((Step(name, "generate", key.generate.value, str(length or "")),), ())
        if key.copy is not None:
            return self._copy(name, key.copy, act)
        if key.file is not None:
            return self._file(name, key.file, key.part)
        if key.env is not None:
            return Sources((Step(name, "env", self._rules.check_variable(key.env)),), ())
        if target is None:
            raise InputError("An older version needs a stored secret as its target.")
        older = replace(target, key=literal(name), version=key.version)
        return self._copy(name, str(older), act)

    def _copy(self, name: str, text: str, act: Act) -> Sources:
        store, ref = self._resolver.resolve(text)
        found = self._source(store, ref, act)
        if ref.key is None:
            ref = replace(ref, key=literal(name))
        if ref.version is None and found.keys is not None and ref.pointer[0] not in found.keys:
            raise NotFoundError("The source of the copy has no such key.")
        return Sources((Step(name, "copy", str(ref)),), self._resolver.seen(store, found))

    def _whole_secret(self, text: str, act: Act) -> Sources:
        store, ref = self._resolver.resolve(text)
        found = self._source(store, ref, act)
        if ref.key is not None:
            raise InputError("Copying all keys takes a reference without #key.")
        if found.keys is None:
            raise UnsupportedError(
                "This store cannot name the keys without reading values.",
                next_step="Name each key to copy.",
            )
        steps = tuple(
            Step(named(key, "key"), "copy", str(replace(ref, key=literal(key))))
            for key in found.keys
        )
        return Sources(steps, self._resolver.seen(store, found))

    def _source(self, store: Store, ref: Ref, act: Act) -> Description:
        need(store, Ability.FETCH)
        if ref.version is not None:
            need(store, Ability.VERSIONS)
        self._resolver.permit(ref, Verb.USE)
        found = store.describe(ref, act)
        if found.state is State.ABSENT:
            raise NotFoundError("The source of the copy does not exist.")
        return found

    def _file(self, name: str, path: str, part: str | None) -> Sources:
        real = self._rules.check(path)
        how = format_of(real)
        inside = RAW_KEY if how is FileFormat.RAW else named(part or name, "part")
        step = Step(name, "file", str(real), f"{how.value}:{inside}")
        return Sources((step,), (Seen(f"file:{real}", file_stamp(real)),))

    def _whole_file(self, path: str, how: FileFormat) -> Sources:
        real = self._rules.check(path)
        stamp = file_stamp(real)
        how = format_of(real, how)
        found = read_file(real, how)
        steps = tuple(
            Step(named(key, "key"), "file", str(real), f"{how.value}:{key}") for key in found.values
        )
        if not steps:
            raise SourceError("The file holds no values.")
        return Sources(steps, (Seen(f"file:{real}", stamp),), found.skipped)


def named(text: str, what: str) -> str:
    """A name that somebody asked for, if it is one to show."""
    if not text or len(text) > _MAX_TEXT or not is_plain(text):
        raise InputError(f"{what}: 1 to {_MAX_TEXT} visible characters.")
    return text


def need(store: Store, ability: Ability) -> None:
    """Refuse what the store cannot do while it is only a plan."""
    if ability not in store.abilities:
        raise UnsupportedError(f"This store cannot {ability.value}.")


def _joined(parts: list[Sources]) -> Sources:
    steps = tuple(step for part in parts for step in part.steps)
    names = [step.key for step in steps]
    if len(set(names)) != len(names) or len(names) > _MAX_KEYS:
        raise InputError(f"Name each key once, {_MAX_KEYS} at most.")
    seen = dict.fromkeys(seen for part in parts for seen in part.seen)
    return Sources(steps, tuple(seen), tuple(line for part in parts for line in part.skipped))
