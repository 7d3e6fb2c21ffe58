"""Turns a request into an ``Operation``: resolves every name, looks at every revision.

Only describes; reads no value from a store. (Importing a whole file reads it to learn its key
names; copying a whole secret needs a store that can name its keys.)
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mcp_server.core.config import Config
from mcp_server.core.errors import (
    InputError,
    NotFoundError,
    SourceError,
    UnsupportedError,
)
from mcp_server.core.generate import normal_length
from mcp_server.core.model import (
    Ability,
    Act,
    Description,
    Metadata,
    RemovalMode,
    State,
    Verb,
)
from mcp_server.core.plans import Operation, Seen, Step
from mcp_server.core.ports import Store, Stores, StoreSettings
from mcp_server.core.process import is_variable, steers
from mcp_server.core.refs import Ref
from mcp_server.core.requests import STDIN, DeleteRequest, KeyRequest, RunRequest, WriteRequest
from mcp_server.core.sinks import RUNTIME_SCHEME, runtime_name
from mcp_server.core.sources import RAW_KEY, FileFormat, file_stamp, format_of, read_file
from mcp_server.core.text import clean, is_plain

__all__ = ["Planner", "settings_stamp"]

_MAX_TEXT: Final = 256
_MAX_KEYS: Final = 512


@dataclass(frozen=True, slots=True)
class _Sources:
    """Resolved steps, the revisions behind them, and what an import skipped."""

    steps: tuple[Step, ...]
    seen: tuple[Seen, ...]
    skipped: tuple[str, ...] = ()


class Planner:
    """Plans against the configured stores.

    Args:
        config: Names and source rules.
        stores: The stores.
    """

    def __init__(self, config: Config, stores: Stores) -> None:
        self._config = config
        self._stores = stores

    def resolve(self, text: str) -> tuple[Store, Ref]:
        """The store and the canonical reference that a text (or a repository's ``@name``) means."""
        ref = self._named(text)
        store = self._stores.open(ref)
        return store, store.resolve(ref)

    def resolve_prefix(self, text: str) -> tuple[Store, Ref]:
        """The same for a prefix."""
        ref = Ref.parse_prefix(text)
        store = self._stores.open(ref)
        return store, store.resolve(ref)

    def write(self, request: WriteRequest, act: Act) -> tuple[Operation, tuple[str, ...]]:
        """Plan a change or a delivery; also gives what an import would skip."""
        if request.target.startswith(f"{RUNTIME_SCHEME}://"):
            return self._deliver(request, act)
        store, ref = self.resolve(request.target)
        request = _with_key_of(ref, request)
        target = store.describe(ref, act)
        sources = self._sources(request, ref.secret, act)
        _check_change(request, sources, store)
        operation = Operation(
            Verb.CREATE if target.state is State.ABSENT else Verb.UPDATE,
            str(target.ref),
            sources.steps,
            _names(request.remove, "remove"),
            replace=request.replace,
            metadata=_metadata(request, store),
            seen=(*self._seen(store, target), *sources.seen),
            version=target.version,
            expected=target.revision,
            notes=(*_notes(target), *_skip_note(sources.skipped)),
        )
        return operation, sources.skipped

    def delete(self, request: DeleteRequest, act: Act) -> Operation:
        """Plan a removal or a restoration."""
        store, ref = self.resolve(request.target)
        if ref.key is not None:
            raise InputError("To drop one key use secrets_write with remove.")
        if Ability(request.mode.value) not in store.abilities:
            raise UnsupportedError(f"This store cannot {request.mode.value}.")
        target = store.describe(ref, act)
        if target.state is State.ABSENT:
            raise NotFoundError
        versions = tuple(request.versions) or ((ref.version,) if ref.version else ())
        return Operation(
            Verb(request.mode.value),
            str(target.ref),
            versions=_known_versions(versions, target),
            seen=self._seen(store, target),
            version=target.version,
            expected=target.revision,
            notes=(_REMOVAL_NOTES[request.mode], *_notes(target)),
        )

    def run(self, request: RunRequest, act: Act) -> Operation:
        """Plan one child process with values in its environment."""
        for name, _ in request.bindings:
            _check_binding(name)
        executable = shutil.which(request.command[0]) if request.command else None
        if executable is None:
            raise InputError("The command to run was not found.")
        executable = os.path.join(request.folder, executable)  # noqa: PTH118 - keeps links and dots
        keys = [KeyRequest(name, copy=ref) for name, ref in request.bindings]
        sources = self._joined(self._one(key, None, act) for key in keys)
        program = Seen(f"program:{executable}", file_stamp(Path(executable)))
        return Operation(
            Verb.RUN,
            "child process",
            sources.steps,
            command=(executable, *request.command[1:]),
            folder=request.folder,
            seen=(*sources.seen, program),
            notes=("the command sees these values",),
        )

    def acts(self, operation: Operation) -> list[tuple[Verb, Ref]]:
        """Everything an operation does, for policy: its own verb and each use of a source."""
        uses = [
            (Verb.USE, Ref.parse(step.origin).secret)
            for step in operation.steps
            if step.kind == "copy"
        ]
        if operation.verb in {Verb.DELIVER, Verb.RUN}:
            return [(operation.verb, Ref(RUNTIME_SCHEME, operation.verb.value)), *uses]
        return [(operation.verb, Ref.parse(operation.target)), *uses]

    def asks_for_sources(self, operation: Operation) -> bool:
        """Whether a source itself needs a person: a variable the operator did not list."""
        return any(
            step.kind == "env" and step.origin not in self._config.sources.variables
            for step in operation.steps
        )

    def stale(self, operation: Operation, act: Act) -> bool:
        """Whether anything the plan saw is different now."""
        return any(self._now(seen.what, act) != seen.revision for seen in operation.seen)

    def _named(self, text: str) -> Ref:
        if not text.startswith("@"):
            return Ref.parse(text)
        ref = self._config.names.get(text[1:])
        if ref is None:
            raise InputError("The repository's .secrets.yaml has no such name.")
        return ref

    def _deliver(self, request: WriteRequest, act: Act) -> tuple[Operation, tuple[str, ...]]:
        name = runtime_name(request.target)
        if request.remove or request.replace or request.owner or request.consumers:
            raise InputError("A runtime file takes keys and sources only.")
        sources = self._sources(request, None, act)
        if not sources.steps:
            raise InputError("Nothing to deliver: name at least one key.")
        operation = Operation(
            Verb.DELIVER,
            f"{RUNTIME_SCHEME}://{name}",
            sources.steps,
            seen=sources.seen,
            notes=(
                "readable by everything that runs as this user, the assistant's tools included",
                "removed when the session ends",
            ),
        )
        return operation, sources.skipped

    def _sources(self, request: WriteRequest, target: Ref | None, act: Act) -> _Sources:
        parts: list[_Sources] = [self._one(key, target, act) for key in request.keys]
        if request.from_file is not None:
            parts.append(self._whole_file(request.from_file, request.format))
        if request.copy_from is not None:
            parts.append(self._whole_secret(request.copy_from, act))
        return self._joined(iter(parts))

    def _joined(self, parts: Iterator[_Sources]) -> _Sources:
        found = list(parts)
        steps = tuple(step for part in found for step in part.steps)
        names = [step.key for step in steps]
        if len(set(names)) != len(names) or len(names) > _MAX_KEYS:
            raise InputError(f"Name each key once, {_MAX_KEYS} at most.")
        seen = dict.fromkeys(seen for part in found for seen in part.seen)
        return _Sources(steps, tuple(seen), tuple(line for part in found for line in part.skipped))

    def _one(self, key: KeyRequest, target: Ref | None, act: Act) -> _Sources:
        name = _name(key.key, "key")
        named = (key.generate, key.copy, key.file, key.env, key.version)
        if sum(each is not None for each in named) != 1:
            raise InputError("Each key has one source: generate, copy, file, env or version.")
        if key.generate is not None:
            length = normal_length(key.generate, key.length)
            return _Sources((Step(name, "generate", key.generate.value, str(length or "")),), ())
        if key.copy is not None:
            return self._copy(name, key.copy, act)
        if key.file is not None:
            return self._file(name, key.file, key.part)
        if key.env is not None:
            return _Sources((Step(name, "env", self._config.sources.check_variable(key.env)),), ())
        if target is None:
            raise InputError("An older version needs a stored secret as its target.")
        return self._copy(name, str(replace(target, key=name, version=key.version)), act)

    def _copy(self, name: str, text: str, act: Act) -> _Sources:
        store, ref = self.resolve(text)
        _need(store, Ability.FETCH)
        if ref.key is None:
            ref = replace(ref, key=name)
        found = store.describe(ref, act)
        if found.state is State.ABSENT:
            raise NotFoundError("The source of the copy does not exist.")
        if ref.version is None and found.keys is not None and ref.pointer[0] not in found.keys:
            raise NotFoundError("The source of the copy has no such key.")
        return _Sources((Step(name, "copy", str(ref)),), self._seen(store, found))

    def _file(self, name: str, path: str, part: str | None) -> _Sources:
        real = self._config.sources.check(path)
        how = format_of(real)
        inside = RAW_KEY if how is FileFormat.RAW else part or name
        step = Step(name, "file", str(real), f"{how.value}:{inside}")
        return _Sources((step,), (Seen(f"file:{real}", file_stamp(real)),))

    def _whole_file(self, path: str, how: FileFormat) -> _Sources:
        real = self._config.sources.check(path)
        stamp = file_stamp(real)
        how = format_of(real, how)
        found = read_file(real, how)
        steps = tuple(
            Step(_name(key, "key"), "file", str(real), f"{how.value}:{key}") for key in found.values
        )
        if not steps:
            raise SourceError("The file holds no values.")
        return _Sources(steps, (Seen(f"file:{real}", stamp),), found.skipped)

    def _whole_secret(self, text: str, act: Act) -> _Sources:
        store, ref = self.resolve(text)
        _need(store, Ability.FETCH)
        found = store.describe(ref, act)
        if found.keys is None:
            raise UnsupportedError(
                "This store cannot name the keys without reading values.",
                next_step="Name each key to copy.",
            )
        steps = tuple(
            Step(
                key, "copy", str(Ref(ref.scheme, ref.path, key, ref.version, ref.stage, ref.store))
            )
            for key in found.keys
        )
        return _Sources(steps, self._seen(store, found))

    def _seen(self, store: Store, found: Description) -> tuple[Seen, ...]:
        settings = Seen(
            f"store:{found.ref.scheme}:{store.settings.name}", settings_stamp(store.settings)
        )
        return (settings, Seen(f"ref:{found.ref}", _stamp(found)))

    def _now(self, what: str, act: Act) -> str | None:
        kind, _, rest = what.partition(":")
        if kind == "file":
            return file_stamp(self._config.sources.check(rest))
        if kind == "program":
            return file_stamp(Path(rest))
        if kind == "ref":
            store, ref = self.resolve(rest)
            return _stamp(store.describe(ref, act))
        scheme, _, name = rest.partition(":")
        return settings_stamp(self._stores.open(Ref(scheme, "", store=name)).settings)


_REMOVAL_NOTES: Final = {
    RemovalMode.DELETE: "can be restored",
    RemovalMode.RESTORE: "becomes readable again",
    RemovalMode.DESTROY: "cannot be undone",
    RemovalMode.ERASE: "removes every version and all metadata; cannot be undone",
}


def settings_stamp(settings: StoreSettings) -> str:
    """Identity of a store's settings, so that a plan is bound to the address it was made for."""
    text = json.dumps(
        [settings.name, settings.backend, dict(settings.options)], default=str, sort_keys=True
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _stamp(found: Description) -> str:
    """What must not change between plan and apply: state, version and revision."""
    return f"{found.state.value}/{found.version or '-'}/{found.revision or '-'}"


def _with_key_of(ref: Ref, request: WriteRequest) -> WriteRequest:
    """A target with a key means that key: ``local://app/db#password`` takes one source."""
    if ref.version or ref.stage:
        raise InputError("A target has no version; a write makes a new one.")
    if ref.key is not None and [key.key for key in request.keys] != [ref.key]:
        raise InputError("A target with a #key takes exactly that key.")
    return request


def _check_change(request: WriteRequest, sources: _Sources, store: Store) -> None:
    _need(store, Ability.PUT)
    if not (
        sources.steps or request.remove or request.owner or request.schedule or request.consumers
    ):
        raise InputError("Nothing to write: name a key and its source.")
    if request.replace and not sources.steps:
        raise InputError("Replacing needs at least one key; use secrets_delete to remove all.")


def _check_binding(name: str) -> None:
    if name == STDIN:
        return
    if not is_variable(name):
        raise InputError("A variable name has letters, digits and underscores.")
    if steers(name):
        raise InputError("That variable decides what a program loads; no secret is bound to it.")


def _need(store: Store, ability: Ability) -> None:
    if ability not in store.abilities:
        raise UnsupportedError(f"This store cannot {ability.value}.")


def _metadata(request: WriteRequest, store: Store) -> Metadata | None:
    if not (request.owner or request.schedule or request.consumers):
        return None
    _need(store, Ability.METADATA)
    return Metadata(
        request.owner and _name(request.owner, "owner"),
        request.schedule and _name(request.schedule, "schedule"),
        _names(request.consumers, "consumers"),
    )


def _names(texts: tuple[str, ...], what: str) -> tuple[str, ...]:
    return tuple(_name(text, what) for text in texts)


def _name(text: str, what: str) -> str:
    if not text or len(text) > _MAX_TEXT or not is_plain(text):
        raise InputError(f"{what}: 1 to {_MAX_TEXT} visible characters.")
    return text


def _known_versions(versions: tuple[str, ...], target: Description) -> tuple[str, ...]:
    known = {each.version for each in target.versions}
    if known and not known.issuperset(versions):
        raise NotFoundError("The secret has no such version.")
    return versions


def _notes(target: Description) -> tuple[str, ...]:
    consumers = [clean(name, 64) for name in target.metadata.consumers[:8]]
    notes = []
    if consumers:
        notes.append("declared consumers (untrusted): " + ", ".join(consumers))
    if target.revision is None:
        notes.append("no compare-and-set here: written, then read back and verified")
    return tuple(notes)


def _skip_note(skipped: tuple[str, ...]) -> tuple[str, ...]:
    return (f"{len(skipped)} entries of the file are skipped",) if skipped else ()
