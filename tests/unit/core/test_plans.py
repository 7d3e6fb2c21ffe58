"""Plans: exactly what was agreed, once, in time, and only while nothing changed.

The laws run over every verb that changes something or lets values out.
"""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.core.broker import Channel
from mcp_server.core.errors import (
    ApprovalNeededError,
    JournalError,
    NotFoundError,
    PlanExpiredError,
    PlanMismatchError,
    PlanNotFoundError,
    PlanStaleError,
    PlanUsedError,
    SourceError,
)
from mcp_server.core.model import Metadata, RemovalMode, Verb
from mcp_server.core.plans import LIFETIME, Operation, Plan, PlanStore, Seen, Step, quoted
from mcp_server.core.ports import StoreSettings, utc_now
from mcp_server.core.requests import KeyRequest, RunRequest
from tests.unit.core.rig import CANARY, SCENES, Clock, Rig, Scene, password

ROOT = Path(__file__).parents[3]
every_verb = pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())

APPLY = """
import sys
from mcp_server import engine
from mcp_server.core.errors import SecretsError
from mcp_server.core.model import Verb
broker = engine.start().broker
plan = broker.review(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    if plan.operation.verb is Verb.RUN:
        broker.run(plan, lambda environment: 0)
    else:
        broker.apply(plan, "terminal")
    print("done")
except SecretsError as error:
    print(error.code)
"""


def test_the_scenes_cover_every_verb_that_changes_something() -> None:
    harmless = {Verb.LIST, Verb.READ, Verb.USE}  # a use is part of another verb
    assert set(SCENES) == {verb.value for verb in set(Verb) - harmless}


# --- what holds for every verb -----------------------------------------------------------------


@every_verb
def test_an_agreed_plan_does_something(staged: Rig, scene: Scene) -> None:
    """The positive control of every ``nothing was done`` below."""
    before = staged.holds()
    plan = scene.plan(staged)
    assert plan.operation.verb is scene.verb
    staged.carry_out(plan)
    assert staged.holds() != before


@every_verb
def test_nothing_is_generated_fetched_or_done_before_the_answer(staged: Rig, scene: Scene) -> None:
    before = staged.holds()
    plan = scene.plan(staged)
    staged.broker.review(plan.id, plan.operation.change, plan.operation.affects)
    staged.broker.allow(plan, Channel.FORM)
    assert (staged.memory.fetched, staged.sealed) == ([], [])
    assert staged.holds() == before


@every_verb
def test_a_target_or_source_that_changed_makes_the_plan_stale(staged: Rig, scene: Scene) -> None:
    plan = scene.plan(staged)
    scene.interfere(staged)
    between = staged.holds()
    with pytest.raises(PlanStaleError):
        staged.carry_out(plan)
    assert staged.holds() == between


@every_verb
def test_a_stale_run_is_refused_even_after_its_approval(staged: Rig, scene: Scene) -> None:
    plan = scene.plan(staged)
    if scene.verb is Verb.RUN:
        staged.broker.apply(plan, Channel.FORM)
        scene.interfere(staged)
        with pytest.raises(PlanStaleError):
            staged.broker.run(plan, staged.start)
        assert staged.started == []
    else:
        staged.carry_out(plan)
        with pytest.raises((PlanUsedError, PlanStaleError)):
            staged.broker.apply(plan, Channel.FORM)


@every_verb
def test_a_plan_works_once(staged: Rig, scene: Scene) -> None:
    plan = scene.plan(staged)
    staged.carry_out(plan)
    after = staged.holds()
    with pytest.raises(PlanUsedError):
        staged.carry_out(plan)
    assert staged.holds() == after


@every_verb
@pytest.mark.parametrize("field", ["change", "affects"])
def test_other_words_are_refused(staged: Rig, scene: Scene, field: str) -> None:
    before = staged.holds()
    plan = scene.plan(staged)
    words = {"change": plan.operation.change, "affects": plan.operation.affects}
    for other in (words[field] + " ", "", words[field].upper() + "x"):
        with pytest.raises(PlanMismatchError):
            staged.broker.review(plan.id, **{**words, field: other})
    with pytest.raises(PlanMismatchError):
        staged.broker.review(plan.id, plan.operation.change)
    assert staged.holds() == before


