"""SIGKILL of the real process at every step of a change, and what the next process finds.

strace kills it as it enters a system call on the named file, so what the call would have done is
not done. The next process is a new one; the store is opened by the real sops.
"""

from __future__ import annotations

import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mcp_server.core.journal import Kind
from tests.live.harness.household import Household, started, words
from tests.wire.pipes import Pipes

pytestmark = pytest.mark.trace

OLD, NEW, NEWER = "canary-the-old-one", "canary-the-new-one", "canary-the-one-after"
TARGET = "local://app/db"
JOURNAL = "state/secret-management/journal.jsonl"
PART = "data/secret-management/.local.sops.json.part"
FOLDER = "data/secret-management"
USED = "state/secret-management/plans/{plan}.used"


@dataclass(frozen=True, slots=True)
class Point:
    """Where the process dies.

    Attributes:
        name: As printed.
        call: The system call that it does not come to do.
        path: The file it is on.
        when: Which such call on that file, from 1.
        changed: The store holds the change afterwards.
        used: The plan is used up.
        listed: The change is known to be unfinished.
    """

    name: str
    call: str
    path: str
    when: int = 1
    changed: bool = False
    used: bool = True
    listed: bool = True


# What applying journals: a description; then, each on the disk, decision, intent and outcome.
POINTS = (
    Point("the claim of the plan", "link", USED, used=False, listed=False),
    Point("the decision", "write", JOURNAL, 2, listed=False),
    Point("the decision on the disk", "fsync", JOURNAL, 1, listed=False),
    Point("the intent", "write", JOURNAL, 3, listed=False),
    Point("the intent on the disk", "fsync", JOURNAL, 2),
    Point("the new store", "openat", PART),
    Point("its content", "write", PART),
    Point("its content on the disk", "fsync", PART),
    Point("its name", "rename", PART),
    Point("its name on the disk", "fsync", FOLDER, changed=True),
    Point("the outcome", "write", JOURNAL, 4, changed=True),
    Point("the outcome on the disk", "fsync", JOURNAL, 3, changed=True, listed=False),
    Point("the answer", "close", JOURNAL, 4, changed=True, listed=False),
)


def killer(home: Household, call: str, path: str, when: int) -> list[str]:
    """A tracer that kills what it runs as it enters the call."""
    return [
        *("strace", "-f", "-qq", "-o", str(home.root / "trace"), "-P", str(home.root / path)),
        *("-e", "trace=openat,write,fsync,rename,link,close,ftruncate"),
        *("-e", f"inject={call}:signal=KILL:when={when}"),
    ]


def killed(process: subprocess.Popen[bytes]) -> None:
    """Wait for its end, which must have been that signal; strace ends as what it runs ended."""
    process.wait(20)
    assert process.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}
    assert process.stderr is not None
    assert b"strace:" not in process.stderr.read()


def done(pipes: Pipes, tool: str, **arguments: object) -> dict[str, Any]:
    """Call a tool and agree to its plan; the receipt of what was done."""
    receipt = receipt_of(pipes, tool, **arguments)
    if receipt["state"] == "planned":
        receipt = receipt_of(pipes, "secrets_apply", **words(receipt))
    assert receipt["state"] == "done", receipt
    return receipt


def receipt_of(pipes: Pipes, tool: str, **arguments: object) -> dict[str, Any]:
    """Call a tool that must not refuse."""
    answer = pipes.call(tool, **arguments)
    assert not answer.get("isError"), answer
    return dict(answer["structuredContent"])


@pytest.fixture
def home(tmp_path: Path) -> Household:
    home = Household(tmp_path)
    for name, value in {"old": OLD, "new": NEW, "newer": NEWER}.items():
        home.keep(f"{name}.json", n=value, more="x" * 5000)
    return home


def _planned(home: Household, tool: str, **arguments: object) -> dict[str, Any]:
    """Keep the old value, then plan a change; in a process that ends."""
    with home.serve() as (pipes, _):
        done(pipes, "secrets_write", target=TARGET, from_file="old.json")
        return words(receipt_of(pipes, tool, **arguments))


def _die(home: Household, point: Point, plan: dict[str, Any]) -> None:
    path = point.path.format(plan=plan["plan"])
    tracer = killer(home, point.call, path, point.when)
    with home.serve(*tracer) as (pipes, process):
        with suppress(AssertionError, BrokenPipeError):
            answer = pipes.call("secrets_apply", **plan)
            pytest.fail(f"it lives: {answer}")
        killed(process)


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_a_kill_before(home: Household, point: Point) -> None:
    """The store is the old one or the new one, whole; the rest of the promise P4 holds."""
    plan = _planned(home, "secrets_write", target=TARGET, from_file="new.json")

    _die(home, point, plan)

    versions = [values["n"] for values in home.opened()["app/db"].values()]
    assert versions == ([OLD, NEW] if point.changed else [OLD])
    assert home.journal.verify().intact
    with home.serve() as (pipes, _):
        status = receipt_of(pipes, "secrets_status")
        assert [line.split(" ", 1)[1] for line in status["unfinished"]] == (
            [f"update {TARGET}"] if point.listed else []
        )
        again = pipes.call("secrets_apply", **plan)
        assert bool(again.get("isError")) == point.used
        assert ("PLAN_USED" in str(again)) == point.used
        after = done(pipes, "secrets_write", target=TARGET, from_file="newer.json")
    kept = [values["n"] for values in home.opened()["app/db"].values()]
    assert kept == [*versions, *([] if point.used else [NEW]), NEWER]
    assert after["version"] == str(len(kept))
    assert home.journal.verify().intact
    assert not list(home.store.parent.glob(".*.part"))


