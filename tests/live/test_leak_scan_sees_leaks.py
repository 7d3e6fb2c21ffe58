"""The scan of a session's traces finds a value wherever one is planted (positive control)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.leaks.corpus import STRONG
from tests.live.harness.client import Client, Finished, Sandbox, ask
from tests.live.harness.evidence import collect
from tests.live.harness.messages_api import Call, MessagesApi, Say, Turn
from tests.live.harness.plugins import tool, wrap
from tests.live.harness.terminal import ClientSession

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.harness.evidence import Evidence

pytestmark = pytest.mark.client

CANARY = STRONG["random 24"].decode()
SERVER = "leaky"


@pytest.fixture
def plugin(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    leaky = request.path.parent / "harness" / "leaky_server.py"
    return wrap(leaky, tmp_path / "plugin", SERVER)


def planted(tmp_path: Path, api: MessagesApi) -> Sandbox:
    """A sandbox whose servers know where the canary lies: outside of it."""
    place = tmp_path / "canary"
    place.write_text(CANARY)
    sandbox = Sandbox(tmp_path / "world", api)
    sandbox.environment["CANARY"] = str(place)
    return sandbox


def leaking(where: str) -> list[Turn]:
    return [Turn("please leak", [Call(tool("leak", SERVER), {"where": where}), Say("done")])]


def hits(evidence: Evidence) -> set[tuple[str, str]]:
    return {(channel, name) for channel, name, _ in evidence.leaks([CANARY.encode()])}


def headless(client: Client, sandbox: Sandbox, plugin: Path) -> Finished:
    allowed = ("--allowedTools", tool("leak", SERVER))
    return ask(client, sandbox, "please leak", "--plugin-dir", plugin, *allowed)


@pytest.mark.parametrize(
    ("where", "channels"),
    [
        ("result", {"request", "transcript", "output"}),
        ("error", {"request", "transcript", "output", "server log"}),
        ("meta", {"transcript"}),
        ("start", {"server log"}),
        ("file", {"home"}),
        ("project", {"project"}),
        ("nowhere", set()),
    ],
)
def test_a_planted_value_is_found_in_the_channels_it_reaches(
    client: Client, tmp_path: Path, plugin: Path, where: str, channels: set[str]
) -> None:
    with MessagesApi(leaking(where)) as api:
        sandbox = planted(tmp_path, api)
        if where == "start":
            sandbox.environment["LEAK_AT_START"] = "yes"
        done = headless(client, sandbox, plugin)
        evidence = collect(sandbox, api, outputs={"events": done.stdout})
    assert api.unscripted == []
    found = {channel for channel, _ in hits(evidence)}
    evidence.require("request", "transcript", "server log", "home", "output")
    assert channels <= found
    assert bool(channels) == bool(found)


def test_a_value_in_a_question_is_found_in_the_terminal(
    client: Client, tmp_path: Path, plugin: Path
) -> None:
    with MessagesApi(leaking("question")) as api:
        sandbox = planted(tmp_path, api)
        options = ("--plugin-dir", plugin, "--allowedTools", tool("leak", SERVER))
        with ClientSession(client, sandbox, *options) as person:
            person.say("please leak")
            person.wait_for("Is this it", "Decline")
            person.press("Escape")
            api.wait(lambda api: bool((seen := api.seen("please leak")) and seen.results))
        evidence = collect(sandbox, api)
    assert ("terminal", "screens") in hits(evidence)


def test_a_terminal_that_wrapped_or_coloured_a_value_does_not_hide_it(tmp_path: Path) -> None:
    with MessagesApi() as api:
        sandbox = Sandbox(tmp_path / "world", api)
        half = len(CANARY) // 2
        torn = f"\x1b[31m{CANARY[:half]}\x1b[0m\r\n\x1b[1;2H{CANARY[half:]}"
        sandbox.recording.mkdir()
        (sandbox.recording / "bytes").write_text(torn)
        assert ("terminal", "bytes, text only") in hits(collect(sandbox, api))


def test_a_scan_of_nothing_fails(tmp_path: Path) -> None:
    with MessagesApi() as api:
        evidence = collect(Sandbox(tmp_path / "world", api), api)
    with pytest.raises(AssertionError, match="nothing to search"):
        evidence.require("request")
