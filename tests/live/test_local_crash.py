"""A writer killed at any system call leaves the old store or the new one; a full disk the old one.

strace kills the real process, or lets the call fail, as it enters the call (``--inject``), and
shows the order of calls. Only calls on the store's own files are touched.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mcp_server.core.journal import Kind
from tests.unit.backends.local_store import Local

pytestmark = pytest.mark.trace

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from pathlib import Path
from mcp_server.core.errors import SecretsError
from tests.unit.backends.local_store import Local
try:
    Local(Path(sys.argv[1])).put("db", {"n": b"new", "more": b"x" * 5000})
except SecretsError as error:
    print(error.code)
else:
    print("written")
"""
CALLS = ("openat", "flock", "write", "fsync", "rename", "link", "unlink", "close")
SEEN = {
    "fsync": {b"old", b"new"},
    "close": {b"old", b"new"},
    "openat": {b"old", b"new"},
    "link": set(),
}
"""What the kills at a call must have left behind; the old store alone where it is not here."""
KILLED = -9
MOST = 40


@dataclass(frozen=True, slots=True)
class Run:
    code: int
    said: str
    trace: str


def _write(folder: Path, *inject: str, paths: tuple[str, ...]) -> Run:
    log = folder / "trace"
    chosen = [argument for path in paths for argument in ("-P", str(folder / path))]
    child = subprocess.run(
        [
            "strace",
            *("-f", "-y", "-qq", "-o", str(log), "-e", "trace=file,desc,flock"),
            *chosen,
            *(argument for text in inject for argument in ("-e", f"inject={text}")),
            *(sys.executable, "-c", WRITER, str(folder)),
        ],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        executable=shutil.which("strace"),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert "strace:" not in child.stderr, child.stderr
    return Run(child.returncode, child.stdout.strip(), log.read_text())


STORE = ("data", "data/local.sops.json", "data/.local.sops.json.part", "data/.local.sops.json.lock")
KEY = ("config", "config/age-key.txt", "config/.age-key.txt.part", "config/.age-key.txt.lock")


def _kills(folder: Path, call: str, paths: tuple[str, ...]) -> Iterator[int]:
    """Kill a fresh writer at the first, second … such call, until one survives."""
    for number in range(1, MOST):
        run = _write(folder, f"{call}:signal=KILL:when={number}", paths=paths)
        if run.said == "written":
            return
        assert run.code in {KILLED, 128 + 9}, run
        yield number
    pytest.fail("the writer never came to its end")


@pytest.mark.parametrize("call", CALLS)
def test_a_kill_at_any_call_leaves_the_old_store_or_the_new_one(tmp_path: Path, call: str) -> None:
    local = Local(tmp_path)
    local.put("db", {"n": b"old"})
    old = local.path.read_bytes()
    found: list[bytes] = []

    for _ in _kills(tmp_path, call, STORE):
        values = Local(tmp_path).get("db")
        assert values in ({"n": b"old"}, {"n": b"new", "more": b"x" * 5000})
        found.append(values["n"])
        assert local.session.journal.verify().intact
        assert [r.event.kind for r in local.session.journal.records()][-3] is Kind.INTENT
        local.path.write_bytes(old)

    assert set(found) == SEEN.get(call, {b"old"})
    assert Local(tmp_path).get("db") == {"n": b"new", "more": b"x" * 5000}
    assert not list(local.path.parent.glob("*.part"))


@pytest.mark.parametrize("call", CALLS)
def test_a_kill_while_the_key_is_made_loses_no_secret(tmp_path: Path, call: str) -> None:
    """Whatever is there afterwards works, and the next writer finishes."""
    killed = 0

    for _ in _kills(tmp_path, call, (*KEY, *STORE)):
        killed += 1
        local = Local(tmp_path)
        if local.path.exists():
            assert local.get("db")["n"] == b"new"
        for folder in ("data", "config"):
            shutil.rmtree(tmp_path / folder, ignore_errors=True)

    assert killed
    local = Local(tmp_path)
    assert local.get("db")["n"] == b"new"
    assert not list(tmp_path.glob("*/.*.part"))


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("openat:error=ENOSPC:when=3", "LIMIT_EXCEEDED"),
        ("write:error=ENOSPC:when=1", "LIMIT_EXCEEDED"),
        ("write:error=EDQUOT:when=1", "LIMIT_EXCEEDED"),
        ("write:error=EIO:when=1", "STORE_ERROR"),
        ("fsync:error=EIO:when=1", "STORE_ERROR"),
        ("fsync:error=ENOSPC:when=1", "LIMIT_EXCEEDED"),
        ("rename:error=EACCES:when=1", "PERMISSION_DENIED"),
        ("rename:error=ENOSPC:when=1", "LIMIT_EXCEEDED"),
    ],
)
def test_a_fault_of_the_disk_leaves_the_old_store(tmp_path: Path, fault: str, code: str) -> None:
    local = Local(tmp_path)
    local.put("db", {"n": b"old"})
    before = local.path.read_bytes()

    run = _write(tmp_path, fault, paths=STORE)

    assert "(INJECTED)" in run.trace
    assert run.said == code
    assert local.path.read_bytes() == before
    assert not list(local.path.parent.glob("*.part"))
    last = list(local.session.journal.records())[-1].event
    assert (last.kind, last.code) == (Kind.FAILED, code)


def test_a_name_that_the_disk_did_not_confirm_is_an_unknown_outcome(tmp_path: Path) -> None:
    local = Local(tmp_path)
    local.put("db", {"n": b"old"})

    run = _write(tmp_path, "fsync:error=EIO:when=2", paths=STORE)

    assert run.said == "OUTCOME_UNKNOWN"
    assert local.get("db")["n"] == b"new"


def test_everything_is_durable_in_the_right_order(tmp_path: Path) -> None:
    """Intent, new file, its name, the folder, outcome: each on the disk before the next."""
    local = Local(tmp_path)
    local.put("db", {"n": b"old"})

    run = _write(tmp_path, paths=(*STORE, "state/journal.jsonl"))

    assert run.said == "written"
    steps = {
        "journal": r"fsync\(\d+<[^>]*journal\.jsonl>\)",
        "file": r"fsync\(\d+<[^>]*\.part>\)",
        "name": r"rename\(",
        "folder": r"fsync\(\d+<[^>]*/data>\)",
    }
    seen = [
        name
        for line in run.trace.splitlines()
        for name, pattern in steps.items()
        if re.search(pattern, line)
    ]
    assert seen == ["journal", "file", "name", "folder", "journal"]
