"""``secrets run`` at a terminal: the child has one too, keys and sizes pass, and it is put back."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest

from tests.live.harness.command_line import Home, Seat, until

VALUE = "canary-Zr5M-kD8w-3Hqx-n6Jp"
PYTHON = sys.executable
BOUND = ("--env", "PW=local://app/db#password")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.keep("app/db", password=VALUE)
    return home


def _shell(home: Home, script: str, *bound: str) -> Seat:
    return home.seat("run", *bound, "--", "/bin/sh", "-c", script)


def test_the_child_sees_a_terminal_and_its_output_is_masked(home: Home) -> None:
    script = 'for d in 0 1 2; do [ -t $d ] && echo "tty $d"; done; tty; echo "<$PW>"; exit 5'
    with _shell(home, script, *BOUND) as seat:
        assert seat.end() == 5
    assert re.match(rb"tty 0\r\ntty 1\r\ntty 2\r\n/dev/pts/\d+\r\n<\[secret\]>\r\n$", seat.seen)


def test_a_value_typed_through_the_terminals_echo_is_masked_too(home: Home) -> None:
    with _shell(home, 'read line; test "$line" = "$PW" && echo same', *BOUND) as seat:
        until(lambda: seat.modes()[3] & 0o10 == 0)  # ECHO: raw from here on
        seat.type(f"{VALUE}\n")
        assert seat.end() == 0
    assert b"same" in seat.seen
    assert VALUE.encode() not in seat.seen


def test_a_prompt_appears_and_keys_arrive(home: Home) -> None:
    with _shell(home, 'printf "name? "; read name; echo "hello $name"') as seat:
        seat.expect(r"name\? $")
        seat.type("you\n")
        seat.expect("hello you\r\n")
        assert seat.end() == 0


@pytest.mark.parametrize(("key", "number"), [("\x03", signal.SIGINT), ("\x1c", signal.SIGQUIT)])
def test_interrupt_and_quit_keys_reach_the_child_alone(home: Home, key: str, number: int) -> None:
    with _shell(home, "echo ready; while :; do sleep 0.05; done") as seat:
        seat.expect("ready")
        seat.type(key)
        assert seat.end() == 128 + number
    with _shell(home, f"trap 'echo got; exit 9' {number}; echo ready; cat") as seat:
        seat.expect("ready")
        seat.type(key)
        seat.expect("got")
        assert seat.end() == 9


@pytest.mark.parametrize("name", ["TERM", "HUP", "USR2", "INT"])
def test_a_signal_to_us_reaches_the_child(home: Home, name: str) -> None:
    with _shell(
        home, f"trap 'echo got; exit 9' {name}; echo ready; while :; do sleep 0.05; done"
    ) as seat:
        seat.expect("ready")
        seat.signal(signal.Signals[f"SIG{name}"])
        seat.expect("got")
        assert seat.end() == 9


def test_the_childs_terminal_has_the_size_of_ours_and_follows_it(home: Home) -> None:
    script = "trap 'stty size; exit' WINCH; stty size; while :; do sleep 0.05; done"
    with _shell(home, script) as seat:
        seat.expect("24 100\r\n")
        seat.resize(33, 77)
        seat.expect("33 77\r\n")
        assert seat.end() == 0


def test_our_terminal_is_as_before_whatever_ends_the_child(home: Home) -> None:
    for end in ("exit 0", "kill -KILL $$", "stty raw -echo; exit 1"):
        with _shell(home, f"echo ready; read x; {end}") as seat:
            before = seat.modes()
            seat.expect("ready")
            assert seat.modes() != before, "raw in between"
            seat.type("\n")
            seat.end()
            assert seat.modes() == before


def test_the_stop_key_gives_the_shell_back_and_fg_continues(home: Home) -> None:
    command = " ".join(home.command("run", "--", "/bin/sh", "-c", "'echo ready; cat; echo over'"))
    with home.seat_of(["/bin/bash", "--norc", "-i"], {"PS1": "prompt> ", "TERM": "dumb"}) as seat:
        seat.expect("prompt> ")
        seat.type(f"{command}\n")
        seat.expect("ready\r\n")
        seat.type("\x1a")
        seat.expect(r"Stopped.*prompt> ")
        seat.type("echo between\n")
        seat.expect(r"\nbetween\r\n.*prompt> ")
        seat.type("fg\n")
        seat.expect(r"fg\r\n.*\n")
        seat.type("again\n")
        seat.expect("again\r\nagain\r\n")
        seat.type("\x04")
        seat.expect(r"over\r\n.*prompt> ")
        seat.type("exit\n")
        assert seat.end() == 0


def test_a_program_that_handles_the_stop_key_itself_can(home: Home) -> None:
    script = (
        "import os, select, signal\n"
        "def stop(n, f):\n"
        "    print('leaving', flush=True); signal.signal(n, signal.SIG_DFL); os.kill(0, n)\n"
        "    print('back', flush=True)\n"
        "signal.signal(signal.SIGTSTP, stop)\n"
        "print('ready', flush=True)\n"
        "while not select.select([0], [], [], 0.05)[0]: pass\n"  # a blocked read can miss a signal
        "print('over')\n"
    )
    with home.seat("run", "--", PYTHON, "-c", script) as seat:
        seat.expect("ready")
        seat.type("\x1a")
        seat.expect("leaving")
        until(lambda: "stopped" in seat.notes())
        seat.resume()
        seat.expect("back")
        seat.type("\n")
        seat.expect("over")
        assert seat.end() == 0


def test_a_closed_window_ends_the_child(home: Home) -> None:
    note = home.root / "hung-up"
    script = f"trap 'echo yes > {note}; exit' HUP; echo ready; while :; do sleep 0.05; done"
    with _shell(home, script) as seat:
        seat.expect("ready")
    until(note.exists)


def test_a_killed_parent_takes_the_child_with_it(home: Home) -> None:
    note = home.root / "hung-up"
    script = f"trap 'echo yes > {note}; exit' HUP; echo ready; while :; do sleep 0.05; done"
    with _shell(home, script) as seat:
        seat.expect("ready")
        seat.signal(signal.SIGKILL)
        until(note.exists)


def test_a_large_output_passes_whole(home: Home) -> None:
    with _shell(home, "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done") as seat:
        assert seat.end() == 0
    assert seat.seen == b"".join(b"line %d\r\n" % i for i in range(20000))


def test_a_pipe_beside_the_terminal_stays_a_pipe(home: Home) -> None:
    inner = " ".join(
        home.command("run", *BOUND, "--", "/bin/sh", "-c", "'[ -t 1 ] || echo pipe $PW'")
    )
    with home.seat_of(["/bin/sh", "-c", f"{inner} | cat"]) as seat:
        assert seat.end() == 0
    assert seat.seen == b"pipe [secret]\r\n"


def _keep_in_production(home: Home) -> None:
    with home.seat("write", "local://prod/db", "password=generate:password") as seat:
        seat.expect(r"\[y/N\] ")
        seat.type("y\n")
        assert seat.end() == 0


def test_a_person_is_not_asked_about_what_they_typed(home: Home) -> None:
    _keep_in_production(home)
    with home.seat("run", "--env", "PW=local://prod/db#password", "--", "true") as seat:
        assert seat.end() == 0
    assert b"[y/N]" not in seat.seen


def test_a_person_is_asked_about_what_a_file_names_where_policy_asks(home: Home) -> None:
    _keep_in_production(home)
    (home.project / ".env").write_text("PW=local://prod/db#password\n")
    with home.seat("run", "--env-file", ".env", "--", "/bin/echo", "ran") as seat:
        shown = seat.expect(r"\[y/N\] ")
        assert "PW = copy of local://prod/db#password" in shown
        seat.type("n\n")
        assert seat.end() == 1
    assert b"\nran" not in seat.seen
    (home.project / ".env").write_text("PW=local://app/db#password\n")
    with home.seat("run", "--env-file", ".env", "--", "/bin/echo", "ran") as seat:
        assert seat.end() == 0
    assert b"[y/N]" not in seat.seen


def test_a_person_is_asked_about_what_a_short_name_of_the_repository_means(home: Home) -> None:
    _keep_in_production(home)
    (home.project / ".secrets.yaml").write_text('names: {db: "local://prod/db#password"}\n')
    for option in (("--env", "PW=@db"), ("--env", "PW=local://app/db#password", "--env", "B=@db")):
        with home.seat("run", *option, "--", "/bin/echo", "ran") as seat:
            assert "copy of local://prod/db#password" in seat.expect(r"\[y/N\] ")
            seat.type("n\n")
            assert seat.end() == 1
        assert b"\nran" not in seat.seen


def test_a_critical_use_takes_the_commands_name(home: Home) -> None:
    home.configure('policy: {critical: ["local://app/*"]}\n')
    with home.seat("run", *BOUND, "--", "/bin/echo", "ran") as seat:
        seat.expect(r"Type .*echo.* to go on: ")
        seat.type("echo\n")
        seat.expect("ran")
        assert seat.end() == 0


def test_on_a_terminal_an_assistant_still_needs_the_approval(home: Home) -> None:
    with home.seat("run", *BOUND, "--", "/bin/echo", "ran", more={"CLAUDECODE": "1"}) as seat:
        assert seat.end() == 3
    assert b"planned" in seat.seen
