"""A broker in an empty home with a clock of its own, the fake store, and what can be seen of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mcp_server.backends.memory import MemoryBackend
from mcp_server.backends.stores import ConfiguredStores
from mcp_server.core import config, places
from mcp_server.core.broker import Broker, Channel
from mcp_server.core.generate import Recipe
from mcp_server.core.journal import Event, Journal
from mcp_server.core.model import Act, Change, Metadata, Removal, RemovalMode, Verb
from mcp_server.core.plans import Plan, PlanStore
from mcp_server.core.ports import Session
from mcp_server.core.receipts import ChangeReceipt
from mcp_server.core.refs import Ref
from mcp_server.core.requests import DeleteRequest, KeyRequest, RunRequest, WriteRequest
from mcp_server.core.sealed import on_seal, seal
from mcp_server.core.sinks import RuntimeFolder

CONFIG = """\
stores:
  mem: {backend: memory}
"""
ACT = Act("test")
CANARY = "canary-Wq7pZ2xK9vT4-rig"


class Clock:
    """The time as the test says."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)  # files have the machine's times

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **parts: float) -> None:
        self.now += timedelta(**parts)


class Memory(MemoryBackend):
    """The fake, which also remembers each read of values."""

    fetched: list[str]

    def _fetch(self, ref: Ref) -> object:  # type: ignore[override]  # passes on what it gets
        self.fetched.append(str(ref))
        return super()._fetch(ref)


@dataclass
class Rig:
    """One session. ``sealed`` counts values that came into being or in."""

    home: Path
    broker: Broker
    stores: ConfiguredStores
    memory: Memory
    clock: Clock
    runtime: RuntimeFolder
    sealed: list[bytes] = field(default_factory=list)
    started: list[Mapping[str, bytes]] = field(default_factory=list)

    @property
    def project(self) -> Path:
        return self.home / "project"

    @property
    def plans(self) -> Path:
        return self.home / "state" / "secret-management" / "plans"

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def put(self, path: str, metadata: Metadata | None = None, **values: str) -> None:
        """Write behind the broker's back, as somebody else would."""
        sealed = {key: seal(text.encode()) for key, text in values.items()}
        self.memory.put(Ref("memory", path), Change(sealed, metadata=metadata), ACT)

    def remove(self, path: str, mode: RemovalMode, *versions: str) -> None:
        self.memory.delete(Ref("memory", path), Removal(mode, versions), ACT)

    def holds(self) -> object:
        """Everything that a change could have changed."""
        store = {
            path: (held.metadata, {n: (v.state, dict(v.values)) for n, v in held.versions.items()})
            for path, held in self.memory._held.items()
        }
        root = self.runtime._root
        files = sorted(str(path) for path in root.rglob("*") if path.is_file())
        return store, files, len(self.started)

    def events(self) -> list[Event]:
        return [record.event for record in self.broker.session.journal.records()]

    def write(self, target: str, *keys: KeyRequest, **more: object) -> ChangeReceipt:
        request = WriteRequest(target, keys, **more)  # type: ignore[arg-type]  # checked there
        return self.broker.write(request)

    def delete(self, target: str, mode: str = "delete", *versions: str) -> ChangeReceipt:
        return self.broker.delete(DeleteRequest(target, RemovalMode(mode), versions))

    def plan_run(self, **bindings: str) -> Plan:
        request = RunRequest(("true",), tuple(bindings.items()), str(self.project))
        return self.broker.plan_run(request)

    def start(self, environment: Mapping[str, bytes]) -> int:
        self.started.append(dict(environment))
        return 0

    def review(self, receipt: ChangeReceipt) -> Plan:
        assert receipt.plan is not None
        return self.broker.review(receipt.plan, receipt.change, receipt.affects)

    def agree(self, receipt: ChangeReceipt) -> ChangeReceipt:
        """What ``secrets_apply`` does after a yes."""
        plan = self.review(receipt)
        self.broker.allow(plan, Channel.FORM)
        return self.broker.apply(plan, Channel.FORM)

    def carry_out(self, plan: Plan) -> None:
        """Agree to the plan and do it, child included."""
        reviewed = self.broker.review(plan.id, plan.operation.change, plan.operation.affects)
        self.broker.allow(reviewed, Channel.FORM)
        self.broker.apply(reviewed, Channel.FORM)
        if plan.operation.verb is Verb.RUN:
            self.broker.run(plan, self.start)


def password(key: str = "password") -> KeyRequest:
    return KeyRequest(key, generate=Recipe.PASSWORD)


def start(home: Path, clock: Clock | None = None) -> Rig:
    """As ``engine.start``, but with the clock and the watching fake."""
    clock = clock or Clock()
    found = config.load(places.SYSTEM_POLICY, places.config_file(), places.project_folder())
    state = places.state_folder()
    session = Session("s-test", Journal(state / "journal.jsonl"), clock=clock)
    stores = ConfiguredStores(found, session)
    memory = Memory(stores._settings["mem"], session)
    memory.fetched = []
    stores._open["mem"] = memory
    runtime = RuntimeFolder(places.runtime_root(), session.id)
    broker = Broker(found, stores, session, PlanStore(state / "plans", clock), runtime)
    rig = Rig(home, broker, stores, memory, clock, runtime)
    on_seal(lambda payload, _: rig.sealed.append(payload))
    return rig


@dataclass(frozen=True)
class Scene:
    """One changing verb: what stands before, how it is planned, how somebody else interferes."""

    verb: Verb
    before: Callable[[Rig], None]
    plan: Callable[[Rig], Plan]
    interfere: Callable[[Rig], None]


def _stored(rig: Rig) -> None:
    rig.put("app/db", password="first-" + CANARY)
    rig.put("app/db", password="second-" + CANARY)


def _gone(rig: Rig) -> None:
    _stored(rig)
    rig.remove("app/db", RemovalMode.DELETE)


def _written(rig: Rig) -> None:
    rig.put("app/db", password="other-" + CANARY)


def _loaded(rig: Rig, receipt: ChangeReceipt) -> Plan:
    assert receipt.state == "planned"
    return rig.review(receipt)


def _removal(mode: str, *versions: str) -> Callable[[Rig], Plan]:
    return lambda rig: _loaded(rig, rig.delete("memory://app/db", mode, *versions))


COPY = KeyRequest("password", copy="memory://app/db#password")
SCENES = {
    scene.verb.value: scene
    for scene in (
        Scene(
            Verb.CREATE,
            lambda _: None,
            lambda rig: _loaded(rig, rig.write("memory://app/db", password())),
            _written,
        ),
        Scene(
            Verb.UPDATE,
            _stored,
            lambda rig: _loaded(rig, rig.write("memory://app/db", password())),
            _written,
        ),
        Scene(Verb.DELETE, _stored, _removal("delete"), _written),
        Scene(Verb.RESTORE, _gone, _removal("restore", "2"), _written),
        Scene(Verb.DESTROY, _stored, _removal("destroy", "1"), _written),
        Scene(Verb.ERASE, _stored, _removal("erase"), _written),
        Scene(
            Verb.DELIVER,
            _stored,
            lambda rig: _loaded(rig, rig.write("runtime://db.env", COPY)),
            _written,
        ),
        Scene(
            Verb.RUN,
            _stored,
            lambda rig: rig.plan_run(PGPASSWORD="memory://app/db#password"),
            _written,
        ),
    )
}
