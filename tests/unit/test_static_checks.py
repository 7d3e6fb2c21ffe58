"""The type checker, the linter and the formatter, as tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ruff", "check", "--no-cache", "."), "All checks passed"),
        (("ruff", "format", "--check", "--no-cache", "."), "already formatted"),
        (("mypy", "--cache-dir", ".mypy_cache/tests"), "no issues found"),
    ],
    ids=["lint", "format", "types"],
)
def test_the_source_is_clean(arguments: tuple[str, ...], said: str) -> None:
    done = subprocess.run(
        _command(*arguments), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert said in done.stdout


def test_the_linter_sees_a_fault(tmp_path: Path) -> None:
    (tmp_path / "fault.py").write_text("import os\n")
    configured = ("ruff", "check", "--no-cache", "--config", str(ROOT / "pyproject.toml"))
    done = subprocess.run(
        _command(*configured, str(tmp_path)), capture_output=True, text=True, check=False
    )
    assert "F401" in done.stdout


def test_the_type_checker_sees_a_fault(tmp_path: Path) -> None:
    (tmp_path / "fault.py").write_text('number: int = "text"\n')
    configured = ("mypy", "--config-file", str(ROOT / "pyproject.toml"), "--no-incremental")
    done = subprocess.run(
        _command(*configured, str(tmp_path / "fault.py")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "[assignment]" in done.stdout


def _command(tool: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", tool, *arguments]
