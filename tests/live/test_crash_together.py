"""Several processes at once on one embedded store and one journal: nothing is lost."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mcp_server.core.journal import Kind
from tests.live.harness.household import Household
from tests.wire.pipes import Pipes

pytestmark = pytest.mark.trace

SERVERS = 2
OWN = 60
"""Secrets that each server creates."""

SHARED = 20
"""Keys that each server adds to one secret, against the others."""

COMMANDS = 8


@pytest.fixture
def home(tmp_path: Path) -> Household:
    home = Household(tmp_path)
    home.configure(
        "stores: {local: {backend: local, keyring: false, versions: 100}}\n"
        'policy: {rules: [{effect: allow, verbs: [update], match: "local://shared/*"}]}\n'
    )
    return home


def test_nothing_is_lost_among_servers_and_commands(home: Household) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(SERVERS + 1) as pool:
        servers = [stack.enter_context(home.serve())[0] for _ in range(SERVERS)]
        work = [pool.submit(_serve, pipes, number) for number, pipes in enumerate(servers)]
        work.append(pool.submit(_command, home))
        outcomes: Counter[str] = sum((each.result() for each in work), Counter())

    opened = home.opened()
    names = {f"own/{n}-{i}" for n in range(SERVERS) for i in range(OWN)}
    assert set(opened) == names | {f"cli/{i}" for i in range(COMMANDS)} | {"shared/one"}
    assert len({values["1"]["k"] for name, values in opened.items() if name in names}) == len(names)
    versions = opened["shared/one"]
    latest = versions[str(len(versions))]
    assert set(latest) == {f"k{n}-{i}" for n in range(SERVERS) for i in range(SHARED)}
    assert len(versions) == SERVERS * SHARED
    report = home.journal.verify()
    assert (report.intact, report.torn) == (True, 0)
    done = [record for record in home.records if record.event.kind is Kind.DONE]
    assert len(done) == outcomes["done"] == SERVERS * (OWN + SHARED) + COMMANDS
    assert outcomes["lost the race"], "nobody ever met anybody"


def _serve(pipes: Pipes, number: int) -> Counter[str]:
    """Create secrets of one's own, and add keys to the shared one as often as it takes."""
    outcomes: Counter[str] = Counter()
    for i in range(OWN):
        outcomes[_write(pipes, f"local://own/{number}-{i}", "k")] += 1
        while i < SHARED:
            outcome = _write(pipes, "local://shared/one", f"k{number}-{i}")
            outcomes[outcome] += 1
            if outcome == "done":
                break
    return outcomes


def _write(pipes: Pipes, target: str, key: str) -> str:
    answer: dict[str, Any] = pipes.call(
        "secrets_write", target=target, keys=[{"key": key, "generate": "token"}]
    )
    if not answer.get("isError"):
        return str(answer["structuredContent"]["state"])
    text = str(answer["content"])
    assert " CONFLICT: " in text or " PLAN_STALE: " in text, text
    return "lost the race"


def _command(home: Household) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for i in range(COMMANDS):
        code, out, err = home.secrets("write", f"local://cli/{i}", "k=generate:token", "--json")
        assert code == 0, (out, err)
        outcomes[json.loads(out)["state"]] += 1
    return outcomes
