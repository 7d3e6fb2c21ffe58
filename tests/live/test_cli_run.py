"""``secrets run`` without a terminal: who may, what the child gets, what comes back."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.harness.command_line import Home, until

VALUE = "canary-Hb4W-pX9k-2Rtz-m7Qs"
OTHER = "canary-Lc8N-vG3j-6Ydf-b5Tw"
PYTHON = sys.executable
# Policy allows every command: for the tests of what happens then.
OPEN = (
    'policy: {rules: [{effect: allow, verbs: [run], match: "runtime://**"}],'
    ' production: ["local://never"]}\n'
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.configure(OPEN)
    home.keep("app/db", password=VALUE, other=OTHER, weak="12345")
    return home


def _start(home: Home, *arguments: str, **options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        home.command("run", *arguments),
        cwd=home.project,
        env=home.environment,
        process_group=0,
        **options,  # type: ignore[call-overload]  # pipes of one test
    )


def _profile(**changes: object) -> str:
    profile = {
        "name": "show",
        "match": "local://app/*",
        "executable": shutil.which("env"),
        "arguments": [],
        "variables": ["PW"],
        "environment": {"PGHOST": "db.internal"},
        **changes,
    }
    return "run: " + json.dumps([profile]) + "\n"


# --- what the child gets --------------------------------------------------------------------


def test_the_child_has_the_value_and_its_output_has_not(home: Home) -> None:
    script = (
        f"import os; print(os.environ['PW'] == '{VALUE[:13]}' + '{VALUE[13:]}', os.environ['PW'])"
    )
    done = home.secrets("run", "--env", "PW=local://app/db#password", "--", PYTHON, "-c", script)
    assert (done.code, done.stdout) == (0, b"True [secret]\n"), done.stderr


def test_a_reference_without_a_key_means_the_key_named_like_the_variable(home: Home) -> None:
    done = home.secrets("run", "--env", "password=local://app/db", "--", "printenv", "password")
    assert done.stdout == b"[secret]\n"


def test_a_value_can_be_given_on_standard_input(home: Home) -> None:
    script = "import sys; text = sys.stdin.read(); print(len(text), text)"
    pipe = ("--pipe", "local://app/db#password")
    done = home.secrets("run", *pipe, "--", PYTHON, "-c", script)
    assert done.stdout == f"{len(VALUE)} [secret]\n".encode()
    unread = home.secrets("run", *pipe, "--", "true")
    assert unread.code == 0


def test_standard_input_is_passed_through(home: Home) -> None:
    done = home.secrets("run", "--", "cat", stdin=b"line\n" * 50_000)
    assert done.stdout == b"line\n" * 50_000


def test_logins_are_not_passed_on_unless_they_are_bound(home: Home) -> None:
    logins = {
        "VAULT_TOKEN": "invented",
        "AWS_SECRET_ACCESS_KEY": "invented",
        "ANTHROPIC_API_KEY": "invented",
        "CLAUDE_CODE_OAUTH_TOKEN": "invented",
        "SECRET_MANAGEMENT_PROJECT": str(home.project),
        "AWS_REGION": "eu-west-1",
        "CLAUDECODE": "1",
    }
    bound = ("--env", "AWS_SECRET_ACCESS_KEY=local://app/db#password")
    done = home.secrets("run", *bound, "--", "env", more=logins)
    names = {line.partition(b"=")[0].decode() for line in done.stdout.splitlines()}
    assert names & set(logins) == {"AWS_SECRET_ACCESS_KEY", "AWS_REGION", "CLAUDECODE"}
    assert b"AWS_SECRET_ACCESS_KEY=[secret]" in done.stdout


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "PYTHONSTARTUP", "BASH_ENV", "GIT_SSH"])
def test_no_secret_is_bound_to_what_a_program_loads(home: Home, name: str) -> None:
    done = home.secrets("run", "--env", f"{name}=local://app/db#password", "--", "true")
    assert done.code == 2
    assert done.stderr.startswith(b"INPUT_INVALID: ")


def test_what_directs_a_program_is_not_inherited_without_a_person(home: Home) -> None:
    done = home.secrets("run", "--", "env", more={"BASH_ENV": "x", "GIT_SSH": "x", "PLAIN": "x"})
    assert b"PLAIN=x" in done.stdout
    assert b"BASH_ENV" not in done.stdout
    assert b"GIT_SSH" not in done.stdout


def test_a_weak_value_is_named_because_it_cannot_be_masked(home: Home) -> None:
    done = home.secrets("run", "--env", "PIN=local://app/db#weak", "--", "true")
    assert done.stderr == b"secrets: PIN is too guessable to be masked in the output; rotate it\n"


def test_an_environment_refuses_what_does_not_fit_and_a_pipe_takes_it(home: Home) -> None:
    (home.project / "zero").write_bytes(b"canary\x00" + os.urandom(20))
    (home.project / "large").write_text(os.urandom(120_000).hex())
    for name, code in (("zero", b"INPUT_INVALID"), ("large", b"LIMIT_EXCEEDED")):
        assert home.secrets("write", f"local://app/{name}#v", f"file:{name}").code == 0
        done = home.secrets("run", "--env", f"V=local://app/{name}#v", "--", "true")
        assert done.stderr.startswith(code), done.stderr
        assert b"--pipe" in done.stderr
        assert home.secrets("run", "--pipe", f"local://app/{name}#v", "--", "cat").code == 0


def test_neither_child_nor_parent_leaves_a_core_file(home: Home) -> None:
    script = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"
    assert home.secrets("run", "--", PYTHON, "-c", script).stdout == b"(0, 0)\n"
    assert resource.getrlimit(resource.RLIMIT_CORE) != (0, 0), "else this shows nothing"


# --- who may --------------------------------------------------------------------------------


def test_without_a_person_it_is_planned_approved_by_one_and_run_once(home: Home) -> None:
    home.configure("")
    command = ("--env", "PW=local://app/db#password", "--", "sh", "-c", 'echo "$PW"; pwd')
    planned = home.secrets("run", *command)
    assert planned.code == 3
    plan = planned.receipt["plan"]
    assert '"-c", "echo \\"$PW\\"; pwd"]' in planned.receipt["change"]
    assert "PW = copy of local://app/db#password" in planned.receipt["change"]
    assert home.secrets("run", "--plan", plan).code == 3
    with home.seat("apply", plan) as seat:
        seat.expect(r"\[y/N\] ")
        seat.type("y\n")
        assert seat.end() == 0
    elsewhere = subprocess.run(
        home.command("run", "--plan", plan),
        cwd="/",
        env=home.environment,
        capture_output=True,
        check=False,
    )
    assert elsewhere.stdout == f"[secret]\n{home.project}\n".encode()
    again = home.secrets("run", "--plan", plan)
    assert again.code == 1
    assert again.stderr.startswith(b"PLAN_USED: ")


def _approved(home: Home, *arguments: str) -> str:
    plan = str(home.secrets("run", *arguments).receipt["plan"])
    with home.seat("apply", plan) as seat:
        seat.expect(r"\[y/N\] ")
        seat.type("y\n")
        assert seat.end() == 0
    return plan


def test_whoever_starts_an_approved_command_does_not_direct_it(home: Home) -> None:
    """Else a plan that a person approved is started with another interpreter or server."""
    home.configure("")
    tool = home.project / "tool"
    tool.write_text("#!/usr/bin/env sh\necho honest; env\n")
    tool.chmod(0o755)
    evil = home.root / "evil"
    evil.mkdir()
    (evil / "sh").write_text("#!/bin/sh\necho stolen\n")
    (evil / "sh").chmod(0o755)
    more = {"PATH": f"{evil}:{os.environ['PATH']}", "HOME": str(evil), "PGHOST": "evil.example"}
    control = subprocess.run([tool], env=more, capture_output=True, check=False)
    assert control.stdout == b"stolen\n", "else this shows nothing"
    plan = _approved(home, "--env", "PW=local://app/db#password", "--", "./tool")
    done = home.secrets("run", "--plan", plan, more=more)
    assert done.stdout.startswith(b"honest\n"), done.stderr
    assert b"evil" not in done.stdout


def test_an_env_file_is_part_of_the_plan_that_a_person_approves(home: Home) -> None:
    home.configure("")
    (home.project / ".env").write_text("PW=local://app/db#password\nPGHOST=db.example\n")
    (home.project / "other.env").write_text("PGHOST=evil.example\n")
    file = ("--env-file", ".env")
    planned = home.secrets("run", *file, "--", "env").receipt
    assert f"it gets the settings PGHOST from {home.project}/.env" in planned["affects"]
    plan = _approved(home, *file, "--", "env")
    other = home.secrets("run", "--plan", plan, "--env-file", "other.env")
    assert (other.code, other.stdout) == (2, b"")
    assert b"PGHOST=db.example\n" in home.secrets("run", "--plan", plan, *file).stdout
    plan = _approved(home, *file, "--", "env")
    (home.project / ".env").write_text("PW=local://app/db#password\nPGHOST=evil.example\n")
    changed = home.secrets("run", "--plan", plan, *file)
    assert changed.stderr.startswith(b"PLAN_STALE: ")
    assert changed.stdout == b""


def test_a_mark_written_without_the_key_approves_nothing(home: Home) -> None:
    home.configure("")
    plan = home.secrets("run", "--", "true").receipt["plan"]
    folder = home.root / "state" / "secret-management" / "plans"
    (folder / f"{plan}.approved").write_bytes(b"0" * 32)
    assert home.secrets("run", "--plan", plan).code == 3


def test_a_program_that_changed_since_its_approval_is_not_started(home: Home) -> None:
    home.configure("")
    tool = home.project / "tool"
    tool.write_text("#!/bin/sh\necho one\n")
    tool.chmod(0o755)
    plan = home.secrets("run", "--", "./tool").receipt["plan"]
    with home.seat("apply", plan) as seat:
        seat.expect(r"\[y/N\] ")
        seat.type("y\n")
        assert seat.end() == 0
    tool.write_text("#!/bin/sh\necho two\n")
    done = home.secrets("run", "--plan", plan)
    assert done.code == 1
    assert done.stderr.startswith(b"PLAN_STALE: ")
    assert done.stdout == b""


def test_a_profile_allows_exactly_its_command_and_directs_it(home: Home) -> None:
    home.configure(_profile())
    bound = ("--env", "PW=local://app/db#password")
    hostile = {"PGHOST": "evil.example", "LD_LIBRARY_PATH": "/x", "PLAIN": "x", "HOME": "/x"}
    done = home.secrets("run", *bound, "--", "env", more=hostile)
    assert done.code == 0
    lines = done.stdout.decode().splitlines()
    assert "PW=[secret]" in lines
    assert "PGHOST=db.internal" in lines
    assert not [line for line in lines if line.startswith(("PLAIN", "LD_", "HOME=/x", "PYTHON"))]
    entries = map(json.loads, home.secrets("journal", "-n", "100").stdout.splitlines())
    assert "profile:show" in {entry.get("channel") for entry in entries}


@pytest.mark.parametrize(
    ("changes", "arguments"),
    [
        ({"arguments": ["-0"]}, ("--env", "PW=local://app/db#password", "--", "env")),
        ({}, ("--env", "PW=local://app/db#password", "--", "env", "-0")),
        ({}, ("--env", "PW=local://app/db#password", "--", "printenv")),
        ({}, ("--env", "PGHOST=local://app/db#other", "--", "env")),
        ({"match": "local://ops/*"}, ("--env", "PW=local://app/db#password", "--", "env")),
    ],
)
def test_a_profile_allows_nothing_else(
    home: Home, changes: dict[str, object], arguments: tuple[str, ...]
) -> None:
    home.configure(_profile(**changes))
    done = home.secrets("run", *arguments)
    assert done.code == 3
    assert done.receipt["state"] == "planned"


def test_a_profile_does_not_reach_what_is_critical(home: Home) -> None:
    home.configure(_profile() + 'policy: {critical: ["local://app/*"]}\n')
    done = home.secrets("run", "--env", "PW=local://app/db#password", "--", "env")
    assert done.code == 3
    assert done.stderr.startswith(b"APPROVAL_NEEDED: ")


# --- an env file of references --------------------------------------------------------------


def test_an_env_file_of_references_replaces_a_plaintext_one(home: Home) -> None:
    (home.project / ".env").write_text(
        "# database\nexport PW=local://app/db#password\nPORT=3000\nURL='https://a.example/x'\n"
    )
    done = home.secrets("run", "--env-file", ".env", "--", "env")
    assert {b"PW=[secret]", b"PORT=3000", b"URL=https://a.example/x"} <= set(
        done.stdout.splitlines()
    )
    assert done.stderr == b""


def test_plaintext_secrets_in_an_env_file_are_named_by_line_and_masked(home: Home) -> None:
    (home.project / ".env").write_text(
        f"PORT=3000\nAPI_TOKEN={OTHER}x\nA=postgres://u:{OTHER}y@h/d\n"
    )
    done = home.secrets("run", "--env-file", ".env", "--", "env")
    assert done.stderr.count(b"looks like a secret in plain text") == 2
    assert b".env: line 2 " in done.stderr
    assert OTHER.encode() not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "NODE_OPTIONS", "npm_config_registry"])
def test_an_env_file_cannot_direct_programs(home: Home, name: str) -> None:
    (home.project / ".env").write_text(f"{name}=./evil\n")
    done = home.secrets("run", "--env-file", ".env", "--", "true")
    assert done.code == 2
    assert done.stderr.startswith(b"INPUT_INVALID: Line 1: ")


def test_an_env_file_is_a_file_of_the_project(home: Home) -> None:
    (home.root / "outside").write_text("A=b\n")
    (home.project / ".env").symlink_to(home.root / "outside")
    done = home.secrets("run", "--env-file", ".env", "--", "true")
    assert done.code == 2
    assert done.stderr.startswith(b"SOURCE_INVALID: ")


# --- status and signals ---------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 3, 42, 255])
def test_the_exit_code_is_the_childs(home: Home, code: int) -> None:
    assert home.secrets("run", "--", "sh", "-c", f"exit {code}").code == code


@pytest.mark.parametrize("name", ["TERM", "KILL", "SEGV", "INT"])
def test_the_end_by_a_signal_is_128_and_its_number(home: Home, name: str) -> None:
    done = home.secrets("run", "--", "sh", "-c", f"kill -{name} $$")
    assert done.code == 128 + signal.Signals[f"SIG{name}"]


def test_what_cannot_be_found_or_started_says_so(home: Home) -> None:
    (home.project / "tool").write_text("#!/no/such/interpreter\n")
    (home.project / "tool").chmod(0o755)
    (home.project / "data").write_bytes(b"\x7fELF broken")
    (home.project / "data").chmod(0o755)
    assert home.secrets("run", "--", "no-such-program").code == 2
    assert home.secrets("run", "--", "./tool").code == 127
    assert home.secrets("run", "--", "./data").code == 126


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT", "USR1"])
def test_a_signal_reaches_the_child_and_its_answer_comes_back(home: Home, name: str) -> None:
    script = f"trap 'echo got; exit 7' {name}; echo ready; while :; do sleep 0.05; done"
    with _start(home, "--", "sh", "-c", script, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.Signals[f"SIG{name}"])
        assert process.stdout.read() == b"got\n"
    assert process.returncode == 7


def test_a_signal_passes_while_the_reader_of_the_output_is_stalled(home: Home) -> None:
    script = "trap 'exit 7' TERM; while :; do echo filling the pipe to its brim; done"
    with _start(home, "--", "sh", "-c", script, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        while process.stdout.read(65536):
            pass
    assert process.returncode == 7


def test_stopping_and_continuing_reaches_the_child(home: Home) -> None:
    script = "import time\nwhile True: print('beat', flush=True); time.sleep(0.02)"
    arguments = ("--", PYTHON, "-c", script)
    with _start(home, *arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        child = _child_of(process.pid)
        process.send_signal(signal.SIGTSTP)
        until(lambda: _state(process.pid) == _state(child) == "T")
        process.send_signal(signal.SIGCONT)
        until(lambda: _state(process.pid) != "T" and _state(child) != "T")
        process.terminate()
        process.stdout.read()
    assert process.returncode == 128 + signal.SIGTERM


def _child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


# --- output ---------------------------------------------------------------------------------


def test_output_and_errors_go_where_the_childs_went_and_keep_their_order(home: Home) -> None:
    script = "i=0; while [ $i -lt 300 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done"
    apart = home.secrets("run", "--", "sh", "-c", script)
    assert apart.stdout == b"".join(b"out %d\n" % i for i in range(300))
    assert apart.stderr == b"".join(b"err %d\n" % i for i in range(300))
    together = subprocess.run(
        home.command("run", "--", "sh", "-c", script),
        cwd=home.project,
        env=home.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    )
    assert together.stdout == b"".join(b"out %d\nerr %d\n" % (i, i) for i in range(300))


def test_a_prompt_without_a_line_end_is_shown_while_the_child_waits(home: Home) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    script = "printf 'name? '; read name; echo hello $name"
    with _start(home, "--", "sh", "-c", script, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.read(6) == b"name? "
        process.stdin.write(b"you\n")
        process.stdin.close()
        assert process.stdout.read() == b"hello you\n"


def test_a_large_output_streams_through_in_bounded_memory(home: Home) -> None:
    line = b"the quick brown fox 0123456789 jumps over the lazy dog\n"
    count = 50_000_000 // len(line)
    script = (
        f"import os\nblock = {line!r} * 1000\nfor _ in range({count // 1000}): os.write(1, block)"
    )
    bound = ("--env", "PW=local://app/db#password")
    with _start(home, *bound, "--", PYTHON, "-c", script, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.read(len(line) * 1000)
        peak = _peak(process.pid)
        rest = 0
        while chunk := process.stdout.read(1 << 20):
            rest += len(chunk)
            peak = _peak(process.pid) or peak
    assert first == line * 1000
    assert len(first) + rest == len(line) * (count // 1000) * 1000
    assert process.returncode == 0
    assert 0 < peak < 150_000, "kilobytes"


def _peak(pid: int) -> int:
    """Most memory it ever had, in KiB; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def test_a_reader_that_leaves_ends_the_child_as_without_us(home: Home) -> None:
    with _start(home, "--", "yes", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(4) == b"y\ny\n"
        process.stdout.close()
        assert process.wait(30) == 128 + signal.SIGPIPE


def test_what_a_child_leaves_behind_can_be_ended(home: Home) -> None:
    script = "sleep 600 & echo $!"
    with _start(home, "--", "sh", "-c", script, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        left = int(process.stdout.readline())
        process.terminate()
        assert process.wait(30) == 0
    os.kill(left, signal.SIGKILL)
