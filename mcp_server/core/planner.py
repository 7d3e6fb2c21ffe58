"""Turns a request into an ``Operation``: resolves every name, looks at every revision.

Only describes; ``core.steps`` says where values will come from, and reads none from a store.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from mcp_server.core.config import Config
from mcp_server.core.errors import InputError, NotFoundError
from mcp_server.core.model import (
    TOLD_VERSIONS,
    Ability,
    Act,
    Description,
    Metadata,
    RemovalMode,
    State,
    Verb,
)
from mcp_server.core.plans import Operation, Seen, quoted
from mcp_server.core.ports import Store, Stores
from mcp_server.core.process import is_variable, steers
from mcp_server.core.refs import Ref
from mcp_server.core.requests import STDIN, DeleteRequest, RunRequest, WriteRequest
from mcp_server.core.resolver import Resolver
from mcp_server.core.sinks import RUNTIME_SCHEME, check_keys, runtime_name
from mcp_server.core.sources import file_stamp
from mcp_server.core.steps import Sources, StepPlanner, named, need
from mcp_server.core.text import clean

__all__ = ["Planner"]


class Planner(Resolver):
    """Plans against the configured stores.

    Args:
        config: Names, source rules and policy.
        stores: The stores.
    """

    def __init__(self, config: Config, stores: Stores) -> None:
        super().__init__(config, stores)
        self._steps = StepPlanner(config, self)

    def write(self, request: WriteRequest, act: Act) -> tuple[Operation, tuple[str, ...]]:
        """Plan a change or a delivery; also gives what an import would skip."""
        if request.target.startswith(f"{RUNTIME_SCHEME}://"):
            return self._deliver(request, act)
        store, ref = self.resolve(request.target)
        _check_target(ref, request)
        self.permit(ref, Verb.CREATE, Verb.UPDATE)
        target = store.describe(ref, act)
        sources = self._steps.of_request(request, ref.secret, act)
        _check_change(request, sources, store)
        operation = Operation(
            Verb.CREATE if target.state is State.ABSENT else Verb.UPDATE,
            str(target.ref),
            sources.steps,
            _names(request.remove, "remove"),
            replace=request.replace,
            metadata=_metadata(request, store, target.metadata),
            seen=(*self.seen(store, target), *sources.seen),
            version=_shown_version(target),
            expected=target.revision,
            notes=(*_notes(target), *_skip_note(sources.skipped)),
        )
        return operation, sources.skipped

    def delete(self, request: DeleteRequest, act: Act) -> Operation:
        """Plan a removal or a restoration."""
        store, ref = self.resolve(request.target)
        _check_removal(ref, request)
        need(store, Ability(request.mode.value))
        self.permit(ref, Verb(request.mode.value))
        target = store.describe(ref, act)
        if target.state is State.ABSENT:
            raise NotFoundError
        versions = _names(request.versions, "versions") or ((ref.version,) if ref.version else ())
        return Operation(
            Verb(request.mode.value),
            str(target.ref),
            versions=_known_versions(versions, target),
            seen=self.seen(store, target),
            version=_shown_version(target),
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
        sources = self._steps.of_bindings(request.bindings, act)
        # A script that is named is as much of the command as what reads it.
        named = (os.path.join(request.folder, each) for each in request.command[1:])  # noqa: PTH118
        files = [executable, *filter(_is_file, named)]
        programs = [Seen(f"program:{file}", file_stamp(Path(file))) for file in files]
        settings = [Seen(f"file:{file}", file_stamp(Path(file))) for file in request.files]
        return Operation(
            Verb.RUN,
            "child process",
            sources.steps,
            command=(executable, *request.command[1:]),
            folder=request.folder,
            seen=(*sources.seen, *dict.fromkeys([*programs, *settings])),
            notes=("the command sees these values", *_settings_note(request)),
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
        return any(self.now(seen.what, act) != seen.revision for seen in operation.seen)

    def _deliver(self, request: WriteRequest, act: Act) -> tuple[Operation, tuple[str, ...]]:
        name = runtime_name(request.target)
        if request.remove or request.replace or _declares(request):
            raise InputError("A runtime file takes keys and sources only.")
        sources = self._steps.of_request(request, None, act)
        if not sources.steps:
            raise InputError("Nothing to deliver: name at least one key.")
        check_keys(name, [step.key for step in sources.steps])
        operation = Operation(
            Verb.DELIVER,
            f"{RUNTIME_SCHEME}://{name}",
            sources.steps,
            seen=sources.seen,
            notes=(
                "readable by everything that runs as this user, the assistant's tools included",
                "removed when the session ends",
                *_skip_note(sources.skipped),
            ),
        )
        return operation, sources.skipped


_REMOVAL_NOTES: Final = {
    RemovalMode.DELETE: "can be restored",
    RemovalMode.RESTORE: "becomes readable again",
    RemovalMode.DESTROY: "cannot be undone",
    RemovalMode.ERASE: "removes every version and all metadata; cannot be undone",
}


def _check_target(ref: Ref, request: WriteRequest) -> None:
    """A target with a key means that key: ``local://app/db#password`` takes one source."""
    if ref.version or ref.stage:
        raise InputError("A target has no version; a write makes a new one.")
    if ref.key is not None and [(key.key,) for key in request.keys] != [ref.pointer]:
        raise InputError("A target with a #key takes exactly that key.")


