"""Bad input of every kind: a clear error with a next step, nothing done, nothing half-written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_server.core import errors
from mcp_server.core.broker import Channel
from mcp_server.core.errors import InternalError, LimitError, SecretsError, StoreError
from mcp_server.core.generate import Recipe
from mcp_server.core.journal import Kind
from mcp_server.core.model import RemovalMode, Verb
from mcp_server.core.plans import Operation
from mcp_server.core.requests import DeleteRequest, KeyRequest, RunRequest, WriteRequest
from mcp_server.core.sources import FileFormat
from mcp_server.core.text import is_plain
from tests.unit.core.rig import CANARY, SCENES, Rig, Scene, password

Make = Callable[[str], Rig]
ALLOW = 'policy: {rules: [{effect: allow, match: "**"}]}'


@pytest.fixture
def free(make: Make) -> Rig:
    return make(ALLOW)


# --- the tree of errors ------------------------------------------------------------------------


def _all(kind: type[SecretsError]) -> Iterator[type[SecretsError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _all(below)


TREE = list(_all(SecretsError))


@pytest.mark.parametrize("kind", TREE)
def test_every_error_has_a_code_a_sentence_and_a_next_step(kind: type[SecretsError]) -> None:
    error = kind()
    assert re.fullmatch(r"[A-Z_]+", error.code)
    for text in (error.message, error.next_step):
        assert text.endswith(".")
        assert 10 < len(text) < 200
    assert str(error) == f"{error.code}: {error.message} Next: {error.next_step}"


def test_codes_are_unique_and_documented() -> None:
    codes = [kind.code for kind in TREE]
    assert len(set(codes)) == len(codes) > 30
    own = [kind for kind in TREE if kind.__module__ == errors.__name__]
    leaves = [kind for kind in own if not set(own) & set(kind.__subclasses__())]
    assert errors.__doc__ is not None
    for kind in leaves:
        assert re.search(rf"{kind.__name__}\s+{kind.code}", errors.__doc__), kind


# --- what a store can answer -------------------------------------------------------------------

FAULTS = [kind for kind in _all(StoreError) if kind is not StoreError]


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())
@pytest.mark.parametrize("kind", FAULTS)
def test_every_refusal_of_a_store_ends_a_change_cleanly(
    staged: Rig, scene: Scene, kind: type[SecretsError], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = scene.plan(staged)
    before = staged.holds()

    def fails(*_: object) -> None:
        raise kind

    for name in ("_put", "_delete", "_fetch"):
        monkeypatch.setattr(staged.memory, name, fails)
    with pytest.raises(kind) as refused:
        staged.carry_out(plan)
    assert CANARY not in str(refused.value)
    assert staged.holds() == before
    assert staged.events()[-1].kind is Kind.FAILED
    assert staged.events()[-1].code == kind.code
    monkeypatch.undo()
    with pytest.raises(SecretsError, match=r"PLAN_(USED|STALE)"):
        staged.carry_out(plan)


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())
def test_a_fault_that_nobody_expected_becomes_an_incident(
    staged: Rig, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = scene.plan(staged)

    def fails(*_: object) -> None:
        raise RuntimeError(CANARY)

    for name in ("_put", "_delete", "_fetch"):
        monkeypatch.setattr(staged.memory, name, fails)
    with pytest.raises(InternalError) as refused:
        staged.carry_out(plan)
    assert CANARY not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


@pytest.mark.parametrize("kind", FAULTS)
def test_every_refusal_of_a_store_ends_a_look_and_a_plan(
    rig: Rig, kind: type[SecretsError]
) -> None:
    looks: list[Callable[[], object]] = [
        lambda: rig.broker.read("memory://a"),
        lambda: rig.broker.list_names("memory://"),
        lambda: rig.write("memory://a", password()),
        lambda: rig.delete("memory://a"),
        lambda: rig.plan_run(A="memory://a#b"),
    ]
    for look in looks:
        rig.memory.faults.append(kind())
        with pytest.raises(kind):
            look()
    assert rig.memory._held == {}


# --- size and form of values -------------------------------------------------------------------


def test_a_value_of_one_mebibyte_goes_through_and_a_larger_secret_does_not(free: Rig) -> None:
    free.file("one", b"x" * 1_048_576)
    free.file("two", b"y" * 100_000)
    free.write("memory://a", KeyRequest("a", file="one"))
    assert len(free.memory._held["a"].versions[1].values["a"]) == 1_048_576
    with pytest.raises(LimitError):
        free.write("memory://b", KeyRequest("a", file="one"), KeyRequest("b", file="two"))
    assert "b" not in free.memory._held


def test_512_keys_go_through_and_no_more(free: Rig) -> None:
    free.file("a.env", "".join(f"K{n}=v{n}\n" for n in range(512)))
    assert free.write("memory://a", from_file="a.env").state == "done"
    free.file("b.env", "".join(f"K{n}=v{n}\n" for n in range(513)))
    with pytest.raises(SecretsError):
        free.write("memory://b", from_file="b.env")
    assert "b" not in free.memory._held


@pytest.mark.parametrize(
    "content", [b"\x00", b"\xff\xfe\x00", b"\r\n", b"", "😀".encode(), bytes(range(256))]
)
def test_bytes_of_a_raw_file_arrive_as_they_are(free: Rig, content: bytes) -> None:
    free.file("raw", content)
    free.write("memory://a", KeyRequest("a", file="raw"))
    assert free.memory._held["a"].versions[1].values == {"a": content}


BAD_FILES = {
    "yaml bomb": ("a.yaml", b"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n"),
    "yaml object": ("a.yaml", b"!!python/object/apply:os.system ['id']"),
    "deep json": ("a.json", b'{"a":' * 5_000),
    "long json number": ("a.json", b'{"a": ' + b"1" * 5_000 + b"}"),
    "half a character": ("a.json", b'{"a": "\\ud800"}'),
    "half a character as name": ("a.json", b'{"\\ud800": "a"}'),
    "duplicate keys": ("a.json", b'{"a": 1, "a": 2}'),
    "no mapping": ("a.json", b"[1]"),
    "no text": ("a.env", b"A=\xff"),
    "large": ("a.env", b"A=" + b"x" * 2_000_000),
    "no values": ("a.env", b"# nothing\n"),
    "utf-16": ("a.yaml", "a: 1".encode("utf-16-le")),
    "control characters in a name": ("a.json", b'{"a\\u001b[31m": "x"}'),
}


@pytest.mark.parametrize(("name", "content"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_refused_and_nothing_is_written(free: Rig, name: str, content: bytes) -> None:
    free.file(name, content)
    with pytest.raises(SecretsError) as refused:
        free.write("memory://a", from_file=name)
    assert type(refused.value) is not InternalError
    assert free.memory._held == {}


# --- whatever the request ----------------------------------------------------------------------

odd = st.text(st.characters(), max_size=12)
reference = st.one_of(
    st.sampled_from(
        [
            "memory://app/db",
            "memory://app/db#a",
            "memory://app/db?version=1#a",
            "memory://app/db?version=9#/a/b",
            "memory://none",
            "runtime://x.env",
            "runtime://x",
            "runtime://../x",
            "vault://a/b",
            "memory://a/../b",
            "memory://%2e%2e/b",
            "memory://a%2fb",
            "MEMORY://a",
            "ref+exec://id",
            "@name",
            "",
        ]
    ),
    odd,
    odd.map(lambda text: f"memory://{text}"),
    odd.map(lambda text: f"memory://app/db#{text}"),
    odd.map(lambda text: f"memory://app/db?version={text}"),
)
part = st.none() | odd | st.sampled_from(["a", "/a/b", "/", "HOME", "a.env", "1", "../x", "/etc"])
keys = st.builds(
    KeyRequest,
    odd | st.sampled_from(["a", "b", "/a"]),
    st.none() | st.sampled_from(Recipe).filter(lambda recipe: recipe is not Recipe.RSA),
    st.none() | st.integers(-1, 600),
    st.none() | reference,
    part,
    part,
    part,
    part,
)
writes = st.builds(
    WriteRequest,
    reference,
    st.lists(keys, max_size=3).map(tuple),
    part,
    st.sampled_from(FileFormat),
    st.none() | reference,
    st.lists(odd, max_size=2).map(tuple),
    st.booleans(),
    part,
    part,
    st.lists(odd, max_size=2).map(tuple),
)
deletes = st.builds(
    DeleteRequest, reference, st.sampled_from(RemovalMode), st.lists(odd, max_size=2).map(tuple)
)
runs = st.builds(
    RunRequest,
    st.lists(odd | st.just("true"), max_size=3).map(tuple),
    st.lists(st.tuples(odd | st.just("A"), reference), max_size=2).map(tuple),
    st.just("/"),
)
wild = settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def _only_ours(attempt: Callable[[], object]) -> None:
    """Nothing but our own errors comes out, in plain words, and no incident."""
    try:
        attempt()
    except SecretsError as error:
        assert type(error) is not InternalError  # noqa: PT017 - success is right too
        assert is_plain(str(error))  # noqa: PT017
        assert len(str(error)) < 500  # noqa: PT017
        assert CANARY not in str(error)  # noqa: PT017


@pytest.fixture
def wild_rig(make: Make) -> Rig:
    rig = make("")
    rig.put("app/db", a=CANARY)
    rig.file("a.env", f"A={CANARY}")
    return rig


@wild
@given(writes)
def test_whatever_a_write_asks(wild_rig: Rig, request_: WriteRequest) -> None:
    before = wild_rig.holds()
    _only_ours(lambda: wild_rig.broker.write(request_))
    assert wild_rig.holds() == before


@wild
@given(deletes)
def test_whatever_a_delete_asks(wild_rig: Rig, request_: DeleteRequest) -> None:
    before = wild_rig.holds()
    _only_ours(lambda: wild_rig.broker.delete(request_))
    assert wild_rig.holds() == before


@wild
@given(runs)
def test_whatever_a_run_asks(wild_rig: Rig, request_: RunRequest) -> None:
    _only_ours(lambda: wild_rig.broker.plan_run(request_))
    assert wild_rig.memory.fetched == []


@wild
@given(reference, st.none() | odd, st.integers(-5, 5000))
def test_whatever_is_looked_at(wild_rig: Rig, text: str, cursor: str | None, limit: int) -> None:
    _only_ours(lambda: wild_rig.broker.read(text))
    _only_ours(lambda: wild_rig.broker.list_names(text, cursor=cursor, limit=limit, details=True))


@wild
@given(odd, odd, odd)
def test_whatever_plan_is_named(wild_rig: Rig, plan: str, change: str, affects: str) -> None:
    _only_ours(lambda: wild_rig.broker.review(plan, change, affects))


def test_the_wild_requests_are_not_all_refused(wild_rig: Rig) -> None:
    """The control of the laws above: the same strategies reach a plan."""
    request = WriteRequest("memory://app/db", (KeyRequest("a", generate=Recipe.HEX),))
    assert wild_rig.broker.write(request).state == "planned"


# --- state folders that are in the way ---------------------------------------------------------


@pytest.mark.parametrize("name", ["plans", "journal.jsonl"])
def test_a_state_folder_that_cannot_be_used_is_a_clear_error(rig: Rig, name: str) -> None:
    state = rig.home / "state" / "secret-management"
    state.mkdir(exist_ok=True)
    path: Path = state / name
    if name == "plans":
        path.write_text("")
    else:
        path.mkdir()
    with pytest.raises(SecretsError, match="JOURNAL_UNAVAILABLE"):
        rig.write("memory://a", password())
    assert rig.memory._held == {}


def test_a_plan_of_a_verb_that_only_looks_does_nothing(rig: Rig) -> None:
    """No request makes one, but a plan file can be written by hand."""
    rig.put("app/db", a="1")
    for verb in (Verb.READ, Verb.LIST, Verb.USE):
        plan = rig.broker.plans.add(Operation(verb, "memory://app/db"), "")
        with pytest.raises(SecretsError, match="PLAN_MISMATCH"):
            rig.broker.apply(rig.broker.review(plan.id), Channel.FORM)
    assert rig.memory._held["app/db"].current == 1
