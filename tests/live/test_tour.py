"""The README's first command, as written: it does the main job and proves what it says."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from mcp_server.tour.scenes import search
from mcp_server.tour.stage import LAUNCHER, Stage
from mcp_server.tour.telling import Telling

TOLD = (
    "generated",
    "imported",
    "described",
    "used in a command, masked in its output",
    "refused",
    "approved and copied",
)


@pytest.mark.openbao
def test_the_tour_does_the_whole_job_and_shows_it() -> None:
    done = subprocess.run(
        [sys.executable, str(LAUNCHER), "tour"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    for what in TOLD:
        assert f"ok: {what}" in done.stdout
    assert "ok: none of 3 values, plain or encoded" in done.stdout
    assert "ok: the same search finds each of 9 planted leaks" in done.stdout
    assert "FAILED" not in done.stdout
    assert "\x1b" not in done.stdout


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    made = Stage(tmp_path)
    (tmp_path / "seen-by-the-child").write_text("invented-Zq7vR2mK9xLw4Tn8")
    return made


def test_a_transcript_with_a_value_fails_the_tour(stage: Stage) -> None:
    told = io.StringIO()
    value = stage.imported["STRIPE_KEY"]
    assert not search([f"server  it is {value}"], stage, Telling(told))
    assert "FAILED: none of 3 values" in told.getvalue()


def test_a_transcript_without_one_passes(stage: Stage) -> None:
    assert search(["server  done"], stage, Telling(io.StringIO()))


def test_without_knowing_the_generated_value_the_search_proves_nothing(tmp_path: Path) -> None:
    assert not search(["server  done"], Stage(tmp_path), Telling(io.StringIO()))
