"""``secrets run``: no value in its output, in any argument, in its own environment, in any file.

Every search here is shown to see: the same child without the filter leaks, the child's own
environment holds the value, a planted argument and a planted file are found.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.leaks.conftest import LOOKED_AT
from tests.leaks.corpus import STRONG, encodings, find
from tests.live.harness.command_line import PROJECT, Home, until

PYTHON = sys.executable
OPEN = 'policy: {rules: [{effect: allow, verbs: [run], match: "runtime://**"}]}\n'
# What StreamFilter leaves to Guard.check, as its docstring says.
NOT_COVERED = frozenset({"gzip and base64", "zlib and base64", "full width"})
# Of a value this long the guard knows samples only.
SAMPLED = frozenset({"64 KB"})
PRINTS_ITSELF = (
    f"import os, sys; sys.path.insert(0, {str(PROJECT)!r})\n"
    "from tests.leaks.test_run_leaks import covered\n"
    "value = sys.stdin.buffer.read() if sys.argv[1] == 'pipe' else os.environb[b'V']\n"
    "for form in covered(value).values():\n"
    "    data = b'first\\n' + form + b' \\nlast\\n'\n"
    "    os.write(1, data); os.write(2, data)\n"
)
BARE = (
    "import sys; from mcp_server.core.guard import StreamFilter\n"
    "StreamFilter.feed = lambda self, chunk: chunk\n"
    "StreamFilter.idle = StreamFilter.flush = lambda self: b''\n"
    "from mcp_server.cli import main; sys.exit(main(sys.argv[1:]))\n"
)
VALUE = STRONG["random 24"]


def covered(value: bytes) -> dict[str, bytes]:
    """The forms that the filter promises to find."""
    skipped = NOT_COVERED if value.isascii() else NOT_COVERED | {"upper case"}
    return {name: form for name, form in encodings(value).items() if name not in skipped}


@pytest.fixture
def command_home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.configure(OPEN)
    return home


def _keep(home: Home, value: bytes) -> None:
    file = home.project / "value"
    file.write_bytes(value)
    done = home.secrets("write", "local://app/v#v", "file:value")
    assert done.code == 0, done.stderr
    file.unlink()


def _arguments(value: bytes) -> list[str]:
    """A run of the child that prints its value in every form."""
    pipe = b"\0" in value or len(value) > 60_000
    bound = ["--pipe", "local://app/v#v"] if pipe else ["--env", "V=local://app/v#v"]
    return ["run", *bound, "--", PYTHON, "-c", PRINTS_ITSELF, "pipe" if pipe else "env"]


@pytest.mark.parametrize("name", sorted(STRONG.keys() - SAMPLED))
def test_no_form_of_a_value_passes_the_pipes(command_home: Home, name: str) -> None:
    _keep(command_home, STRONG[name])
    done = command_home.secrets(*_arguments(STRONG[name]), seconds=100)
    assert done.code == 0, done.stderr
    for output in (done.stdout, done.stderr):
        assert output.count(b"first\n") > 45
        assert find(output, STRONG[name]) == []
        LOOKED_AT["outputs of secrets run"] += 1


@pytest.mark.parametrize("name", ["random 24", "PEM", "punctuated", "Unicode"])
def test_no_form_of_a_value_passes_the_terminal(command_home: Home, name: str) -> None:
    _keep(command_home, STRONG[name])
    with command_home.seat(*_arguments(STRONG[name])) as seat:
        assert seat.end() == 0
    assert seat.seen.count(b"first\r\n") > 90
    assert find(seat.seen, STRONG[name]) == []
    LOOKED_AT["outputs of secrets run"] += 1


def test_without_the_filter_the_same_child_leaks(command_home: Home) -> None:
    _keep(command_home, VALUE)
    command = [PYTHON, "-c", BARE, *_arguments(VALUE)]
    done = subprocess.run(
        command,
        cwd=command_home.project,
        env=command_home.environment,
        capture_output=True,
        check=False,
    )
    assert len(find(done.stdout, VALUE)) > 40
    with command_home.seat_of(command) as seat:
        assert seat.end() == 0
    assert len(find(seat.seen, VALUE)) > 40


@contextmanager
def _waiting(home: Home, *, way: str) -> Iterator[tuple[int, int]]:
    """A run whose child waits: our process and the child."""
    note = home.root / "child"
    script = f"echo $$ > {note}; while :; do sleep 0.05; done"
    arguments = ("run", "--env", "V=local://app/v#v", "--", "/bin/sh", "-c", script)
    if way == "terminal":
        with home.seat(*arguments) as seat:
            until(lambda: note.exists() and note.read_text().endswith("\n"))
            yield seat.pid, int(note.read_text())
        return
    process = subprocess.Popen(
        home.command(*arguments), cwd=home.project, env=home.environment, stdin=subprocess.DEVNULL
    )
    try:
        until(lambda: note.exists() and note.read_text().endswith("\n"))
        yield process.pid, int(note.read_text())
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("way", ["pipes", "terminal"])
def test_arguments_and_our_environment_hold_nothing(command_home: Home, way: str) -> None:
    _keep(command_home, VALUE)
    with _waiting(command_home, way=way) as (ours, child):
        with subprocess.Popen(["/bin/sh", "-c", "read x", VALUE.decode()], stdin=-1) as planted:
            until(lambda: _command_lines().get(planted.pid))
            seen = _command_lines()
        assert find(seen.pop(planted.pid), VALUE), "a planted argument is seen"
        assert len(seen) > 3
        assert {pid for pid, line in seen.items() if find(line, VALUE)} == set()
        assert find(_environ(child), VALUE), "the child has it, where it was declared"
        assert find(_environ(ours), VALUE) == []
        LOOKED_AT["command lines during secrets run"] += len(seen)


def _command_lines() -> dict[int, bytes]:
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found[int(folder.name)] = (folder / "cmdline").read_bytes()
    return found


def _environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except PermissionError:  # not dumpable: nobody but root can look
        return b""


@pytest.mark.parametrize("way", ["pipes", "terminal"])
def test_no_file_holds_a_value_even_after_a_kill(command_home: Home, way: str) -> None:
    _keep(command_home, VALUE)
    with _waiting(command_home, way=way) as (ours, child):
        assert _leaking_files(command_home) == []
        os.kill(ours, 9)
        with suppress(ProcessLookupError):
            os.kill(child, 9)
    assert _leaking_files(command_home) == []
    (command_home.root / "state" / "planted").write_bytes(base64.b64encode(VALUE))
    assert _leaking_files(command_home) == ["planted"]


def _leaking_files(home: Home) -> list[str]:
    files = [path for path in home.root.rglob("*") if path.is_file()]
    assert len(files) > 4
    LOOKED_AT["files after secrets run"] += len(files)
    return [path.name for path in files if find(path.read_bytes(), VALUE)]


@pytest.mark.trace
@pytest.mark.parametrize("way", ["pipes", "terminal"])
def test_only_the_journal_and_the_plans_are_written(command_home: Home, way: str) -> None:
    home = command_home
    _keep(home, VALUE)
    strace, log = shutil.which("strace"), home.root / "trace"
    assert strace is not None, "strace is missing"
    traced = [strace, "-f", "-o", str(log), "-e", "trace=openat,open,creat,rename,renameat2,mkdir"]
    command = [*traced, *home.command("run", "--env", "V=local://app/v#v", "--", "/bin/true")]
    environment = {**home.environment, "PYTHONDONTWRITEBYTECODE": "1"}
    if way == "terminal":
        with home.seat_of(command, environment) as seat:
            assert seat.end() == 0
    else:
        done = subprocess.run(
            command, cwd=home.project, env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
    written = re.findall(r'"([^"]+)", O_(?:WRONLY|RDWR)\S* *(?:, \d+)?\) = \d+', log.read_text())
    state = str(home.root / "state")
    assert any(path.endswith("journal.jsonl") for path in written)
    devices = {"/dev/null", "/dev/tty", "/dev/ptmx"}
    others = [p for p in written if not p.startswith((state, "/dev/pts/")) and p not in devices]
    assert others == []
