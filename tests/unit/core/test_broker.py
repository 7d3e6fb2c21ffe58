"""The broker: looking reads nothing, doing is journaled first, receipts carry no value."""

from __future__ import annotations

import base64
import dataclasses
import json
import typing
import urllib.parse
from collections.abc import Callable, Iterator, Mapping

import pytest

from mcp_server.core import receipts
from mcp_server.core.broker import Channel
from mcp_server.core.errors import (
    ApprovalNeededError,
    InputError,
    JournalError,
    OutcomeUnknownError,
    SecretsError,
)
from mcp_server.core.generate import Recipe
from mcp_server.core.journal import Kind
from mcp_server.core.model import Metadata, Verb
from mcp_server.core.plans import Plan
from mcp_server.core.requests import KeyRequest, RunRequest
from mcp_server.core.status import status
from tests.unit.core.rig import CANARY, SCENES, Rig, Scene, password

Make = Callable[[str], Rig]
ALLOW = 'policy: {rules: [{effect: allow, match: "**"}]}\nsources: {variables: [DB_PASSWORD]}\n'
every_verb = pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())


# --- looking -----------------------------------------------------------------------------------


def test_looking_reads_no_value_and_is_journaled(rig: Rig) -> None:
    rig.put("app/db", a=CANARY)
    receipt = rig.broker.read("memory://app/db#a")
    page = rig.broker.list_names("memory://app", details=True)
    assert rig.memory.fetched == []
    assert (receipt.state, receipt.keys, receipt.version) == ("live", ("a",), "1")
    assert [(entry.name, entry.ref) for entry in page.secrets] == [("db", "memory://app/db")]
    looked = [(e.kind.value, e.verb) for e in rig.events() if e.session != "test"]
    assert ("read", "read") in looked
    assert ("read", "list") in looked


def test_a_key_that_is_not_there_is_said(rig: Rig) -> None:
    rig.put("app/db", a=CANARY)
    assert "no such key" in rig.broker.read("memory://app/db#b").next_step
    assert "--env NAME=memory://app/db#KEY " in rig.broker.read("memory://app/db#a").next_step


def test_pages_follow_each_other_by_an_opaque_word(rig: Rig) -> None:
    for number in range(7):
        rig.put(f"app/n{number}", a="1")
    names, cursor = [], None
    while True:
        page = rig.broker.list_names("memory://app", limit=3, cursor=cursor)
        names += [entry.name for entry in page.secrets]
        cursor = page.cursor
        if cursor is None:
            break
        assert "n2" not in cursor
        assert page.next_step
    assert names == [f"n{number}" for number in range(7)]


@pytest.mark.parametrize("cursor", ["%%%", "aaaaa", "é-canary", "////", "_w==="])
def test_a_cursor_that_no_listing_gave_is_refused(rig: Rig, cursor: str) -> None:
    rig.put("app/db", a="1")
    with pytest.raises(InputError) as refused:
        rig.broker.list_names("memory://app", cursor=cursor)
    assert cursor not in str(refused.value)


# --- the journal comes first -------------------------------------------------------------------


@every_verb
def test_without_a_journal_nothing_is_planned_or_done(staged: Rig, scene: Scene) -> None:
    plan = scene.plan(staged)
    before = staged.holds()
    journal = staged.broker.session.journal.path
    journal.rename(journal.with_suffix(".kept"))
    journal.mkdir()
    with pytest.raises(JournalError):
        staged.carry_out(plan)
    with pytest.raises(JournalError):
        scene.plan(staged)
    journal.rmdir()
    assert staged.holds() == before
    assert staged.memory.fetched == []


@every_verb
def test_the_journal_knows_of_the_intent_before_it_happens(
    staged: Rig, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str]] = []

    def watch(name: str) -> None:
        real = getattr(staged.memory, name)

        def watched(*arguments: object) -> object:
            last = staged.events()[-1]
            told.append((last.kind.value, last.verb))
            return real(*arguments)

        monkeypatch.setattr(staged.memory, name, watched)

    plan = scene.plan(staged)
    for name in ("_put", "_delete", "_fetch"):
        watch(name)
    staged.carry_out(plan)
    assert told
    assert all(kind == "intent" for kind, _ in told)
    events = [e for e in staged.events() if e.plan == plan.id and e.kind is not Kind.READ]
    kinds = [event.kind for event in events]
    assert kinds[:2] == [Kind.PLANNED, Kind.DECIDED]
    assert kinds[-1] is Kind.DONE
    assert all(event.channel for event in events[1:])


@every_verb
def test_the_journal_and_the_plans_hold_no_value(staged: Rig, scene: Scene) -> None:
    staged.carry_out(scene.plan(staged))
    state = b"".join(path.read_bytes() for path in staged.plans.parent.rglob("*") if path.is_file())
    assert b'"plan"' in state
    for value in {*staged.sealed, CANARY.encode()}:
        assert value not in state


