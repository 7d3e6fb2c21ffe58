"""Each benchmark runs and says what it measured; how long anything takes is not judged here."""

from __future__ import annotations

import math

import pytest

from benchmarks import __main__ as command
from benchmarks import first_request, guard, start, vault
from benchmarks.figures import Figure, missed, table
from tests.live.harness import requirements

SMALLEST = vault.Counts(secrets=2, reads=1, processes=1, listings=1, loops=1)


def assert_measured(figures: list[Figure], count: int) -> None:
    assert len(figures) == count
    for figure in figures:
        assert figure.ours > 0, figure
        assert figure.rival > 0, figure
        assert math.isfinite(figure.ratio), figure
        assert figure.what in table([figure])
        assert figure.against in table([figure])


def test_start_memory_and_surface() -> None:
    assert_measured(start.measure(rounds=1), 4)


def test_the_guard() -> None:
    assert_measured(guard.measure(calls=2), 1)


@pytest.mark.openbao
def test_descriptions_of_secrets_in_vault() -> None:
    assert_measured(vault.measure(SMALLEST), 4)


@pytest.mark.client
def test_the_first_request_stays_within_its_limit() -> None:
    """A size, not a time: the same on every machine."""
    figures = first_request.measure()
    assert_measured(figures, 3)
    assert missed(figures) == []


LESS = Figure("less", 1.0, "the rival", 2.0, 0.5)
MORE = Figure("more", 1.0, "the rival", 2.0, 2, faster=True)
TOO_MUCH = Figure("too much", 1.1, "the rival", 2.0, 0.5)
TOO_SLOW = Figure("too slow", 1.1, "the rival", 2.0, 2, faster=True)
INFORMS = Figure("informs", 9.0, "the rival", 2.0, None)


def test_a_target_is_met_or_missed_in_its_own_direction() -> None:
    figures = [LESS, MORE, TOO_MUCH, TOO_SLOW, INFORMS]
    assert missed(figures) == ["too much", "too slow"]
    verdicts = [line.split()[-3] for line in table(figures).splitlines()[1:-1]]
    assert verdicts == ["met", "met", "MISSED", "MISSED"]


def test_the_command_prints_one_table_and_fails_for_what_it_could_not_measure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def only(figure: Figure, lacking: list[str]) -> None:
        monkeypatch.setattr(command, "BENCHMARKS", ("start", "first_request"))
        monkeypatch.setattr(start, "measure", lambda: [figure])
        monkeypatch.setattr(first_request, "measure", lambda: [INFORMS])
        monkeypatch.setattr(requirements, "missing", lambda: lacking)

    only(LESS, [])
    assert command.main() == 0
    assert "2 figures, 0 miss their target" in capsys.readouterr().out
    only(TOO_MUCH, [])
    assert command.main() == 1
    assert "MISSED" in capsys.readouterr().out
    only(LESS, ["npm is missing; it fetches the assistant client"])
    assert command.main() == 1
    assert "NOT MEASURED first_request: npm is missing" in capsys.readouterr().out
