"""Carries out one agreed operation: values are made, fetched or read here, and only here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mcp_server.core import exits
from mcp_server.core.config import Config
from mcp_server.core.errors import ConflictError, NotFoundError, SecretsError, SourceError
from mcp_server.core.generate import PUBLIC_SUFFIX, Recipe, generate
from mcp_server.core.model import (
    Act,
    Change,
    Removal,
    RemovalMode,
    Verb,
    Written,
)
from mcp_server.core.planner import Planner
from mcp_server.core.plans import Operation, Step
from mcp_server.core.ports import Store
from mcp_server.core.refs import Ref
from mcp_server.core.sealed import Sealed
from mcp_server.core.sinks import RuntimeFolder, holds_one, runtime_name
from mcp_server.core.sources import FileFormat, read_file, read_variable

__all__ = ["Done", "Executor", "Gathered"]


@dataclass(frozen=True, slots=True)
class Gathered:
    """Sealed values by key; public halves of generated key pairs are written too and shown."""

    values: Mapping[str, Sealed]
    public: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """What an operation came to."""

    gathered: Gathered
    written: Written | None = None
    path: Path | None = None


class Executor:
    """Carries operations out.

    Args:
        config: Source rules.
        planner: For resolving references.
        runtime: Where runtime files go.
    """

    def __init__(self, config: Config, planner: Planner, runtime: RuntimeFolder) -> None:
        self._config = config
        self._planner = planner
        self._runtime = runtime

    def carry_out(self, operation: Operation, gathered: Gathered, act: Act) -> Done:
        """Do it, once, with what ``gather`` gave. Who starts the child carries ``run`` out."""
        if operation.verb is Verb.DELIVER:
            return Done(gathered, path=self._deliver(operation, gathered))
        store, ref = self._planner.resolve(operation.target)
        if operation.verb in {Verb.CREATE, Verb.UPDATE}:
            return Done(gathered, self._write(store, ref, operation, gathered, act))
        removal = Removal(RemovalMode(operation.verb.value), operation.versions, operation.expected)
        return Done(gathered, store.delete(ref, removal, act))

    def gather(self, operation: Operation, act: Act) -> Gathered:
        """The values of every step, sealed. Each file and each secret is read once."""
        by_kind: dict[str, list[Step]] = defaultdict(list)
        for step in operation.steps:
            by_kind[step.kind].append(step)
        values: dict[str, Sealed] = {}
        public: dict[str, str] = {}
        for step in by_kind["generate"]:
            made = generate(Recipe(step.origin), int(step.part) if step.part else None)
            values[step.key] = made.value
            if made.public is not None:
                public[step.key + PUBLIC_SUFFIX] = made.public
        values.update(self._from_files(by_kind["file"]))
        values.update(self._from_stores(by_kind["copy"], act))
        for step in by_kind["env"]:
            values[step.key] = read_variable(self._config.sources.check_variable(step.origin))
        ordered = {step.key: values[step.key] for step in operation.steps}
        halves = {name: Sealed(text.encode()) for name, text in public.items()}
        return Gathered({**ordered, **halves}, public)

    def _deliver(self, operation: Operation, gathered: Gathered) -> Path:
        """A file that holds one value as it is gets no public half beside it."""
        name = runtime_name(operation.target)
        keys = {step.key for step in operation.steps} if holds_one(name) else gathered.values.keys()
        return self._runtime.deliver(name, {key: gathered.values[key] for key in keys})

    def _write(
        self, store: Store, ref: Ref, operation: Operation, gathered: Gathered, act: Act
    ) -> Written:
        change = Change(
            gathered.values,
            frozenset(operation.remove),
            replace=operation.replace,
            metadata=operation.metadata,
            expected=operation.expected,
        )
        written = store.put(ref, change, replace(act, writes=operation.verb))
        if operation.expected is None:  # nothing to compare-and-set with, here
            self._verify(store, ref, gathered, act)
        return written

    def _verify(self, store: Store, ref: Ref, gathered: Gathered, act: Act) -> None:
        """Where a store cannot compare-and-set: what it holds now is what was written."""
        if not exits.same(gathered.values, store.fetch(ref.secret, act).values):
            raise ConflictError("Somebody else wrote at the same moment; describe it again.")

    def _from_files(self, steps: list[Step]) -> dict[str, Sealed]:
        wanted: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        for step in steps:
            how, _, inside = step.part.partition(":")
            wanted[step.origin, how][step.key] = inside
        found: dict[str, Sealed] = {}
        for (path, how), keys in wanted.items():
            pointers = frozenset(each for each in keys.values() if each.startswith("/"))
            held = read_file(self._config.sources.check(path), FileFormat(how), pointers).values
            found.update(_picked(keys, held.get, SourceError("The file has no such key.")))
        return found

    def _from_stores(self, steps: list[Step], act: Act) -> dict[str, Sealed]:
        """Whole secrets at once where several of their keys are copied."""
        wanted: dict[Ref, dict[str, Ref]] = defaultdict(dict)
        for step in steps:
            ref = Ref.parse(step.origin)
            version = Ref(ref.scheme, ref.path, None, ref.version, ref.stage, ref.store)
            wanted[version][step.key] = ref
        found: dict[str, Sealed] = {}
        for whole, refs in wanted.items():
            found.update(self._from_store(whole, refs, act))
        return found

    def _from_store(self, whole: Ref, refs: dict[str, Ref], act: Act) -> dict[str, Sealed]:
        store, _ = self._planner.resolve(str(whole))
        if len(refs) > 1 and all(len(ref.pointer) == 1 for ref in refs.values()):
            held = store.fetch(whole, act).values
            names = {key: ref.pointer[0] for key, ref in refs.items()}
            return _picked(names, held.get, NotFoundError("The source has no such key."))
        return {key: next(iter(store.fetch(ref, act).values.values())) for key, ref in refs.items()}


def _picked(
    names: Mapping[str, str], get: Callable[[str], Sealed | None], missing: SecretsError
) -> dict[str, Sealed]:
    found: dict[str, Sealed] = {}
    for key, name in names.items():
        value = get(name)
        if value is None:
            raise missing
        found[key] = value
    return found