def test_a_child_that_could_not_be_started_is_journaled(rig: Rig) -> None:
    rig.put("app/db", a=CANARY)
    plan = rig.plan_run(A="memory://app/db#a")
    rig.broker.apply(plan, Channel.FORM)

    def fails(_: Mapping[str, bytes]) -> int:
        raise InputError

    with pytest.raises(InputError):
        rig.broker.run(plan, fails)
    assert (rig.events()[-1].kind, rig.events()[-1].code) == (Kind.FAILED, "INPUT_INVALID")


# --- who may allow -----------------------------------------------------------------------------


def test_a_run_waits_for_its_approval(rig: Rig) -> None:
    rig.put("app/db", a=CANARY)
    plan = rig.plan_run(A="memory://app/db#a")
    with pytest.raises(ApprovalNeededError):
        rig.broker.run(plan, rig.start)
    receipt = rig.broker.waiting(plan)
    assert (receipt.state, receipt.plan) == ("planned", plan.id)
    approved = rig.broker.apply(plan, Channel.FORM)
    assert (approved.state, approved.path) == ("approved", None)
    assert plan.id in approved.next_step
    assert rig.broker.run(plan, rig.start) == 0
    assert rig.started == [{"A": CANARY.encode()}]


def test_a_run_that_policy_allows_is_approved_at_once(make: Make) -> None:
    rig = make(ALLOW)
    rig.put("app/db", a=CANARY)
    rig.broker.run(rig.plan_run(A="memory://app/db#a"), rig.start)
    assert len(rig.started) == 1


PROFILE = """
run:
  - {name: p, match: "memory://app/*", executable: /bin/true, arguments: [x], variables: [A]}
"""


@pytest.mark.parametrize(
    ("command", "bindings", "covered"),
    [
        (("/bin/true", "x"), {"A": "memory://app/db#a"}, True),
        (("/bin/true", "x"), {}, True),
        (("/bin/true",), {"A": "memory://app/db#a"}, False),
        (("/bin/true", "x"), {"B": "memory://app/db#a"}, False),
        (("/bin/true", "x"), {"A": "memory://other/db#a"}, False),
    ],
)
def test_a_profile_is_found_for_its_command(
    make: Make, command: tuple[str, ...], bindings: dict[str, str], *, covered: bool
) -> None:
    rig = make(PROFILE)
    rig.put("app/db", a=CANARY)
    rig.put("other/db", a=CANARY)
    request = RunRequest(command, tuple(bindings.items()), str(rig.project))
    assert (rig.broker.profile_for(rig.broker.plan_run(request)) is not None) is covered


def test_whether_policy_asks_about_a_use_is_known_by_variable(make: Make) -> None:
    rig = make('policy: {rules: [{effect: allow, verbs: [use], match: "memory://dev/*"}]}')
    rig.put("dev/db", a=CANARY)
    rig.put("app/db", a=CANARY)
    plan = rig.plan_run(DEV="memory://dev/db#a", APP="memory://app/db#a")
    assert rig.broker.asks_for_use(plan, {"APP"})
    assert not rig.broker.asks_for_use(plan, {"DEV"})
    assert not rig.broker.asks_for_use(plan, set())


def test_what_the_guard_withheld_is_journaled(rig: Rig) -> None:
    rig.broker.note_withheld()
    assert rig.events()[-1].code == "EGRESS_BLOCKED"


# --- no field a value fits in ------------------------------------------------------------------

RECEIPTS = [
    each
    for each in vars(receipts).values()
    if dataclasses.is_dataclass(each) and each.__module__ == receipts.__name__  # type: ignore[attr-defined]  # a class
]
VALUE = "Canary'9\"qZ+7/x=\\é\nsecond line-of-Kw3"


def _types(annotation: object) -> Iterator[object]:
    inner = [each for each in typing.get_args(annotation) if each is not Ellipsis]
    yield from (part for each in inner for part in _types(each)) if inner else (annotation,)


@pytest.mark.parametrize("receipt", RECEIPTS)
def test_a_receipt_is_made_of_texts_and_numbers(receipt: type) -> None:
    hints = typing.get_type_hints(receipt)
    assert hints
    simple = {str, bool, int, type(None), *RECEIPTS}
    for annotation in hints.values():
        assert set(_types(annotation)) <= simple


def texts(node: object) -> Iterator[str]:
    """Every text in a receipt, names of a mapping too."""
    if dataclasses.is_dataclass(node):
        for each in dataclasses.fields(node):
            yield from texts(getattr(node, each.name))
    elif isinstance(node, Mapping):
        yield from (text for pair in node.items() for each in pair for text in texts(each))
    elif isinstance(node, tuple | list):
        yield from (text for each in node for text in texts(each))
    elif node is not None:
        yield str(node)


def _disguises(value: bytes) -> Iterator[str]:
    text = value.decode("utf-8", "replace")
    yield from (text, text.strip(), json.dumps(text)[1:-1], urllib.parse.quote(value))
    yield from (value.hex(), base64.b64encode(value).decode(), repr(text)[1:-1])
    yield from (line for line in text.splitlines() if len(line) > 8)


def leaked(found: object, values: list[bytes]) -> list[str]:
    shown = "\n".join(texts(found))
    return [
        each for value in values for each in _disguises(value) if len(each) > 5 and each in shown
    ]


