"""The real server under strace: what it writes, in which order, where, and whom it talks to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.leaks.corpus import STRONG
from tests.live.harness.household import Household, started, words
from tests.live.harness.tracing import (
    Call,
    Step,
    connections,
    foreign_writes,
    leaks,
    out_of_order,
    read,
    tracer,
)
from tests.servers.openbao import Bao, inmem_bao
from tests.wire.pipes import Pipes, ended

pytestmark = pytest.mark.trace

CANARIES = {"one": STRONG["random 24"].decode(), "two": STRONG["PEM"].decode()}
LATER = {"one": STRONG["random 32 hex"].decode()}
VALUES = [value.encode() for value in (*CANARIES.values(), *LATER.values())]


@dataclass(frozen=True, slots=True)
class Traced:
    """A session that ended: its calls, its receipts by step, where it ran."""

    calls: list[Call]
    receipts: dict[str, dict[str, Any]]
    home: Household

    def of(self, step: str) -> list[Call]:
        """The calls of one change, from the request with its plan to the answer."""
        marks = [n for n, call in enumerate(self.calls) if _answers(call)]
        number = list(self.receipts).index(step)
        return self.calls[marks[number - 1] + 1 if number else 0 : marks[number] + 1]


def _answers(call: Call) -> bool:
    return call.name == "write" and b'{"jsonrpc"' in b"".join(call.strings)[:10]


def _session(home: Household, store: str, log: Path, *planted: str) -> Traced:
    """Every kind of change and delivery, on one store; each tool call is one step."""
    home.keep("import.json", **CANARIES)
    home.keep("later.json", **LATER)
    target = f"{store}/app/db"
    made = [{"key": "made", "generate": "password"}]
    receipts: dict[str, dict[str, Any]] = {}

    def step(name: str, pipes: Pipes, tool: str, **arguments: object) -> None:
        answer = pipes.call(tool, **arguments)
        assert not answer.get("isError"), (name, answer)
        receipts[name] = answer["structuredContent"]
        if receipts[name].get("state") == "planned":
            step(f"{name} agreed", pipes, "secrets_apply", **words(receipts[name]))

    with home.serve(*tracer(log), command=started(*planted)) as (pipes, process):
        step("status", pipes, "secrets_status")
        step("create", pipes, "secrets_write", target=target, from_file="import.json")
        step("update", pipes, "secrets_write", target=target, from_file="later.json")
        step("generate", pipes, "secrets_write", target=target, keys=made)
        step("deliver", pipes, "secrets_write", target="runtime://app.json", copy_from=target)
        step("describe", pipes, "secrets_read", ref=target)
        step("list", pipes, "secrets_list", prefix=f"{store}/app")
        step("delete", pipes, "secrets_delete", target=target)
        step("erase", pipes, "secrets_delete", target=target, mode="erase")
        assert ended(process) == b""
    return Traced(read(log), receipts, home)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Traced:
    folder = tmp_path_factory.mktemp("local")
    return _session(Household(folder), "local:/", folder / "trace")


@pytest.fixture(scope="module")
def bao() -> Iterator[Bao]:
    with inmem_bao() as server:
        server.mount_kv("secret", 2)
        yield server


@pytest.fixture(scope="module")
def vault(bao: Bao, tmp_path_factory: pytest.TempPathFactory) -> Traced:
    folder = tmp_path_factory.mktemp("vault")
    home = Household(folder)
    on_vault(home, bao.address, bao.root_token)
    return _session(home, "vault://secret", folder / "trace")


def on_vault(home: Household, address: str, token: str) -> None:
    """Configure a Vault store beside the embedded one."""
    file = home.root / "config" / "token"
    file.touch(mode=0o600)
    file.write_text(token)
    home.configure(
        "stores:\n"
        "  local: {backend: local, keyring: false}\n"
        f"  bao: {{backend: vault, address: '{address}', mounts: {{secret: 2}}, timeout: 5,"
        f" auth: {{method: token, file: '{file}'}}}}\n"
    )


def _worked(call: Call) -> bool:
    return call.text.rstrip().endswith(" = 0")


def _entry(kind: str, verb: str = "") -> Step:
    """An entry of the journal is written."""
    texts = (f'"kind":"{kind}"'.encode(), f'"verb":"{verb}'.encode())
    return Step(
        f"the entry {kind} {verb}".rstrip(),
        lambda call: (
            call.name == "write"
            and "journal.jsonl" in call.place
            and all(text in call.strings[0] for text in texts)
        ),
    )


def _content(name: str, pattern: str) -> Step:
    found = re.compile(pattern)
    return Step(name, lambda c: c.name == "write" and found.search(c.place) is not None)


def _on_disk(name: str, pattern: str, *, once: bool = False) -> Step:
    found = re.compile(pattern)
    return Step(
        f"{name} on the disk",
        lambda c: c.name == "fsync" and found.search(c.place) is not None and _worked(c),
        once,
    )


def _named(name: str, call_name: str, ending: str) -> Step:
    return Step(
        name,
        lambda c: c.name == call_name and str(c.paths[-1]).endswith(ending) and _worked(c),
    )


def _request(start: str) -> Step:
    line = start.encode()
    return Step(f"the request {start}", lambda c: c.name == "sendto" and _first(c).startswith(line))


def _first(call: Call) -> bytes:
    return next(iter(call.strings), b"")


JOURNAL = _on_disk("the journal", r"/journal\.jsonl$")
PLANS = _on_disk("the names of plans", "/plans$")
ANSWER = Step("the answer", _answers)
PLANNED = [
    _content("the plan", r"/plans/\.p-[0-9a-f]{16}\.json"),
    _on_disk("the plan", r"/plans/\.p-[0-9a-f]{16}\.json", once=True),
    _named("the plan's name", "link", ".json"),
    PLANS,
    _entry("planned"),
]
DECIDED = [_named("the claim", "link", ".used"), PLANS, _entry("decided"), JOURNAL]
CHANGED = [
    _content("the store", r"/\.local\.sops\.json\.part$"),
    _on_disk("the store", r"/\.local\.sops\.json\.part$", once=True),
    _named("the store's name", "rename", "/local.sops.json"),
    _on_disk("the store's name", "/data/secret-management$", once=True),
]
DELIVERED = [
    *(_entry("intent", "use"), JOURNAL, _entry("done", "use"), JOURNAL),
    _named("the runtime file", "rename", "/app.json"),
]


def _journaled(action: list[Step], verb: str = "") -> list[Step]:
    """An action, its intent on the disk before and its outcome after, then the answer."""
    return [_entry("intent", verb), JOURNAL, *action, _entry("done", verb), JOURNAL, ANSWER]


LOCAL = {
    "create": [*PLANNED, *DECIDED, *_journaled(CHANGED)],
    "update": [*PLANNED, ANSWER],
    "update agreed": [*DECIDED, *_journaled(CHANGED)],
    "generate agreed": [*DECIDED, *_journaled(CHANGED)],
    "deliver": [*PLANNED, ANSWER],
    "deliver agreed": [*DECIDED, *_journaled(DELIVERED, "deliver")],
    "delete agreed": [*DECIDED, *_journaled(CHANGED)],
    "erase agreed": [*DECIDED, *_journaled(CHANGED)],
}
VAULT = {
    "create": [*PLANNED, ANSWER],
    "create agreed": [*DECIDED, *_journaled([_request("POST /v1/secret/data/app/db")])],
    "update agreed": [*DECIDED, *_journaled([_request("PATCH /v1/secret/data/app/db")])],
    "generate agreed": [*DECIDED, *_journaled([_request("PATCH /v1/secret/data/app/db")])],
    "deliver agreed": [*DECIDED, *_journaled(DELIVERED, "deliver")],
    "delete agreed": [*DECIDED, *_journaled([_request("POST /v1/secret/delete/app/db")])],
    "erase agreed": [*DECIDED, *_journaled([_request("DELETE /v1/secret/metadata/app/db")])],
}


@pytest.mark.parametrize("step", LOCAL)
def test_everything_is_durable_before_what_depends_on_it(local: Traced, step: str) -> None:
    assert list(out_of_order(local.of(step), LOCAL[step])) == []


@pytest.mark.parametrize("step", VAULT)
def test_the_intent_is_durable_before_a_request_leaves(vault: Traced, step: str) -> None:
    assert list(out_of_order(vault.of(step), VAULT[step])) == []


@pytest.mark.parametrize("name", ["local", "vault"])
def test_every_file_it_writes_lies_in_the_users_own_folders(
    name: str, request: pytest.FixtureRequest
) -> None:
    traced: Traced = request.getfixturevalue(name)
    assert list(foreign_writes(traced.calls, _own(traced.home))) == []


def _own(home: Household) -> list[Path]:
    """The folders that are its own, with what it may make of its own accord; never the project."""
    return [home.root / name / "secret-management" for name in ("config", "state", "data", "run")]


def test_nothing_is_written_before_the_first_change(local: Traced) -> None:
    calls = local.of("status")
    assert len(calls) > 100
    assert list(foreign_writes(calls, [])) == []


def test_the_embedded_store_talks_to_nobody(local: Traced) -> None:
    assert connections(local.calls) == []
    assert not [call for call in local.calls if call.name == "bind"]


def test_nor_does_it_where_it_looks_for_a_keyring_and_there_is_none(tmp_path: Path) -> None:
    home = Household(tmp_path)
    home.configure("")
    assert connections(_planted(home)) == []


def test_a_configured_store_is_the_only_one_it_talks_to(vault: Traced, bao: Bao) -> None:
    found = connections(vault.calls)
    assert found
    assert {f"http://{peer}" for peer in found} == {bao.address}


@pytest.mark.parametrize("name", ["local", "vault"])
def test_values_are_written_to_declared_places_only(
    name: str, request: pytest.FixtureRequest, bao: Bao
) -> None:
    """Not even into a file that is gone at the end; the embedded store holds none in the clear."""
    traced: Traced = request.getfixturevalue(name)
    port = bao.address.rpartition(":")[2]

    def sink(place: str) -> bool:
        return "/run/secret-management/" in place or place.endswith(f":{port}]")

    assert list(leaks(traced.calls, VALUES, sink)) == []
    seen = set(leaks(traced.calls, VALUES, lambda _: False))
    assert any("/run/secret-management/" in where for where in seen)
    assert any(where.endswith(f":{port}]") for where in seen) == (name == "vault")


# --- each check finds what is planted -------------------------------------------------------


LATE = (
    "Journal.record = lambda journal, event, durable: late.append(event)"
    " if event.kind is Kind.INTENT else"
    " [real(journal, each, durable=durable) for each in (*late, event)]"
)


def _planted(home: Household, *statements: str) -> list[Call]:
    """What a server does that runs these statements, and then creates a secret."""
    made = [{"key": "made", "generate": "password"}]
    log = home.root / "trace"
    with home.serve(*tracer(log), command=started("import os", *statements)) as (pipes, process):
        answer = pipes.call("secrets_write", target="local://app/db", keys=made)
        assert answer["structuredContent"]["state"] == "done"
        ended(process)
    return read(log)


@pytest.fixture
def home(tmp_path: Path) -> Household:
    return Household(tmp_path, {"CANARY": CANARIES["one"], "ELSEWHERE": str(tmp_path / "other")})


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("open(os.environ['ELSEWHERE'], 'w').close()", "openat {}"),
        ("os.symlink('x', os.environ['ELSEWHERE'])", "symlink {}"),
        ("os.path.lexists('made') or os.mkdir(os.environ['ELSEWHERE'])", "mkdir {}"),
        (
            "os.close(os.open(os.environ['ELSEWHERE'], 66)); os.unlink(os.environ['ELSEWHERE'])",
            "unlink {}",
        ),
    ],
)
def test_a_planted_file_is_found(home: Household, statement: str, found: str) -> None:
    problems = list(foreign_writes(_planted(home, statement), _own(home)))
    assert found.format(home.more["ELSEWHERE"]) in problems


@pytest.mark.parametrize(
    ("statement", "peer"),
    [
        ("socket.socket().connect_ex(('127.0.0.1', 9))", "127.0.0.1:9"),
        ("socket.socket(type=socket.SOCK_DGRAM).connect(('127.0.0.1', 53))", "127.0.0.1:53"),
        ("socket.socket(socket.AF_INET6).connect_ex(('::1', 9))", "::1:9"),
    ],
)
def test_a_planted_connection_is_found(home: Household, statement: str, peer: str) -> None:
    quiet = "import socket, warnings; warnings.simplefilter('ignore', ResourceWarning)"
    assert peer in connections(_planted(home, quiet, statement))


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        ("import subprocess; subprocess.run(['true', os.environ['CANARY']])", "a command line"),
        ("os.path.exists('x') or os.mkdir('state' + os.environ['CANARY'])", "a name"),
        (
            "d = os.open('gone', 66); os.write(d, os.environb[b'CANARY'][::-1]); os.unlink('gone')",
            "written to {}/gone",
        ),
        ("os.write(2, os.environb[b'CANARY'].hex().encode())", "written to pipe"),
    ],
)
def test_a_planted_value_is_found(home: Household, statement: str, where: str) -> None:
    seen = list(leaks(_planted(home, statement), VALUES, lambda _: False))
    assert len(seen) == 1
    assert seen[0].startswith(where.format(home.project))


@pytest.mark.parametrize(
    ("statements", "problem"),
    [
        (
            (
                "real = os.fsync",
                "from os import readlink as name",
                "os.fsync = lambda d: None if 'journal' in name(f'/proc/self/fd/{d}') else real(d)",
            ),
            "the journal on the disk does not come after the entry decided",
        ),
        (
            (
                "from pathlib import Path",
                "from mcp_server.clients import files",
                "name = '.local.sops.json.part'",
                "place = lambda path: path.with_name(name)",
                "files._write_beside = lambda p, d: place(p).write_bytes(d) and place(p)",
            ),
            "the store on the disk does not come after the store",
        ),
        (
            (
                "from mcp_server.core.journal import Journal, Kind",
                "real = Journal.record",
                "late = []",
                LATE,
            ),
            "the store does not come after the journal on the disk",
        ),
    ],
    ids=["no fsync of the journal", "no fsync of the store", "intent after the change"],
)
def test_a_planted_wrong_order_is_found(
    home: Household, statements: tuple[str, ...], problem: str
) -> None:
    calls = _planted(home, *statements)
    assert list(out_of_order(calls, LOCAL["create"])) == [problem]


def test_an_empty_record_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "trace").touch()
    with pytest.raises(ValueError, match="nothing was traced"):
        read(tmp_path / "trace")
    assert list(foreign_writes([], [])) == ["no file was looked at"]
    assert list(leaks([], VALUES, lambda _: False)) == ["too little was looked at"]
