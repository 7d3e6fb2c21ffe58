"""The tier runner: every test has one tier, and nothing that did not run looks as if it had."""

from __future__ import annotations

import fcntl
import itertools
import os
import sys
from pathlib import Path

import pytest
from _pytest.mark.expression import Expression, ExpressionMatcher

from tests import run
from tests.run import MARKS, Outcome, Tier


def tier(folder: Path, source: str, minutes: float = 1, **needs: run.Need) -> Tier:
    path = folder / "test_sample.py"
    path.write_text(source)
    return Tier("sample", (str(path), "-c", os.devnull), minutes, tuple(needs.values()))


def _has(marks: tuple[str, ...]) -> ExpressionMatcher:
    def has(name: str, /, **_: str | float | bool | None) -> bool:
        return name in marks

    return has


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_whatever_its_marks_a_test_belongs_to_exactly_one_selection(size: int) -> None:
    selections = [Expression.compile(run.marked(mark)) for mark in (None, *MARKS)]
    for marks in itertools.combinations(MARKS, size):
        assert sum(s.evaluate(_has(marks)) for s in selections) == 1


def test_every_mark_has_a_tier() -> None:
    chosen = {t.selection[-1] for t in run.TIERS}
    assert chosen >= {run.marked(mark) for mark in (None, *MARKS)}


def test_passed_failed_and_skipped_tests_are_counted(tmp_path: Path) -> None:
    source = """
import pytest
def test_one(): pass
def test_two(): assert False
def test_three(): pytest.skip('no')
@pytest.fixture
def broken(): raise ValueError
def test_four(broken): pass
"""
    outcome = run.run(tier(tmp_path, source), 60, [])
    assert (outcome.passed, outcome.failed, outcome.skipped) == (1, 2, 1)


def test_a_tier_without_its_programs_is_not_run_and_says_why(tmp_path: Path) -> None:
    outcome = run.run(tier(tmp_path, "", need=run.command("no-such-program")), 60, [])
    assert not outcome.ran
    assert "no-such-program is not installed" in run.table({"sample": outcome})
    assert "NO" in run.table({"sample": outcome})


def test_a_program_that_does_not_work_counts_as_missing() -> None:
    assert run.command("false")() == "false does not work here"
    assert run.command("true")() is None


def test_a_tier_at_its_deadline_is_stopped_with_all_it_started_and_fails(tmp_path: Path) -> None:
    """What the test started holds a lock for as long as it lives."""
    held = tmp_path / "held"
    hold = f"import fcntl; f = open({str(held)!r}, 'w'); fcntl.flock(f, fcntl.LOCK_EX); input()"
    source = f"""
import subprocess, sys
def test_hangs():
    child = subprocess.Popen([sys.executable, '-c', {hold!r}], stdin=subprocess.PIPE)
    child.wait()
"""
    outcome = run.run(tier(tmp_path, source, minutes=0.05), 60, [])
    assert outcome.failed == 1
    assert outcome.why == "stopped at its deadline"
    with held.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_pytest_that_dies_fails_its_tier(tmp_path: Path) -> None:
    outcome = run.run(tier(tmp_path, "import os\ndef test_dies(): os._exit(0)"), 60, [])
    assert outcome.failed == 1


@pytest.mark.parametrize(
    ("outcomes", "release", "status"),
    [
        ([Outcome(passed=1)], True, 0),
        ([Outcome(passed=1, failed=1)], False, 1),
        ([Outcome(passed=1), Outcome(why="missing")], False, 0),
        ([Outcome(passed=1), Outcome(why="missing")], True, 1),
        ([Outcome(passed=1, skipped=1)], True, 1),
        ([Outcome(why="missing")], False, 1),
        ([], False, 1),
    ],
)
def test_the_exit_status_is_honest(outcomes: list[Outcome], status: int, *, release: bool) -> None:
    assert run.verdict(outcomes, release=release) == status


def test_the_last_line_is_the_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TIERS", (tier(tmp_path, "def test_one(): pass"),))
    with (tmp_path / "out").open("w+") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert run.main([]) == 0
        out.flush()
    assert (tmp_path / "out").read_text().splitlines()[-1] == "1 passed, 0 failed"


def test_tests_see_no_store_or_token_of_the_person_who_runs_them(tmp_path: Path) -> None:
    own = {"VAULT_TOKEN": "invented", "AWS_PROFILE": "work", "XDG_CONFIG_HOME": "/home/me/.config"}
    seen = run.environment(tmp_path, {**own, "PATH": "/bin", "SECRETS_CRDS": "/crds"})
    assert not set(own) & set(seen) - {"XDG_CONFIG_HOME"}
    assert seen["XDG_CONFIG_HOME"].startswith(str(tmp_path))
    assert (seen["PATH"], seen["SECRETS_CRDS"]) == ("/bin", "/crds")
