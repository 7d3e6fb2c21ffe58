"""A disk that fills up: nothing half-written, a clear error, and all goes on once there is room.

Every case is made by a limit on the size of files (setrlimit(2), RLIMIT_FSIZE), which gives short
writes and then EFBIG in the real process. The same on a real file system of 64 KiB (tmpfs), which
needs the right to mount; where that is missing, pytest shows the tests as skipped.
"""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mcp_server.core.journal import Kind
from tests.live.harness.household import Household, words
from tests.live.test_crash_points import done, receipt_of
from tests.wire.pipes import Pipes

pytestmark = pytest.mark.trace

TARGET = "local://app/db"
BIG = "canary-large-" + "v" * 40_000
KEYS = 150


@pytest.fixture
def home(tmp_path: Path) -> Household:
    home = Household(tmp_path)
    home.keep("old.json", n="canary-the-old-one")
    home.keep("new.json", n="canary-the-new-one")
    home.keep("big.json", n=BIG)
    home.keep("many.json", **{f"k{number}": "canary-of-many" for number in range(KEYS)})
    return home


@contextmanager
def at_most(process: subprocess.Popen[bytes], size: int) -> Iterator[None]:
    """No file of the process grows beyond ``size`` bytes meanwhile."""
    before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, before[1]))
    yield
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)


def _refused(pipes: Pipes, tool: str, code: str, **arguments: object) -> None:
    answer = pipes.call(tool, **arguments)
    assert answer.get("isError"), answer
    assert f" {code}: " in answer["content"][0]["text"], answer


def _sizes(home: Household) -> list[int]:
    """Of what applying the change before the plan has journaled, entry by entry."""
    kinds = [record.event.kind for record in home.records[-6:-2]]
    assert kinds == [Kind.READ, Kind.DECIDED, Kind.INTENT, Kind.DONE]
    lines = home.journal.path.read_bytes().splitlines(keepends=True)
    return [len(line) for line in lines[-6:-2]]


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("entries", "used"),
    [(0, False), (1, True), (2, True)],
    ids=["the description", "the decision", "the intent"],
)
def test_without_room_in_the_journal_nothing_is_done(
    home: Household,
    entries: int,
    used: bool,  # noqa: FBT001 - a parameter
) -> None:
    with home.serve() as (pipes, process):
        plan = _plan_with_a_long_journal(pipes)
        store, journal = home.store.read_bytes(), home.journal.path.stat().st_size
        applied = _sizes(home)
        room = sum(applied[:entries]) + applied[entries] // 2

        with at_most(process, journal + room):
            _refused(pipes, "secrets_apply", "JOURNAL_UNAVAILABLE", **plan)

        assert home.store.read_bytes() == store
        assert home.journal.verify().intact
        assert home.journal.verify().torn == 0
        again = pipes.call("secrets_apply", **plan)
        assert ("PLAN_USED" in str(again)) == used
        done(pipes, "secrets_write", target=TARGET, from_file="new.json")
    assert home.opened()["app/db"]["1"]["n"] == "canary-the-old-one"