@every_verb
def test_an_expired_plan_is_refused(staged: Rig, scene: Scene) -> None:
    plan = scene.plan(staged)
    staged.clock.forward(seconds=LIFETIME.total_seconds() - 1)
    staged.broker.review(plan.id)
    staged.clock.forward(seconds=1)
    before = staged.holds()
    with pytest.raises(PlanExpiredError):
        staged.carry_out(plan)
    assert staged.holds() == before


@every_verb
def test_a_declined_plan_is_used_up(staged: Rig, scene: Scene) -> None:
    before = staged.holds()
    plan = scene.plan(staged)
    staged.broker.decline(plan, Channel.FORM)
    with pytest.raises(PlanUsedError):
        staged.carry_out(plan)
    assert staged.holds() == before
    assert [event.code for event in staged.events() if event.plan == plan.id][-1] == "DECLINED"


@every_verb
def test_a_store_that_moved_elsewhere_makes_the_plan_stale(staged: Rig, scene: Scene) -> None:
    before = staged.holds()
    plan = scene.plan(staged)
    staged.memory.settings = StoreSettings("mem", "memory", {"address": "https://elsewhere.test"})
    with pytest.raises(PlanStaleError):
        staged.carry_out(plan)
    assert staged.holds() == before


@every_verb
def test_the_file_of_a_plan_is_private_and_holds_no_value(staged: Rig, scene: Scene) -> None:
    plan = scene.plan(staged)
    staged.carry_out(plan)
    files = [path for path in staged.plans.iterdir() if path.is_file()]
    assert {path.suffix for path in files} >= {".json", ".used"}
    assert stat.S_IMODE(staged.plans.stat().st_mode) == 0o700
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert CANARY.encode() not in path.read_bytes()
        for value in staged.sealed:
            assert value not in path.read_bytes()


