"""Files that are whole or absent."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mcp_server.clients import files
from mcp_server.core.errors import (
    ConfigError,
    LimitError,
    PermissionDeniedError,
    SecretsError,
    StoreTimeoutError,
)

ROOT = Path(__file__).parents[3]

HOLDER = """
import sys
from pathlib import Path
from mcp_server.clients import files
with files.locked(Path(sys.argv[1]), 5):
    print("held", flush=True)
    sys.stdin.readline()
"""


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_new_files_and_folders_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with files.locked(tmp_path / "a" / "b" / ".lock", 1):
            files.create(tmp_path / "a" / "b" / "new", b"1")
            files.replace(tmp_path / "a" / "b" / "other", b"2")
    finally:
        os.umask(before)

    assert _mode(tmp_path / "a") == _mode(tmp_path / "a" / "b") == 0o700
    assert {_mode(path) for path in (tmp_path / "a" / "b").iterdir()} == {0o600}


def test_replacing_leaves_the_new_file_alone_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o644)

    files.replace(path, b"new")

    assert path.read_bytes() == b"new"
    assert _mode(path) == 0o600
    assert _names(tmp_path) == ["file"]


def test_creating_does_not_touch_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "file"

    assert files.create(path, b"first")
    assert not files.create(path, b"second")
    assert path.read_bytes() == b"first"
    assert _names(tmp_path) == ["file"]


@pytest.mark.parametrize("write", [files.replace, files.create])
def test_what_a_killed_writer_left_is_not_followed(
    tmp_path: Path, write: Callable[[Path, bytes], object]
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (tmp_path / ".file.part").symlink_to(victim)

    write(tmp_path / "file", b"new")

    assert victim.read_bytes() == b"untouched"
    assert _names(tmp_path) == ["file", "victim"]


@pytest.mark.parametrize("write", [files.replace, files.create])
def test_a_full_disk_leaves_everything_as_it_was(
    tmp_path: Path, write: Callable[[Path, bytes], object]
) -> None:
    """The kernel writes a part and fails then."""
    path = tmp_path / "file"
    if write is files.replace:
        path.write_bytes(b"old")
    before = _names(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(LimitError, match="full") as refusal:
            write(path, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert "File too large" not in str(refusal.value)
    assert _names(tmp_path) == before
    assert not path.exists() or path.read_bytes() == b"old"


def test_an_absent_file_is_no_error(tmp_path: Path) -> None:
    assert files.open_regular(tmp_path / "absent") is None
    assert files.open_regular(tmp_path / "absent" / "too") is None


def _link(path: Path) -> None:
    path.with_name("target").write_bytes(b"canary")
    path.symlink_to(path.with_name("target"))


@pytest.mark.parametrize("make", [_link, os.mkfifo, Path.mkdir])
def test_what_is_no_regular_file_is_refused_at_once(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "odd")

    with pytest.raises(ConfigError):
        files.open_regular(tmp_path / "odd")


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/sys/kernel/secret", PermissionDeniedError),
        ("/dev/null/secret", ConfigError),
        (f"/tmp/{'x' * 300}", ConfigError),  # noqa: S108 - never created
    ],
)
def test_a_place_that_cannot_be_written_is_named_by_its_kind(
    path: str, error: type[SecretsError]
) -> None:
    with pytest.raises(error) as refusal, files.locked(Path(path), 1):
        pass
    assert path not in str(refusal.value)


def test_the_lock_is_one_at_a_time_and_free_when_its_holder_dies(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"

    with pytest.raises(StoreTimeoutError), files.locked(lock, 0.05):
        pass
    holder.kill()
    holder.communicate(timeout=30)
    with files.locked(lock, 0.05):
        pass


def test_the_lock_holds_between_threads_too(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"

    with (
        files.locked(lock, 1),
        pytest.raises(StoreTimeoutError),
        files.locked(lock, 0.05),
    ):
        pass


def test_a_link_as_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ConfigError), files.locked(tmp_path / ".lock", 1):
        pass
    assert not (tmp_path / "elsewhere").exists()