def test_without_room_for_the_outcome_the_result_is_told_and_the_change_stays_listed(
    home: Household,
) -> None:
    with home.serve() as (pipes, process):
        plan = _plan_with_a_long_journal(pipes)
        journal, applied = home.journal.path.stat().st_size, _sizes(home)

        with at_most(process, journal + sum(applied[:3]) + applied[3] // 2):
            assert receipt_of(pipes, "secrets_apply", **plan)["state"] == "done"

        assert len(receipt_of(pipes, "secrets_status")["unfinished"]) == 1
        assert home.journal.verify().torn == 0
    assert list(home.opened()["app/db"].values())[-1]["n"] == "canary-the-new-one"


def _plan_with_a_long_journal(pipes: Pipes) -> dict[str, Any]:
    """Plan a change, right after an equal one, with a journal larger than every other file."""
    done(pipes, "secrets_write", target=TARGET, from_file="old.json")
    for _ in range(60):
        receipt_of(pipes, "secrets_read", ref=TARGET)
    done(pipes, "secrets_write", target=TARGET, from_file="old.json")
    return words(receipt_of(pipes, "secrets_write", target=TARGET, from_file="new.json"))


def test_without_room_for_the_plan_there_is_none(home: Household) -> None:
    with home.serve() as (pipes, process):
        done(pipes, "secrets_write", target=TARGET, from_file="old.json")
        before = _files(home.state)

        with at_most(process, home.journal.path.stat().st_size + 1000):
            many = {"target": "local://app/many", "from_file": "many.json"}
            _refused(pipes, "secrets_write", "JOURNAL_UNAVAILABLE", **many)

        assert _files(home.state) == before
        assert receipt_of(pipes, "secrets_read", ref="local://app/many")["state"] == "absent"
        done(pipes, "secrets_write", **many)
    assert len(home.opened()["app/many"]["1"]) == KEYS


def test_without_room_in_the_store_the_old_one_stays_whole(home: Household) -> None:
    with home.serve() as (pipes, process):
        done(pipes, "secrets_write", target=TARGET, from_file="old.json")
        store = home.store.read_bytes()
        plan = words(receipt_of(pipes, "secrets_write", target=TARGET, from_file="big.json"))

        with at_most(process, 30_000):
            _refused(pipes, "secrets_apply", "LIMIT_EXCEEDED", **plan)

        assert home.store.read_bytes() == store
        assert not list(home.store.parent.glob(".*.part"))
        assert home.records[-1].event.code == "LIMIT_EXCEEDED"
        done(pipes, "secrets_write", target=TARGET, from_file="big.json")
    assert [values["n"] for values in home.opened()["app/db"].values()] == [
        "canary-the-old-one",
        BIG,
    ]


def test_without_room_for_a_runtime_file_there_is_none(home: Household) -> None:
    with home.serve() as (pipes, process):
        done(pipes, "secrets_write", target=TARGET, from_file="big.json")
        deliver = {"target": "runtime://app.json", "copy_from": TARGET}
        plan = words(receipt_of(pipes, "secrets_write", **deliver))

        with at_most(process, 30_000):
            _refused(pipes, "secrets_apply", "SOURCE_INVALID", **plan)

        assert _files(home.root / "run") == set()
        failed = home.records[-1].event
        assert (failed.kind, failed.verb) == (Kind.FAILED, "deliver")
        path = Path(done(pipes, "secrets_write", **deliver)["path"])
        assert BIG in path.read_text()


# --- a real file system ---------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def _can_mount(folder: Path) -> bool:
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _fill(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            return filler
    raise AssertionError


FOLDERS = {
    "state": "JOURNAL_UNAVAILABLE",
    "data": "LIMIT_EXCEEDED",
    "run": "SOURCE_INVALID",
}


@pytest.mark.parametrize("folder", FOLDERS if _can_mount(Path("/mnt")) else [])
def test_a_full_disk_loses_nothing(home: Household, folder: str) -> None:
    with small_disk(home.root / folder), home.serve() as (pipes, process):
        done(pipes, "secrets_write", target=TARGET, from_file="old.json")
        deliver = {"target": "runtime://app.json", "copy_from": TARGET}
        change = deliver if folder == "run" else {"target": TARGET, "from_file": "new.json"}
        done(pipes, "secrets_write", target="runtime://first.json", copy_from=TARGET)
        filler, store = _fill(home.root / folder), home.store.read_bytes()
        before = _files(home.root / folder)

        answers = [_attempt(pipes, change) for _ in range(3)]

        assert FOLDERS[folder] in answers[-1], answers
        assert _files(home.root / folder) == before
        assert home.store.read_bytes() == store
        assert home.journal.verify().torn == 0
        filler.unlink()
        done(pipes, "secrets_write", **change)
        assert home.journal.verify().intact
        assert home.opened()["app/db"]["1"]["n"] == "canary-the-old-one"
        process.kill()
        process.wait()


def _attempt(pipes: Pipes, change: dict[str, str]) -> str:
    answer = pipes.call("secrets_write", **change)
    if not answer.get("isError"):
        answer = pipes.call("secrets_apply", **words(answer["structuredContent"]))
    return str(answer)