def _places(node: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401 - JSON
    if isinstance(node, dict):
        return [place for name, each in node.items() for place in _places(each, (*way, name))]
    if isinstance(node, list) and node:
        return [place for at, each in enumerate(node) for place in _places(each, (*way, at))]
    return [way]


def _edited(node: Any, way: tuple[Any, ...]) -> Any:  # noqa: ANN401 - JSON
    if not way:
        return {str: lambda: node + "x", bool: lambda: not node}.get(type(node), lambda: "x")()
    copy = node.copy()
    copy[way[0]] = _edited(node[way[0]], way[1:])
    return copy


@every_verb
def test_an_edited_plan_file_is_refused_wherever_it_is_edited(staged: Rig, scene: Scene) -> None:
    plan = scene.plan(staged)
    path = staged.plans / f"{plan.id}.json"
    body = json.loads(path.read_bytes())
    places = _places(body)
    assert len(places) >= 10
    for place in places:
        path.write_text(json.dumps(_edited(body, place)))
        with pytest.raises((PlanMismatchError, PlanExpiredError)):
            staged.broker.review(plan.id)
    path.write_text(json.dumps(body))
    assert staged.broker.review(plan.id) == plan


# --- damaged and foreign files -----------------------------------------------------------------

DAMAGED = {
    "empty": b"",
    "cut": b'{"expires": "2030-',
    "no object": b"[]",
    "no text": b"\xff\xfe",
    "deep": b"[" * 100_000,
    "wrong shapes": b'{"expires": "x", "reason": "", "digest": "", "operation": {"verb": "run"}}',
    "metadata of another shape": b'{"operation": {"verb": "run", "steps": [], "seen": [], "remove":'
    b' [], "versions": [], "command": [], "notes": [], "metadata": "x"}}',
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_plan_file_is_refused_and_not_listed(rig: Rig, content: bytes) -> None:
    receipt = rig.write("memory://app/db", password())
    (rig.plans / f"{receipt.plan}.json").write_bytes(content)
    with pytest.raises(PlanMismatchError):
        rig.review(receipt)
    assert rig.broker.plans.pending() == []


@pytest.mark.parametrize("name", ["p-0123456789abcdef", "../../x", "p-0123456789ABCDEF", "", "p-1"])
def test_an_id_that_names_no_plan_is_not_looked_for_elsewhere(rig: Rig, name: str) -> None:
    with pytest.raises(PlanNotFoundError):
        rig.broker.review(name)


def test_a_full_disk_leaves_no_half_plan(rig: Rig) -> None:
    rig.write("memory://app/db", password())
    whole = sorted(rig.plans.iterdir())
    rig.plans.chmod(0o500)
    try:
        if os.geteuid():  # root writes anyway
            with pytest.raises(JournalError):
                rig.write("memory://app/db", password())
            assert sorted(rig.plans.iterdir()) == whole
    finally:
        rig.plans.chmod(0o700)
    assert not [path for path in rig.plans.iterdir() if path.name.startswith(".")]


def test_plans_are_listed_oldest_first_until_used_or_expired(rig: Rig) -> None:
    first = rig.write("memory://app/a", password())
    rig.clock.forward(minutes=1)
    second = rig.write("memory://app/b", password())
    assert [plan.id for plan in rig.broker.plans.pending()] == [first.plan, second.plan]
    rig.agree(first)
    assert [plan.id for plan in rig.broker.plans.pending()] == [second.plan]
    rig.clock.forward(minutes=31)
    assert rig.broker.plans.pending() == []


def test_plans_that_ended_a_week_ago_are_swept(rig: Rig) -> None:
    old = rig.plans / f"{rig.write('memory://app/a', password()).plan}.json"
    left = rig.plans / ".p-0123456789abcdef.json.00000000"
    left.touch()
    long_ago = (rig.clock.now.timestamp() - 8 * 86_400,) * 2
    for path in (old, left):
        os.utime(path, long_ago)
    kept = rig.plans / f"{rig.write('memory://app/b', password()).plan}.json"
    assert (old.exists(), left.exists(), kept.exists()) == (False, False, True)


# --- sources that change in between ------------------------------------------------------------


def _touched(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def _replaced(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    other.replace(path)


@pytest.mark.parametrize(
    "interfere",
    [lambda path: path.write_text("A=other"), _touched, _replaced, Path.unlink],
    ids=["written", "touched", "replaced by an equal one", "removed"],
)
@pytest.mark.parametrize("target", ["memory://app/db", "runtime://x.env"])
def test_a_source_file_that_changed_makes_the_plan_stale(
    rig: Rig, interfere: Callable[[Path], None], target: str
) -> None:
    path = rig.file("a.env", f"A={CANARY}")
    receipt = rig.write(target, from_file="a.env")
    before = rig.holds()
    interfere(path)
    with pytest.raises(PlanStaleError):
        rig.agree(receipt)
    assert rig.holds() == before


def test_a_source_file_replaced_by_a_link_makes_the_plan_stale(rig: Rig, tmp_path: Path) -> None:
    path = rig.file("a.env", "A=1")
    receipt = rig.write("memory://app/db", from_file="a.env")
    outside = tmp_path / "outside.env"
    outside.write_text("A=2")
    path.unlink()
    path.symlink_to(outside)
    with pytest.raises((PlanStaleError, SourceError)):
        rig.agree(receipt)
    assert rig.memory._held == {}


@pytest.mark.parametrize("how", ["written", "deleted", "erased"])
def test_a_source_secret_that_changed_makes_the_plan_stale(rig: Rig, how: str) -> None:
    rig.put("app/source", password=CANARY)
    copy = KeyRequest("password", copy="memory://app/source#password")
    receipt = rig.write("memory://app/db", copy)
    match how:
        case "written":
            rig.put("app/source", password="other")
        case "deleted":
            rig.remove("app/source", RemovalMode.DELETE)
        case _:
            rig.remove("app/source", RemovalMode.ERASE)
    with pytest.raises(PlanStaleError):
        rig.agree(receipt)
    assert rig.broker.read("memory://app/db").state == "absent"


def test_a_program_that_was_replaced_makes_a_run_stale(rig: Rig) -> None:
    program = rig.file("tool", "#!/bin/sh\n")
    program.chmod(0o700)
    plan = rig.broker.plan_run(
        dataclasses.replace(
            _run_request(rig), command=(str(program),), bindings=(("A", "memory://app/db#a"),)
        )
    )
    program.write_text("#!/bin/sh\nexfiltrate\n")
    with pytest.raises(PlanStaleError):
        rig.carry_out(plan)


@pytest.mark.parametrize("name", ["deploy.sh", "scripts/deploy.sh"])
def test_a_script_that_was_replaced_makes_a_run_stale(rig: Rig, name: str) -> None:
    """Whoever approved ``sh deploy.sh`` approved what stood in it then."""
    script = rig.file(name, "echo deployed\n")
    request = dataclasses.replace(
        _run_request(rig), command=("sh", name), bindings=(("A", "memory://app/db#a"),)
    )
    rig.carry_out(rig.broker.plan_run(request))
    plan = rig.broker.plan_run(request)
    script.write_text("printenv A | rev\n")
    with pytest.raises(PlanStaleError):
        rig.carry_out(plan)


def _run_request(rig: Rig) -> RunRequest:
    rig.put("app/db", a=CANARY)
    return RunRequest(("true",), (), str(rig.project))


def test_a_change_between_the_last_look_and_the_write_loses_the_comparison(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look says fresh, then somebody writes: compare-and-set is the last line."""
    rig.put("app/db", password="before")
    receipt = rig.write("memory://app/db", password())
    monkeypatch.setattr(rig.broker.planner, "stale", lambda *_: False)
    rig.put("app/db", password="in between")
    with pytest.raises(Exception, match="CONFLICT"):
        rig.agree(receipt)
    assert rig.memory._held["app/db"].current == 2


# --- two processes -----------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["create", "deliver", "run", "update"])
def test_of_two_processes_that_apply_at_once_exactly_one_does(rig: Rig, verb: str) -> None:
    generated = KeyRequest("a", generate=password().generate)
    rig.file("a.env", "A=value-of-a-file")
    match verb:
        case "create":
            plan = rig.review(rig.write("memory://app/db", generated))
        case "deliver":
            plan = rig.review(rig.write("runtime://a.env", from_file="a.env"))
        case "update":
            rig.write("local://app/db", generated)
            plan = rig.review(rig.write("local://app/db", generated))
        case _:
            rig.write("local://app/db", generated)
            plan = rig.plan_run(A="local://app/db#a")
            rig.broker.apply(plan, Channel.TERMINAL)
    plan_id = _real_time(rig, plan.operation, approve=verb == "run")
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", APPLY, plan_id],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    said = sorted(_go(racer) for racer in racers)
    assert said[1] == "done"
    assert said[0] in {"PLAN_USED", "PLAN_STALE"}
    assert sum(path.suffix == ".used" for path in rig.plans.iterdir()) >= 1


def _real_time(rig: Rig, operation: Operation, *, approve: bool) -> str:
    """The same operation under the machine's clock, as other processes have no other."""
    store = PlanStore(rig.plans, utc_now)
    plan = store.add(operation, "")
    if approve:
        store.approve(plan)
    return plan.id


def _go(racer: subprocess.Popen[str]) -> str:
    out, _ = racer.communicate("go\n", timeout=60)
    return out.strip()


def test_the_loser_of_a_claim_is_told_so(rig: Rig) -> None:
    plan = rig.review(rig.write("memory://app/db", password()))
    rig.broker.plans.claim(plan)
    with pytest.raises(PlanUsedError):
        rig.broker.apply(plan, Channel.FORM)
    assert rig.memory._held == {}


# --- approval of run plans ---------------------------------------------------------------------


@pytest.fixture
def run_plan(rig: Rig) -> Plan:
    rig.put("app/db", a=CANARY)
    return rig.plan_run(A="memory://app/db#a")


def _mark(rig: Rig, plan: Plan) -> Path:
    return rig.plans / f"{plan.id}.approved"


@pytest.mark.parametrize("content", [b"", b"yes", bytes(32)], ids=["touched", "text", "zeros"])
def test_an_approval_cannot_be_made_by_making_a_file(
    rig: Rig,
    run_plan: Plan,
    content: bytes,
) -> None:
    _mark(rig, run_plan).write_bytes(content)
    with pytest.raises(ApprovalNeededError):
        rig.broker.run(run_plan, rig.start)
    assert rig.started == []


def test_an_approval_is_of_one_plan_only(rig: Rig, run_plan: Plan) -> None:
    other = rig.plan_run(B="memory://app/db#a")
    rig.broker.apply(run_plan, Channel.FORM)
    _mark(rig, other).write_bytes(_mark(rig, run_plan).read_bytes())
    with pytest.raises(ApprovalNeededError):
        rig.broker.run(other, rig.start)
    rig.broker.run(run_plan, rig.start)
    assert rig.started == [{"A": CANARY.encode()}]


def test_an_empty_key_of_approvals_is_no_key(rig: Rig, run_plan: Plan) -> None:
    (rig.plans / "approval.key").write_bytes(b"")
    with pytest.raises(JournalError):
        rig.broker.apply(run_plan, Channel.FORM)


def test_an_approval_does_not_outlive_a_denial(make: Callable[[str], Rig]) -> None:
    rig = make("")
    rig.put("app/db", a=CANARY)
    plan = rig.plan_run(A="memory://app/db#a")
    rig.broker.apply(plan, Channel.FORM)
    denying = make('policy: {rules: [{effect: deny, verbs: [use], match: "memory://app/**"}]}')
    with pytest.raises(Exception, match="POLICY_DENIED"):
        denying.broker.run(plan, rig.start)
    assert rig.started == []


# --- the digest and the words ------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8"), max_size=8)
maybe = st.none() | texts
operations = st.builds(
    Operation,
    verb=st.sampled_from([scene.verb for scene in SCENES.values()]),
    target=texts,
    steps=st.lists(st.builds(Step, texts, texts, texts, texts), max_size=3).map(tuple),
    remove=st.lists(texts, max_size=3).map(tuple),
    replace=st.booleans(),
    metadata=st.none() | st.builds(Metadata, maybe, maybe, st.lists(texts, max_size=2).map(tuple)),
    versions=st.lists(texts, max_size=2).map(tuple),
    command=st.lists(texts, max_size=2).map(tuple),
    folder=maybe,
    seen=st.lists(st.builds(Seen, texts, maybe), max_size=2).map(tuple),
    version=maybe,
    expected=maybe,
    notes=st.lists(texts, max_size=2).map(tuple),
)


@given(operations, operations)
def test_two_operations_have_the_same_digest_only_when_they_are_the_same(
    one: Operation, other: Operation
) -> None:
    assert (one.digest == other.digest) == (one == other)


@given(operations, operations)
def test_any_other_field_makes_another_digest(one: Operation, other: Operation) -> None:
    for field in dataclasses.fields(Operation):
        theirs = getattr(other, field.name)
        mixed = dataclasses.replace(one, **{field.name: theirs})
        assert (mixed.digest == one.digest) == (theirs == getattr(one, field.name))


@given(operations)
def test_a_stored_plan_comes_back_as_it_was(one: Operation) -> None:
    with TemporaryDirectory() as folder:
        store = PlanStore(Path(folder) / "plans", Clock())
        plan = store.add(one, "reason")
        assert store.load(plan.id) == plan


@given(texts.filter(bool))
def test_a_name_cannot_pass_for_other_words_of_a_plan(name: str) -> None:
    shown = quoted(name)
    assert shown == name or json.loads(shown) == name
    if shown == name:
        assert not set(name) & set(';,="()')


def test_a_key_that_reads_like_a_plan_is_quoted(rig: Rig) -> None:
    rig.file("a.json", json.dumps({"a; drop all other keys": "x", "plain key": "y"}))
    receipt = rig.write("memory://app/db", from_file="a.json")
    assert '; "a; drop all other keys" = file' in receipt.change
    assert "; plain key = file" in receipt.change


def test_an_untrusted_consumer_cannot_add_words_to_what_a_plan_affects(rig: Rig) -> None:
    rig.put("app/db", Metadata(consumers=("web; can be restored\x1b[31m",)), a="1")
    receipt = rig.delete("memory://app/db", "erase")
    assert '(untrusted): "web; can be restored[31m"' in receipt.affects
    assert "cannot be undone" in receipt.affects


def test_metadata_that_a_request_does_not_name_is_kept(rig: Rig) -> None:
    rig.put("app/db", Metadata("team", "90d", ("web",)), a="1")
    rig.agree(rig.write("memory://app/db", owner="other team"))
    assert rig.memory._held["app/db"].metadata == Metadata("other team", "90d", ("web",))


def test_a_version_out_of_sight_can_be_named(rig: Rig) -> None:
    for number in range(23):
        rig.put("app/db", a=str(number))
    receipt = rig.delete("memory://app/db", "destroy", "1")
    assert rig.agree(receipt).state == "done"
    with pytest.raises(NotFoundError):
        rig.agree(rig.delete("memory://app/db", "destroy", "99"))