def _check_change(request: WriteRequest, sources: Sources, store: Store) -> None:
    need(store, Ability.PUT)
    if not (sources.steps or request.remove or _declares(request)):
        raise InputError("Nothing to write: name a key and its source.")
    if request.replace and not sources.steps:
        raise InputError("Replacing needs at least one key; use secrets_delete to remove all.")
    if {step.key for step in sources.steps}.intersection(request.remove):
        raise InputError("A key is either written or removed.")


def _check_removal(ref: Ref, request: DeleteRequest) -> None:
    if ref.key is not None:
        raise InputError("To drop one key use secrets_write with remove.")
    if request.mode is RemovalMode.ERASE and (request.versions or ref.version):
        raise InputError("Erasing takes every version; use destroy for single ones.")


def _check_binding(name: str) -> None:
    if name == STDIN:
        return
    if not is_variable(name):
        raise InputError("A variable name has letters, digits and underscores.")
    if steers(name):
        raise InputError("That variable decides what a program loads; no secret is bound to it.")


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # no argument need be a path
        return False


def _declares(request: WriteRequest) -> bool:
    return bool(request.owner or request.schedule or request.consumers)


def _metadata(request: WriteRequest, store: Store, now: Metadata) -> Metadata | None:
    """What stands afterwards: stores set declared metadata whole, so the rest is kept here."""
    if not _declares(request):
        return None
    need(store, Ability.METADATA)
    owner, schedule = request.owner, request.schedule
    return Metadata(
        named(owner, "owner") if owner else _kept(now.owner),
        named(schedule, "schedule") if schedule else _kept(now.schedule),
        _names(request.consumers, "consumers") or tuple(map(clean, now.consumers)),
    )


def _kept(text: str | None) -> str | None:
    return None if text is None else clean(text) or None


def _names(texts: tuple[str, ...], what: str) -> tuple[str, ...]:
    return tuple(named(text, what) for text in texts)


def _known_versions(versions: tuple[str, ...], target: Description) -> tuple[str, ...]:
    known = {each.version for each in target.versions}
    if known and len(target.versions) < TOLD_VERSIONS and not known.issuperset(versions):
        raise NotFoundError("The secret has no such version.")
    return versions


def _shown_version(target: Description) -> str | None:
    return None if target.version is None else clean(target.version, 64)


def _notes(target: Description) -> tuple[str, ...]:
    consumers = [quoted(clean(name, 64)) for name in target.metadata.consumers[:8]]
    notes = []
    if consumers:
        notes.append("declared consumers (untrusted): " + ", ".join(consumers))
    if target.revision is None:
        notes.append("no compare-and-set here: written, then read back and verified")
    return tuple(notes)


def _settings_note(request: RunRequest) -> tuple[str, ...]:
    if not request.settings:
        return ()
    names = ", ".join(named(name, "variable") for name in request.settings)
    files = ", ".join(quoted(file) for file in request.files)
    return (f"it gets the settings {names} from {files}",)


def _skip_note(skipped: tuple[str, ...]) -> tuple[str, ...]:
    return (f"{len(skipped)} entries of the file are skipped",) if skipped else ()
