"""A person at a terminal: asked once, shown what will happen, and nobody else in their place."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.harness.command_line import Home

CANARY = "canary-Qm3R-x8Zt-5Kvb-N1yw"
RECIPIENT = "age1" + "q" * 58


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.keep("app/db", password=CANARY, old=CANARY, user="app")
    return home


def _version(home: Home) -> str:
    found = home.secrets("read", "local://app/db").receipt["version"]
    assert isinstance(found, str)
    return found


def _channels(home: Home) -> list[str]:
    lines = home.secrets("journal", "-n", "1000").stdout.splitlines()
    entries = [json.loads(line) for line in lines]
    return [e.get("channel") for e in entries if e["kind"] == "decided"]


WRITE = (
    "write",
    "local://app/db",
    "password=generate:password",
    "--remove",
    "old",
    "x=copy:local://app/db#user",
)


def test_a_change_is_shown_as_a_difference_and_done_after_a_yes(home: Home) -> None:
    with home.seat(*WRITE) as seat:
        shown = seat.expect(r"Go on\? \[y/N\] ")
        seat.type("y\n")
        assert seat.end() == 0
    plain = re.sub(r"\x1b\[\d*m", "", shown)
    assert "update  local://app/db  now version 1" in plain
    assert re.search(r"~ password +generated password of 32", plain)
    assert re.search(r"\+ x +copy of local://app/db#user", plain)
    assert "- old" in plain
    assert CANARY.encode() not in seat.seen
    assert b"done" in seat.seen
    assert _version(home) == "2"
    assert _channels(home)[-1] == "terminal"


@pytest.mark.parametrize("answer", ["n\n", "\n", "maybe\n", "\x04"])
def test_anything_but_yes_is_a_no_and_uses_the_plan_up(home: Home, answer: str) -> None:
    with home.seat(*WRITE) as seat:
        seat.expect(r"\[y/N\] ")
        seat.type(answer)
        assert seat.end() == 1
    assert b"DECLINED" in seat.seen
    assert _version(home) == "1"
    assert home.secrets("apply").receipt["plans"] == []


def test_an_interrupt_at_the_question_does_nothing_and_leaves_the_plan(home: Home) -> None:
    with home.seat(*WRITE) as seat:
        seat.expect(r"\[y/N\] ")
        seat.type("\x03")
        assert seat.end() in {130, -2}
    assert _version(home) == "1"
    assert len(home.secrets("apply").receipt["plans"]) == 1


def test_keys_pressed_before_the_question_do_not_answer_it(home: Home) -> None:
    with home.seat(*WRITE) as seat:
        seat.type("y\ny\n")
        seat.expect(r"\[y/N\] ")
        seat.type("\n")
        assert seat.end() == 1
    assert _version(home) == "1"


def test_a_critical_target_takes_its_last_word(home: Home) -> None:
    home.configure('policy: {critical: ["local://app/**"]}\n')
    with home.seat(*WRITE) as seat:
        seat.expect(r"Type .*db.* to go on: ")
        seat.type("y\n")
        assert seat.end() == 1
    assert _version(home) == "1"
    with home.seat(*WRITE) as seat:
        seat.expect(r"to go on: ")
        seat.type("db\n")
        assert seat.end() == 0
    assert _version(home) == "2"


def test_a_plan_of_the_assistant_is_applied_by_a_person_once(home: Home) -> None:
    plan = home.secrets(*WRITE).receipt["plan"]
    with home.seat("apply", plan) as seat:
        seat.expect(r"\[y/N\] ")
        seat.type("yes\n")
        assert seat.end() == 0
    assert _version(home) == "2"
    with home.seat("apply", plan) as seat:
        assert seat.end() == 1
    assert b"PLAN_USED" in seat.seen


def test_a_plan_whose_target_changed_is_refused_after_the_yes(home: Home) -> None:
    plan = home.secrets(*WRITE).receipt["plan"]
    with home.seat("write", "local://app/db", "user=generate:uuid") as seat:
        seat.expect(r"\[y/N\] ")
        seat.type("y\n")
        assert seat.end() == 0
    with home.seat("apply", plan) as seat:
        seat.expect(r"\[y/N\] ")
        seat.type("y\n")
        assert seat.end() == 1
    assert b"PLAN_STALE" in seat.seen
    assert _version(home) == "2"


def test_deleting_and_restoring(home: Home) -> None:
    for mode, state in (("delete", "deleted"), ("restore", "live")):
        with home.seat("delete", "local://app/db", "--mode", mode) as seat:
            seat.expect(r"\[y/N\] ")
            seat.type("y\n")
            assert seat.end() == 0
        assert home.secrets("read", "local://app/db").receipt["state"] == state


@pytest.mark.parametrize("mark", ["CLAUDECODE", "AI_AGENT", "CURSOR_AGENT", "CODEX_THREAD_ID"])
def test_under_an_assistant_nobody_is_asked_even_on_a_terminal(home: Home, mark: str) -> None:
    with home.seat(*WRITE, more={mark: "1"}) as seat:
        assert seat.end() == 3
    assert b"planned" in seat.seen
    assert b"[y/N]" not in seat.seen
    plan = home.secrets("apply").receipt["plans"][0]["plan"]
    with home.seat("apply", plan, more={mark: "1"}) as seat:
        assert seat.end() == 3
    assert b"An assistant started this command." in seat.seen
    assert _version(home) == "1"


def test_taking_the_mark_off_does_not_make_a_person(home: Home) -> None:
    script = f"env -u CLAUDECODE {subprocess.list2cmdline(home.command(*WRITE))}; exit $?"
    with home.seat_of(["/bin/sh", "-c", script], {"CLAUDECODE": "1"}) as seat:
        assert seat.end() == 3
    assert _version(home) == "1"


def test_settings_of_an_assistant_in_a_persons_shell_are_no_mark(home: Home) -> None:
    more = {"CLAUDE_CODE_USE_BEDROCK": "1", "CLAUDE_CODE_SSE_PORT": "1234", "ANTHROPIC_MODEL": "x"}
    with home.seat(*WRITE, more=more) as seat:
        seat.expect(r"\[y/N\] ")
        seat.type("y\n")
        assert seat.end() == 0


def test_hidden_characters_of_a_repository_do_not_reach_the_terminal(home: Home) -> None:
    file = home.project / "key\x1b]0;owned\x07\u202e.json"
    file.write_text(json.dumps({"a": CANARY}))
    (home.project / "plain.json").symlink_to(file)
    for name in (file.name, "plain.json"):
        with home.seat("write", "local://app/db", f"a=file:{name}") as seat:
            assert seat.end() == 2
        assert b"SOURCE_INVALID" in seat.seen
        assert b"\x1b]" not in seat.seen


def test_no_color_is_honoured(home: Home) -> None:
    with home.seat("status", more={"NO_COLOR": "1"}) as seat:
        assert seat.end() == 0
    assert b"Stores" in seat.seen
    assert b"\x1b" not in seat.seen
    with home.seat("status") as seat:
        assert seat.end() == 0
    assert b"\x1b[1mStores" in seat.seen


def test_json_can_be_had_on_a_terminal(home: Home) -> None:
    with home.seat("read", "local://app/db", "--json") as seat:
        assert seat.end() == 0
    assert json.loads(seat.seen)["state"] == "live"


def test_init_asks_for_a_recovery_recipient_and_writes_what_it_showed(home: Home) -> None:
    home.config.unlink()
    with home.seat("init", more={"VAULT_ADDR": "https://vault.example:8200"}) as seat:
        seat.expect(r"Recovery recipient \[none\]: ")
        seat.type(f"{RECIPIENT}\n")
        shown = seat.expect(r"Write this\? \[y/N\] ")
        seat.type("y\n")
        assert seat.end() == 0
    written = home.config.read_text()
    assert "address: https://vault.example:8200" in written
    assert f"recovery_recipient: {RECIPIENT}" in written
    assert "mounts:\n      secret: 2" in written
    assert all(line in shown for line in written.splitlines())
    assert home.config.stat().st_mode & 0o777 == 0o600
    assert home.secrets("list", "local://").code == 0


def test_init_refuses_a_private_key_without_repeating_it(home: Home) -> None:
    home.config.unlink()
    private = "AGE-SECRET-KEY-1INVENTED"
    with home.seat("init") as seat:
        seat.expect(r"\[none\]: ")
        seat.type(f"{private}\n")
        assert seat.end() == 2
    assert seat.seen.count(private.encode()) == 1, "the terminal's own echo and nothing else"
    assert not home.config.exists()


def test_a_delivery_to_another_session_is_refused_before_anybody_is_asked(home: Home) -> None:
    assert home.secrets("write", "runtime://app.env", "--copy-from", "local://app/db").code == 2
    planned = _planned_delivery(home)
    with home.seat("apply", planned) as seat:
        assert seat.end() == 2
    assert b"UNSUPPORTED" in seat.seen
    assert b"[y/N]" not in seat.seen


def _planned_delivery(home: Home) -> str:
    program = (
        "from mcp_server.engine import start; from mcp_server.core.requests import WriteRequest\n"
        "request = WriteRequest('runtime://app.env', copy_from='local://app/db')\n"
        "print(start().broker.write(request).plan)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=home.project,
        env=home.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_value_that_would_be_shown_is_withheld_and_that_is_journaled(home: Home) -> None:
    program = (
        "import sys; from mcp_server.core.guard import Guard; real = Guard.__init__\n"
        "def planted(self, **given): real(self, **given); self.register(b'cnrPb4Nq8Wz2Xm')\n"
        "Guard.__init__ = planted\n"
        "from mcp_server.cli import main; sys.exit(main(['read', 'local://app/cnrPb4Nq8Wz2Xm']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=home.project,
        env=home.environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(b"EGRESS_BLOCKED: ")
    assert b"cnrPb4Nq8Wz2Xm" not in done.stdout + done.stderr
    last = json.loads(home.secrets("journal", "-n", "1").stdout)
    assert last["code"] == "EGRESS_BLOCKED"
