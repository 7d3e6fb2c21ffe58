"""``local://``: what is created when, who can open it, and what several writers do."""

from __future__ import annotations

import fcntl
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mcp_server.backends.local import _file
from mcp_server.backends.local._contents import (
    Contents,
    read_contents,
    write_contents,
    write_value,
)
from mcp_server.core.errors import (
    AuthenticationError,
    ConfigError,
    ConflictError,
    LimitError,
    NotFoundError,
    SecretsError,
    StoreTimeoutError,
)
from mcp_server.core.model import Metadata, RemovalMode, State
from mcp_server.core.refs import Ref
from mcp_server.formats import sops
from mcp_server.formats.sops import age
from tests.contract.spills import forms
from tests.unit.backends.local_store import ACT, Local

ROOT = Path(__file__).parents[3]
VALUE = b"canary-local-0a1b2c3d-\xc3\xbc"


@pytest.fixture
def local(tmp_path: Path) -> Local:
    return Local(tmp_path)


def _everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# --- options -----------------------------------------------------------------------------------

WRONG: dict[str, dict[str, object]] = {
    "unknown": {"paht": "/x"},
    "relative": {"path": "x/y.json"},
    "no text": {"path": 7},
    "NUL": {"path": "/x\0y"},
    "root": {"path": "/"},
    "relative key": {"key_file": "age-key.txt"},
    "keyring as text": {"keyring": "false"},
    "no recipient": {"recovery_recipient": "ssh-ed25519 AAAA"},
    "secret key as recipient": {"recovery_recipient": "AGE-SECRET-KEY-1CANARY"},
    "list of recipients": {"recovery_recipient": ["age1"]},
    "no versions": {"versions": 0},
    "too many versions": {"versions": 101},
    "versions as switch": {"versions": True},
}