Act = Callable[[Rig], object]
ACTS: dict[str, Act] = {
    "read": lambda rig: rig.broker.read("memory://app/source#a"),
    "list": lambda rig: rig.broker.list_names("memory://app", details=True),
    "status": lambda rig: status(rig.broker, {"VAULT_TOKEN": VALUE}),
    "generate": lambda rig: rig.write(
        "memory://x", password(), KeyRequest("u", generate=Recipe.UUID)
    ),
    "key pair": lambda rig: rig.write("memory://x", KeyRequest("k", generate=Recipe.SSH_ED25519)),
    "copy": lambda rig: rig.write("memory://x", copy_from="memory://app/source"),
    "copy to local": lambda rig: rig.write("local://x", copy_from="memory://app/source"),
    "env": lambda rig: rig.write("memory://x", KeyRequest("e", env="DB_PASSWORD")),
    "file": lambda rig: rig.write("memory://x", from_file="a.json"),
    "raw file": lambda rig: rig.write("memory://x", KeyRequest("f", file="raw")),
    "older": lambda rig: rig.write("memory://app/source", KeyRequest("a", version="1")),
    "deliver": lambda rig: rig.write("runtime://x.json", copy_from="memory://app/source"),
    "delete": lambda rig: rig.delete("memory://app/source"),
    "destroy": lambda rig: rig.delete("memory://app/source", "destroy", "1"),
    "erase": lambda rig: rig.delete("memory://app/source", "erase"),
}


@pytest.fixture
def planted(make: Make, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """The value lies in every place that a value can come from."""
    monkeypatch.setenv("DB_PASSWORD", VALUE)
    rig = make(ALLOW)
    rig.put("app/source", a=VALUE, b=VALUE + "b")
    rig.put("app/source", a=VALUE, weak="hunter2")
    rig.file("a.json", json.dumps({"j": VALUE, "deep": {"v": VALUE}}))
    rig.file("raw", VALUE)
    rig.file(".env", f"A='{VALUE}'")
    rig.sealed.append(VALUE.encode())
    return rig


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
def test_no_receipt_holds_a_value(planted: Rig, act: Act) -> None:
    receipt = act(planted)
    assert len(list(texts(receipt))) > 3
    values = [value for value in set(planted.sealed) if value != b"hunter2"]
    assert leaked(receipt, values) == []
    assert "hunter2" not in "\n".join(texts(receipt))
    assert "sealed" not in "\n".join(texts(receipt))


def test_the_search_would_find_one(planted: Rig) -> None:
    """A value where it does not belong, in the two ways it could get there."""
    planted.put("app/db", Metadata(owner=VALUE), a="1")
    assert leaked(planted.broker.read("memory://app/db"), [VALUE.encode()])
    wrong = receipts.ChangeReceipt("done", "r", "c", "a", base64.b64encode(VALUE.encode()).decode())
    assert leaked(wrong, [VALUE.encode()])


FAULTS = {
    "no such key": lambda rig: rig.write("memory://x", KeyRequest("n", copy="memory://app/source")),
    "no such version": lambda rig: rig.write(
        "memory://x", KeyRequest("a", copy="memory://app/source?version=9#a")
    ),
    "no json inside": lambda rig: rig.write(
        "memory://x", KeyRequest("a", copy="memory://app/source#/a/b")
    ),
    "no such part": lambda rig: rig.write(
        "memory://x", KeyRequest("a", file="a.json", part="/j/k")
    ),
    "an env file that is none": lambda rig: rig.write(
        "memory://x", from_file=".env", format="json"
    ),
    "a value for a reference": lambda rig: rig.write(VALUE, password()),
    "a value for a file": lambda rig: rig.write("memory://x", from_file=VALUE),
    "a value for a variable": lambda rig: rig.write("memory://x", KeyRequest("a", env=VALUE)),
    "a value for a version": lambda rig: rig.write("memory://x", KeyRequest("a", version=VALUE)),
    "a value for a cursor": lambda rig: rig.broker.list_names("memory://", cursor=VALUE),
    "a value for a plan": lambda rig: rig.broker.review(VALUE),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_no_error_holds_a_value(planted: Rig, fault: Act) -> None:
    with pytest.raises(SecretsError) as refused:
        fault(planted)
    error = refused.value
    assert leaked((error.message, error.next_step, str(error), repr(error)), planted.sealed) == []
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__


def test_a_lost_reply_is_told_as_unfinished(rig: Rig) -> None:
    rig.put("app/db", a="1")
    receipt = rig.delete("memory://app/db")
    plan: Plan = rig.review(receipt)
    assert plan.operation.verb is Verb.DELETE
    real = rig.memory._delete

    def lost(*arguments: object) -> object:
        real(*arguments)  # type: ignore[arg-type]  # passed on
        raise OutcomeUnknownError

    rig.memory._delete = lost  # type: ignore[method-assign, assignment]  # the fault
    with pytest.raises(OutcomeUnknownError):
        rig.agree(receipt)
    assert any("delete memory://app/db" in line for line in status(rig.broker, {}).unfinished)
