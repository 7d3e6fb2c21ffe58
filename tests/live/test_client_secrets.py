"""``/secrets write`` and ``/secrets read`` in the real client, where no person is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.leaks.corpus import STRONG
from tests.live.harness.client import OLDEST, Client, Sandbox
from tests.live.harness.messages_api import MessagesApi
from tests.live.harness.scenes import CHANGE, IMPORT, READ, REF, Scene, playing

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.client

VALUE = STRONG["random 24"]
SEARCHED = ("request", "transcript", "server log", "home", "output")


def put_env_file(sandbox: Sandbox) -> None:
    (sandbox.project / ".env").write_bytes(b"DB_PASSWORD=" + VALUE + b"\n")


def test_a_secret_is_imported_and_described_and_no_value_leaves(
    client: Client, tmp_path: Path
) -> None:
    with playing(client, tmp_path, IMPORT, READ) as scene:
        put_env_file(scene.sandbox)
        written = scene.ask(IMPORT)
        receipt = scene.told(IMPORT, 1).results[0].json()
        read = scene.ask(READ)
        described = scene.told(READ, 1)
        evidence = scene.evidence(written=written.stdout, read=read.stdout)
        values = scene.values()
    assert "The user asked: `/secrets read" in described.prompt
    assert (receipt["state"], receipt["channel"]) == ("done", "policy")
    assert described.results[0].json()["keys"] == ["DB_PASSWORD"]
    assert (written.event("result")["result"], read.event("result")["result"]) == (
        "IMPORTED",
        "DESCRIBED",
    )
    assert values == [VALUE]
    evidence.require(*SEARCHED)
    assert evidence.leaks(values) == []


def test_nothing_is_sent_anywhere_but_to_the_model(client: Client, tmp_path: Path) -> None:
    with playing(client, tmp_path, READ) as scene:
        scene.ask(READ)
        scene.told(READ, 1)
        assert scene.api.outbound == []


def test_an_attempt_to_reach_another_machine_would_be_seen(tmp_path: Path) -> None:
    with MessagesApi() as api:
        away = ["git", "ls-remote", "https://elsewhere.example/repository.git"]
        assert Sandbox(tmp_path / "world", api).run(away).code != 0
        assert api.outbound == ["elsewhere.example:443"]


def test_where_nobody_can_be_asked_a_change_waits_and_both_ways_on_are_named(
    client: Client, tmp_path: Path
) -> None:
    with playing(client, tmp_path, CHANGE) as scene:
        done = scene.ask(CHANGE)
        _, planned, refused = scene.told(CHANGE, 3).results
        plan = planned.json()["plan"]
        waiting = scene.command("apply")
        versions = scene.command("read", REF)[0]["version"]
        evidence = scene.evidence(events=done.stdout)
        evidence.require(*SEARCHED)
        assert evidence.leaks(scene.values()) == []
    # The newest client refuses before our server is asked, so the plan itself names the ways.
    text = refused.text if client.version == OLDEST else str(planned.json()["next_step"])
    assert refused.is_error
    assert f"secrets apply {plan}" in text
    assert "standing grant" in text
    assert str(plan) in str(waiting)
    assert versions == "1"


def test_a_standing_grant_of_the_operator_stands_in_for_the_person(
    client: Client, tmp_path: Path
) -> None:
    with playing(client, tmp_path, CHANGE) as scene:
        grant(scene)
        scene.ask(CHANGE)
        scene.api.wait(lambda api: bool((seen := api.seen(CHANGE.when)) and len(seen.results) > 1))
        seen = scene.api.seen(CHANGE.when)
        assert seen is not None
        updated = seen.results[1].json()
        assert scene.decisions() == [("grant:tests", None)]
    assert (updated["state"], updated["channel"], updated["version"]) == (
        "done",
        "grant:tests",
        "2",
    )


def grant(scene: Scene) -> None:
    folder = scene.sandbox.home / ".config" / "secret-management"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "config.yaml").write_text(
        "grants:\n  - {name: tests, verbs: [update], match: 'local://app/*', expires: 2099-01-01}\n"
    )