@pytest.mark.parametrize("options", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_option_is_refused(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as refusal:
        Local(tmp_path, options)
    assert "CANARY" not in str(refusal.value)


def test_a_recipient_that_only_looks_like_one_is_refused_at_the_first_write(tmp_path: Path) -> None:
    local = Local(tmp_path, {"recovery_recipient": f"age1{'q' * 58}"})

    with pytest.raises(ConfigError):
        local.put("db", {"k": b"v"})
    assert not local.path.exists()


def test_by_default_all_is_in_the_users_own_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    local = Local(tmp_path, {"path": None, "key_file": None})
    local.put("db", {"k": b"v"})

    assert (tmp_path / "data" / "secret-management" / "local.sops.json").exists()
    assert (tmp_path / "config" / "secret-management" / "age-key.txt").exists()


# --- what is created when ----------------------------------------------------------------------


def test_nothing_is_created_before_the_first_write(local: Local, tmp_path: Path) -> None:
    assert local.describe("db").state is State.ABSENT
    assert local.names() == []
    assert local.store.identity().warnings == ()
    for refused in (lambda: local.get("db"), lambda: local.declare("db", "me")):
        with pytest.raises(NotFoundError):
            refused()
    with pytest.raises(NotFoundError):
        local.remove("db", RemovalMode.ERASE)

    made = {path for path in _everything(tmp_path) if not path.endswith(".lock")}
    assert made == {"state/journal.jsonl"}


def test_all_that_is_created_is_private(local: Local, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        local.put("db", {"k": b"v"})
    finally:
        os.umask(before)

    for path in (local.path, local.key):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert _everything(tmp_path) == {
        "data/local.sops.json",
        "data/.local.sops.json.lock",
        "config/age-key.txt",
        "config/.age-key.txt.lock",
        "state/journal.jsonl",
    }


def test_the_key_file_is_what_age_keygen_writes(local: Local) -> None:
    local.put("db", {"k": b"v"})

    created, public, secret = local.key.read_text().splitlines()
    assert re.fullmatch(r"# created: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", created)
    assert public == f"# public key: {age.public_key(secret.encode())}"
    assert [entry["recipient"] for entry in local.file["sops"]["age"]] == [public[14:]]


def test_the_file_shows_names_and_no_value(local: Local) -> None:
    names = ("values", "a:1:b", "x_unencrypted", "secrets", "my secrets", "sops", "index", "app/db")
    for name in names:
        local.put(name, dict.fromkeys((*names, "SOPS", "k_encrypted", ""), VALUE))
    file = local.path.read_bytes()

    assert [form for form in forms(VALUE) if form in file] == []
    assert [entry["name"] for entry in local.file["index"]] == sorted(names)
    for name in names:
        assert all(value.startswith("ENC[") for value in local.file["secrets"][name]["1"].values())

    local.declare("values", VALUE.decode())  # a value in clear is what the search would find
    assert [form for form in forms(VALUE) if form in local.path.read_bytes()] != []


def test_an_empty_value_does_not_look_empty(local: Local) -> None:
    local.put("db", {"empty": b""})

    assert re.match(r"ENC\[", local.file["secrets"]["db"]["1"]["empty"]["empty"])
    assert local.get("db") == {"empty": b""}


# --- who can open it ---------------------------------------------------------------------------


def _lose(local: Local) -> None:
    local.key.unlink()


def _exchange(local: Local) -> None:
    local.key.write_bytes(age.new_identity() + b"\n")


@pytest.mark.parametrize("change", [_lose, _exchange])
def test_without_its_key_the_store_stays_as_it_is(
    local: Local, tmp_path: Path, change: Callable[[Local], None]
) -> None:
    local.put("db", {"k": VALUE})
    before = local.path.read_bytes()
    change(local)
    key = local.key.read_bytes() if local.key.exists() else None
    other = Local(tmp_path)

    for use in (lambda: other.get("db"), lambda: other.put("db", {"k": b"new"})):
        with pytest.raises(AuthenticationError) as refusal:
            use()
        assert "age-key.txt" in refusal.value.next_step
    assert other.describe("db").keys == ("k",)
    assert local.path.read_bytes() == before
    assert (local.key.read_bytes() if local.key.exists() else None) == key


@pytest.mark.parametrize("content", [b"", b"# only a comment\n", b"canary-no-key\n", b"\xff\xfe"])
def test_a_key_file_without_a_key_is_refused(local: Local, tmp_path: Path, content: bytes) -> None:
    local.put("db", {"k": VALUE})
    local.key.write_bytes(content)

    with pytest.raises(ConfigError) as refusal:
        Local(tmp_path).get("db")
    assert "canary" not in str(refusal.value)


def test_any_identity_of_the_key_file_opens_it(local: Local, tmp_path: Path) -> None:
    local.put("db", {"k": VALUE})
    local.key.write_bytes(age.new_identity() + b"\n" + local.key.read_bytes())

    other = Local(tmp_path)
    assert other.get("db") == {"k": VALUE}
    other.put("db", {"k": b"new"})
    assert other.get("db") == {"k": b"new"}


def test_the_recovery_recipient_opens_it_alone(local: Local, tmp_path: Path) -> None:
    recovery = age.new_identity()
    options = {"recovery_recipient": age.public_key(recovery)}
    with_recovery = Local(tmp_path, options)
    with_recovery.put("db", {"k": VALUE})
    assert with_recovery.store.identity().warnings == ()
    local.key.write_bytes(recovery)

    assert Local(tmp_path, options).get("db") == {"k": VALUE}


def test_a_recovery_recipient_named_later_is_added_with_the_next_write(
    local: Local, tmp_path: Path
) -> None:
    local.put("db", {"k": VALUE})
    (warning,) = local.store.identity().warnings
    assert "recovery" in warning
    recovery = age.new_identity()
    later = Local(tmp_path, {"recovery_recipient": age.public_key(recovery)})

    later.put("other", {"k": b"v"})

    local.key.write_bytes(recovery)
    assert Local(tmp_path).get("db") == {"k": VALUE}


def test_nothing_is_written_for_a_recipient_that_nobody_named(local: Local, tmp_path: Path) -> None:
    stranger = age.public_key(age.new_identity())
    Local(tmp_path, {"recovery_recipient": stranger}).put("db", {"k": VALUE})
    before = local.path.read_bytes()

    with pytest.raises(ConfigError, match="recipient"):
        local.put("db", {"k": b"new"})

    assert local.path.read_bytes() == before
    assert local.get("db") == {"k": VALUE}


# --- versions ----------------------------------------------------------------------------------


def test_the_newest_versions_are_kept(tmp_path: Path) -> None:
    local = Local(tmp_path, {"versions": 3})
    for number in range(1, 6):
        local.put("db", {"n": str(number).encode()})

    versions = [version.version for version in local.describe("db").versions]
    assert versions == ["5", "4", "3"]
    assert local.get("db", version="3") == {"n": b"3"}
    with pytest.raises(NotFoundError):
        local.get("db", version="2")
    assert set(local.file["secrets"]["db"]) == {"3", "4", "5"}


def test_destroying_takes_the_values_out_of_the_file(local: Local) -> None:
    local.put("db", {"n": VALUE})
    local.put("db", {"n": b"2"})
    local.remove("db", RemovalMode.DESTROY, "1")

    assert set(local.file["secrets"]["db"]) == {"2"}


def test_a_secret_made_anew_is_not_taken_for_the_old_one(local: Local) -> None:
    seen = local.put("db", {"n": b"1"})
    local.remove("db", RemovalMode.ERASE)
    again = local.put("db", {"n": b"1"})

    assert again.version == seen.version
    with pytest.raises(ConflictError):
        local.put("db", {"n": b"2"}, expected=seen.revision)


@pytest.mark.parametrize("mode", [RemovalMode.DELETE, RemovalMode.DESTROY])
def test_a_removal_counts_as_a_change(local: Local, mode: RemovalMode) -> None:
    seen = local.put("db", {"n": b"1"})
    local.remove("db", mode)

    with pytest.raises(ConflictError):
        local.put("db", {"n": b"2"}, expected=seen.revision)


def test_declared_metadata_counts_as_a_change(local: Local) -> None:
    seen = local.put("db", {"n": b"1"})
    local.declare("db", "me")

    with pytest.raises(ConflictError):
        local.put("db", {"n": b"2"}, expected=seen.revision)


def test_times_are_those_of_the_session(tmp_path: Path) -> None:
    times = iter(datetime(2026, 1, day, 12, tzinfo=UTC) for day in range(1, 9))
    local = Local(tmp_path, clock=lambda: next(times))
    for _ in range(3):
        written = local.put("db", {"n": b"1"})

    description = local.describe("db")
    assert description.created == datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert description.updated == written.time == datetime(2026, 1, 3, 12, tzinfo=UTC)
    assert [v.created.day for v in description.versions if v.created] == [3, 2, 1]


# --- several writers ---------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, ".")
from mcp_server.core.errors import ConflictError
from tests.unit.backends.local_store import Local
local, name, count = Local(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    local.put(name, {"n": str(number).encode()})
    while True:
        seen = local.describe("counter")
        n = int(local.get("counter")["n"]) if seen.keys else 0
        try:
            local.put("counter", {"n": str(n + 1).encode()}, expected=seen.revision)
            break
        except ConflictError:
            pass
"""


def _start(code: str, *arguments: object) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def test_several_processes_at_once_lose_nothing(local: Local) -> None:
    """Not even the key, which all of them want to make."""
    children = [_start(WRITER, local.path.parent.parent, f"own-{n}", 6) for n in range(3)]
    for child in children:
        child.communicate("go\n", timeout=100)

    assert [child.returncode for child in children] == [0, 0, 0]
    assert local.get("counter") == {"n": b"18"}
    for number in range(3):
        assert local.get(f"own-{number}") == {"n": b"5"}
        assert local.describe(f"own-{number}").version == "6"


def test_a_writer_that_knows_no_lock_is_noticed(local: Local, tmp_path: Path) -> None:
    local.put("db", {"n": b"1"})
    foreign = json.dumps(local.file, indent=2).encode()

    def clock() -> datetime:  # asked between reading and writing
        local.path.write_bytes(foreign)
        return datetime.now(UTC)

    with pytest.raises(ConflictError):
        Local(tmp_path, clock=clock).put("db", {"n": b"2"})
    assert local.path.read_bytes() == foreign
    assert local.get("db") == {"n": b"1"}


def test_a_file_that_appears_in_the_meantime_is_not_replaced(tmp_path: Path) -> None:
    other = Local(tmp_path / "other")
    other.put("theirs", {"n": b"1"})

    path = tmp_path / "data" / "local.sops.json"

    def clock() -> datetime:
        path.write_bytes(other.path.read_bytes())
        return datetime.now(UTC)

    local = Local(tmp_path, clock=clock)
    with pytest.raises(ConflictError):
        local.put("ours", {"n": b"2"})
    assert local.path.read_bytes() == other.path.read_bytes()


def test_while_somebody_writes_others_read_and_no_writer_waits_for_ever(
    local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.put("db", {"n": b"1"})
    monkeypatch.setattr(_file, "_LOCK_SECONDS", 0.05)
    with (local.path.parent / ".local.sops.json.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(StoreTimeoutError):
            local.put("db", {"n": b"2"})
        assert local.describe("db").version == "1"
        assert local.get("db") == {"n": b"1"}
    local.put("db", {"n": b"2"})


def test_a_full_disk_leaves_the_old_store(local: Local) -> None:
    local.put("db", {"n": b"1"})
    before = local.path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 1000, hard))
    try:
        with pytest.raises(LimitError, match="full"):
            local.put("db", {"n": b"x" * 5000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert local.path.read_bytes() == before
    assert local.get("db") == {"n": b"1"}
    assert not list(local.path.parent.glob("*.part"))
    local.put("db", {"n": b"2"})


def test_more_than_a_document_holds_is_refused_and_nothing_is_lost(local: Local) -> None:
    for number in range(11):
        local.put(f"large-{number}", {"v": b"x" * 1_048_576})
    before = local.path.read_bytes()

    with pytest.raises(LimitError, match="store is full"):
        local.put("large-12", {"v": b"x" * 1_048_576})
    assert local.path.read_bytes() == before
    assert len(local.names()) == 11


# --- odd places --------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_refused_at_once(local: Local, make: Callable[[Path], None]) -> None:
    local.path.parent.mkdir()
    make(local.path)

    for use in (lambda: local.describe("db"), lambda: local.put("db", {"n": b"1"})):
        with pytest.raises(ConfigError):
            use()


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    behind = Local(tmp_path / "behind")
    behind.put("db", {"n": b"1"})
    link = tmp_path / "link.json"
    link.symlink_to(behind.path)

    local = Local(tmp_path, {"path": str(link), "key_file": str(behind.key)})
    local.put("db", {"n": b"2"})

    assert link.is_symlink()
    assert behind.get("db") == {"n": b"2"}


@pytest.mark.parametrize("path", ["/sys/kernel/s.json", "/dev/null/s.json"])
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, path: str) -> None:
    local = Local(tmp_path, {"path": path})

    with pytest.raises(SecretsError) as refusal:
        local.put("db", {"n": b"1"})
    assert refusal.value.code in {"PERMISSION_DENIED", "CONFIG_INVALID"}
    assert not local.key.exists()


# --- many names --------------------------------------------------------------------------------


def test_ten_thousand_names_can_be_used(local: Local) -> None:
    local.put("first", {"n": b"1"})
    _fill(local, 10_000)

    pages, cursor = 0, None
    listed: list[str] = []
    while pages == 0 or cursor is not None:
        page = local.store.list_names(
            Ref("local", "many"), ACT, cursor=cursor, limit=1_000, details=True
        )
        listed += [entry.name for entry in page.entries if entry.description]
        pages, cursor = pages + 1, page.cursor

    assert pages == 10
    assert listed == [f"s{number:05}" for number in range(10_000)]
    assert local.names() == ["first", "many"]
    assert local.get("many/s09999") == {"n": b"9999"}
    local.put("many/s00000", {"n": b"changed"})
    assert local.get("many/s00000") == {"n": b"changed"}
    assert local.get("first") == {"n": b"1"}


def _fill(local: Local, count: int) -> None:
    """Write many secrets at once, as many writes would."""
    loaded = local.store._load()
    assert loaded is not None
    decrypted = local.store._decrypt(loaded)
    contents = read_contents(decrypted.tree)
    records, secrets = dict(contents.records), dict(contents.secrets)
    for number in range(count):
        name = f"many/s{number:05}"
        records[name] = replace(records["first"], name=name)
        secrets[name] = {"1": {"n": write_value(str(number).encode())}}
    tree = write_contents(Contents(records, secrets))
    local.path.write_bytes(sops.update(decrypted, tree, now=datetime.now(UTC)))


# --- reading again -----------------------------------------------------------------------------


def test_an_unchanged_file_is_read_once_and_a_changed_one_again(
    local: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Local(tmp_path)
    other.put("db", {"n": b"1"})
    reads: list[int] = []
    read = local.store._file.read

    def spied() -> tuple[_file.Stamp, bytes] | None:
        reads.append(1)
        return read()

    monkeypatch.setattr(local.store._file, "read", spied)

    for _ in range(5):
        local.describe("db")
        local.names()
        local.get("db")
    assert len(reads) == 1

    other.put("db", {"n": b"2"})
    assert local.get("db") == {"n": b"2"}
    assert len(reads) == 2


def test_a_file_of_the_same_size_time_and_inode_is_still_another(tmp_path: Path) -> None:
    local = Local(tmp_path, {"versions": 1})
    local.put("db", {"n": b"0"}, metadata=Metadata("me"))
    for number in range(8):  # versions of one digit
        local.put("db", {"n": str(number).encode()})
    first = local.path.read_bytes()
    local.remove("db", RemovalMode.RESTORE)
    second = local.path.read_bytes()
    assert len(first) == len(second)
    local.path.write_bytes(first)
    seen = local.describe("db").revision
    info = local.path.stat()

    local.path.write_bytes(second)
    os.utime(local.path, ns=(info.st_atime_ns, info.st_mtime_ns))

    assert local.path.stat().st_ino == info.st_ino
    assert local.path.stat().st_mtime_ns == info.st_mtime_ns
    assert local.describe("db").revision != seen


def test_after_closing_everything_is_read_anew(local: Local) -> None:
    local.put("db", {"n": b"1"})
    local.store.close()

    assert local.get("db") == {"n": b"1"}
