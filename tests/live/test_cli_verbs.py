"""The verbs as real processes, without a person: JSON, codes, and nothing echoed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.harness.command_line import PROJECT, Home

VERBS = ("init", "status", "list", "read", "write", "delete", "apply", "run", "journal", "serve")
CANARY = "canary-Vx7Q-tT2m-9Lpz-w4Kd"
DENY = 'policy: {rules: [{effect: deny, verbs: [update], match: "local://app/**"}]}\n'
GRANT = 'grants: [{name: nightly, verbs: [update], match: "local://app/**", expires: 2099-01-01}]\n'


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_help_needs_no_library_and_no_engine() -> None:
    program = (
        "import sys; from mcp_server.cli import main; code = main(['--help']);"
        "print(code, sorted(m for m in sys.modules if m.split('.')[0] in"
        " {'mcp', 'hvac', 'yaml', 'pyrage', 'keyring', 'cryptography', 'pydantic', 'boto3'}"
        " or m.startswith('mcp_server.core')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("0 []\n")
    assert len(re.findall(r"^  [a-z]+ +\S", done.stdout, re.MULTILINE)) == 10


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_without_vendor_libraries(home: Home, verb: str) -> None:
    program = (
        "import sys, contextlib; from mcp_server.cli import main\n"
        "with contextlib.suppress(SystemExit): main([sys.argv[1], '--help'])\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} &"
        " {'mcp', 'hvac', 'pyrage', 'keyring', 'cryptography', 'boto3'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, verb],
        cwd=PROJECT,
        env=home.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"usage: secrets {verb}")
    assert done.stdout.endswith("[]\n")


def test_a_secret_is_made_described_listed_and_removed(home: Home) -> None:
    made = home.secrets("write", "local://app/db", "password=generate:password:40", "--owner", "me")
    assert made.code == 0
    assert made.receipt["state"] == "done"
    assert made.receipt["channel"] == "policy"
    read = home.secrets("read", "local://app/db").receipt
    assert (read["keys"], read["untrusted_owner"]) == (["password"], "me")
    names = home.secrets("list", "local://app").receipt["secrets"]
    assert [each["name"] for each in names] == ["db"]
    gone = home.secrets("delete", "local://app/db")
    assert gone.code == 3, "a removal is asked about"
    assert gone.receipt["state"] == "planned"
    assert home.secrets("read", "local://app/db").receipt["state"] == "live"


def test_a_target_with_a_key_takes_a_source_alone(home: Home) -> None:
    assert home.secrets("write", "local://app/db#token", "generate:token:32").code == 0
    assert home.secrets("read", "local://app/db").receipt["keys"] == ["token"]


def test_without_a_person_a_change_is_planned_and_both_ways_on_are_named(home: Home) -> None:
    home.keep("app/db", password=CANARY)
    done = home.secrets("write", "local://app/db", "password=generate:password")
    assert done.code == 3
    assert done.receipt["state"] == "planned"
    assert f"secrets apply {done.receipt['plan']}" in done.receipt["next_step"]
    applied = home.secrets("apply", done.receipt["plan"])
    assert applied.code == 3
    assert applied.stderr.startswith(b"APPROVAL_NEEDED: ")
    assert b"No terminal is attached." in applied.stderr
    waiting = home.secrets("apply").receipt["plans"]
    assert [plan["plan"] for plan in waiting] == [done.receipt["plan"]]
    assert waiting[0]["change"].startswith("update local://app/db; password = generated")


def test_a_standing_grant_is_honoured_and_named(home: Home) -> None:
    home.keep("app/db", password=CANARY)
    home.configure(GRANT)
    done = home.secrets("write", "local://app/db", "password=generate:password")
    assert done.code == 0
    assert done.receipt["channel"] == "grant:nightly"


def test_policy_denies_before_anything_is_planned(home: Home) -> None:
    home.keep("app/db", password=CANARY)
    home.configure(DENY)
    done = home.secrets("write", "local://app/db", "password=generate:password")
    assert done.code == 1
    assert done.stderr.startswith(b"POLICY_DENIED: ")
    assert home.secrets("apply").receipt["plans"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("write", "local://app/db", CANARY),
        ("write", "local://app/db", f"password={CANARY}"),
        ("write", "local://app/db", f"password=generate:{CANARY}"),
        ("write", "local://app/db", f"password=generate:password:{CANARY}"),
        ("write", f"{CANARY}", "password=generate:password"),
        ("write", f"local://app//{CANARY}", "password=generate:password"),
        ("write", "local://app/db", f"--value={CANARY}"),
        ("write", "local://app/db", "--format", CANARY),
        ("write", "local://app/db", f"p=file:{CANARY}"),
        ("write", "local://app/db", f"p=env:{CANARY}"),
        ("read", "local://app/db", CANARY),
        ("list", "--limit", CANARY),
        ("delete", "local://app/db", "--mode", CANARY),
        ("journal", "-n", CANARY),
        ("apply", CANARY),
        ("run", f"--env={CANARY}", "--", "true"),
        ("run", "--env", f"X={CANARY}", "--", "true"),
        ("run", "--env", "X=local://app/db#x", "--", f"/{CANARY}"),
        ("run", "--plan", CANARY),
        ("run", "--env-file", CANARY, "--", "true"),
        ("run", CANARY),
        ("init", "--recovery", CANARY, "--dry-run"),
        (CANARY,),
    ],
)
def test_what_was_typed_by_mistake_is_refused_and_not_repeated(
    home: Home, arguments: tuple[str, ...]
) -> None:
    done = home.secrets(*arguments)
    assert done.code in {1, 2}
    assert re.match(rb"[A-Z_]+: .+\nNext: .+\n", done.stderr), done.stderr
    assert CANARY.encode() not in done.stdout + done.stderr
    kept = [path.read_bytes() for path in home.root.rglob("*") if path.is_file()]
    assert kept
    assert not any(CANARY.encode() in content for content in kept)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("raed",), b"Did you mean `secrets read`? "),
        (("get",), b"Did you mean `secrets read`? "),
        (("restore",), b"Did you mean `secrets delete --mode restore`? "),
        ((CANARY,), b"Next: See `secrets --help`."),
        (("delete", "local://app/db", "--mode", "remove"), b"delete, restore, destroy, erase"),
        (("list", "--limit", "0"), b"a whole number from 1 to "),
        (("run", "true"), b"Write the command after --"),
        (("run", "--wrong", "--", "true"), b"arguments that this verb does not know"),
    ],
)
def test_a_slip_is_told_how_to_go_on(home: Home, arguments: tuple[str, ...], hint: bytes) -> None:
    done = home.secrets(*arguments)
    assert done.code == 2
    assert hint in done.stderr


def test_exit_codes_tell_usage_failure_and_approval_apart(home: Home) -> None:
    assert home.secrets("nonsense").code == 2
    assert home.secrets("read", "no reference").code == 2
    assert home.secrets("delete", "local://app/absent").code == 1
    assert home.secrets("run", "--", "true").code == 3
    assert home.secrets("--version").code == 0


def test_a_wrong_configuration_is_named_and_contacts_nothing(home: Home) -> None:
    home.configure("policy: [1]\n")
    done = home.secrets("status")
    assert done.code == 1
    assert done.stderr.startswith(b"CONFIG_INVALID: ")


def test_a_hostile_repository_widens_nothing(home: Home) -> None:
    (home.project / ".secrets.yaml").write_text(
        'policy: {rules: [{effect: allow, match: "**"}]}\ngrants: []\n'
    )
    assert home.secrets("status").code == 1
    (home.project / ".secrets.yaml").write_text('names: {db: "local://app/db#password"}\n')
    (home.project / "mcp_server.py").write_text("raise SystemExit(9)\n")
    (home.project / "yaml.py").write_text("raise SystemExit(9)\n")
    environment = {**home.environment, "PYTHONSAFEPATH": "1"}
    done = home.secrets("write", "local://app/db", "password=generate:password", more=environment)
    assert done.code == 0
    assert home.secrets("read", "@db", more=environment).receipt["state"] == "live"


def test_status_shows_the_stores_and_the_journal_is_intact(home: Home) -> None:
    home.keep("app/db", password=CANARY)
    status = home.secrets("status").receipt
    assert [(s["name"], s["state"]) for s in status["stores"]] == [("local", "ready")]
    entries = home.secrets("journal", "-n", "3").stdout.splitlines()
    assert [json.loads(entry)["kind"] for entry in entries] == ["decided", "intent", "done"]
    report = home.secrets("journal", "--verify").receipt
    assert report["intact"]
    assert report["entries"] > 3


def test_an_altered_journal_fails_verification(home: Home) -> None:
    home.keep("app/db", password=CANARY)
    path = home.root / "state" / "secret-management" / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"app/db", b"app/dc", 1))
    done = home.secrets("journal", "--verify")
    assert done.code == 1
    assert not done.receipt["intact"]


def test_a_reader_that_leaves_early_is_no_error(home: Home) -> None:
    for number in range(3):
        home.keep(f"app/{number}", password=CANARY)
    done = subprocess.run(
        ["sh", "-c", '"$@" 2>err | true; cat err', "sh", *home.command("journal", "-n", "100")],
        cwd=home.project,
        env=home.environment,
        capture_output=True,
        check=True,
    )
    assert done.stdout == b""


def test_init_without_a_person_writes_nothing_and_shows_what_it_would(home: Home) -> None:
    home.config.unlink()
    assert home.secrets("init").code == 3
    assert not home.config.exists()
    shown = home.secrets("init", "--dry-run", more={"VAULT_ADDR": "https://vault.example:8200"})
    assert b"address: https://vault.example:8200" in shown.stdout
    assert not home.config.exists()


def test_init_leaves_an_existing_configuration_alone(home: Home) -> None:
    before = home.config.read_bytes()
    done = home.secrets("init")
    assert done.code == 1
    assert done.stderr.startswith(b"ALREADY_EXISTS: ")
    assert home.config.read_bytes() == before