@pytest.mark.parametrize(
    ("mode", "point"),
    [("delete", POINTS[8]), ("destroy", POINTS[9]), ("erase", POINTS[8]), ("erase", POINTS[9])],
    ids=lambda value: value.name if isinstance(value, Point) else value,
)
def test_a_kill_in_a_removal_before(home: Household, mode: str, point: Point) -> None:
    plan = _planned(home, "secrets_delete", target=TARGET, mode=mode)

    _die(home, point, plan)

    with home.serve() as (pipes, _):
        status = receipt_of(pipes, "secrets_status")
        assert [line.split(" ", 1)[1] for line in status["unfinished"]] == [f"{mode} {TARGET}"]
        state = receipt_of(pipes, "secrets_read", ref=TARGET)["state"]
        gone = {"delete": "deleted", "destroy": "destroyed", "erase": "absent"}[mode]
        assert state == (gone if point.changed else "live")
        done(pipes, "secrets_write", target=TARGET, from_file="newer.json")
    assert [values["n"] for values in home.opened()["app/db"].values()][-1] == NEWER


@pytest.mark.parametrize(
    ("point", "listed"),
    [
        (Point("the intent on the disk", "fsync", JOURNAL, 2), True),
        (Point("its name", "rename", PART), True),
        (Point("its name on the disk", "fsync", FOLDER, changed=True), True),
        (Point("the outcome on the disk", "fsync", JOURNAL, 3, changed=True), False),
    ],
    ids=lambda value: value.name if isinstance(value, Point) else "",
)
def test_a_kill_of_the_command_line_before(home: Household, point: Point, listed: bool) -> None:  # noqa: FBT001 - a parameter
    _planned(home, "secrets_write", target=TARGET, from_file="new.json")
    tracer = killer(home, point.call, point.path, point.when)

    code, out, _ = home.secrets(
        "write", "local://app/cli", "--from-file", "new.json", wrapper=tracer
    )

    assert code in {-signal.SIGKILL, 128 + signal.SIGKILL}
    assert out == b""
    assert ("app/cli" in home.opened()) == point.changed
    code, out, _ = home.secrets("status", "--json")
    assert code == 0
    assert (b"create local://app/cli" in out) == listed
    code, _, _ = home.secrets("write", "local://app/next", "--from-file", "newer.json")
    assert code == 0
    opened = home.opened()
    assert opened["app/db"]["1"]["n"] == OLD
    assert opened["app/next"]["1"]["n"] == NEWER
    assert home.journal.verify().intact


def test_an_entry_torn_by_a_kill_is_told_and_spoils_nothing(home: Household) -> None:
    """The disk is full in the middle of an entry, and the process dies before it takes it back."""
    plan = _planned(home, "secrets_write", target=TARGET, from_file="new.json")
    whole = home.journal.path.stat().st_size
    limit = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({whole + 100}, {whole + 100}))"
    tracer = killer(home, "ftruncate", JOURNAL, 1)

    with home.serve(*tracer, command=started("import resource", limit)) as (pipes, process):
        with suppress(AssertionError, BrokenPipeError):
            pytest.fail(str(pipes.call("secrets_apply", **plan)))
        killed(process)

    assert home.journal.path.stat().st_size == whole + 100
    assert home.journal.verify().torn == 1
    with home.serve() as (pipes, _):
        assert receipt_of(pipes, "secrets_apply", **plan)["state"] == "done"
        assert "1 torn lines, chain intact" in receipt_of(pipes, "secrets_status")["journal"]
    assert home.records[-1].event.kind is Kind.DONE
    assert home.opened()["app/db"]["2"]["n"] == NEW


def test_a_store_that_is_written_in_place_is_found_broken(home: Household) -> None:
    """What the kills above would find in a program that does not rename."""
    plan = _planned(home, "secrets_write", target=TARGET, from_file="new.json")
    in_place = "files.replace = lambda path, data: path.write_bytes(data)"
    tracer = killer(home, "write", "data/secret-management/local.sops.json", 1)

    command = started("from mcp_server.clients import files", in_place)
    with home.serve(*tracer, command=command) as (pipes, process):
        with suppress(AssertionError, BrokenPipeError):
            pytest.fail(str(pipes.call("secrets_apply", **plan)))
        killed(process)

    with pytest.raises(subprocess.CalledProcessError):
        home.opened()
