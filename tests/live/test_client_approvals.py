"""Every channel by which a person allows or refuses a change, in the real client."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.live.harness.client import OLDEST, Client, install, newest
from tests.live.harness.installed import commands
from tests.live.harness.scenes import CHANGE, REF, Scene, playing
from tests.live.harness.terminal import ClientSession, Terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.client

CHANGED = re.escape(f"update {REF}")


def changed_in_the_client(scene: Scene, answer: Callable[[ClientSession], None]) -> str:
    """Play the change with a person who answers the question; what the model was told."""
    with scene.person() as person:
        person.say(CHANGE.when)
        answer(person)
        told = scene.told(CHANGE, 3)
        person.wait_for("FINISHED")
    nothing_leaked(scene)
    return told.results[2].text


def nothing_leaked(scene: Scene) -> None:
    evidence = scene.evidence()
    evidence.require("request", "transcript", "server log", "home", "terminal")
    assert evidence.leaks(scene.values()) == []


def version(scene: Scene) -> object:
    return scene.command("read", REF)[0]["version"]


def test_a_forced_prompt_shows_the_change_and_a_yes_carries_it_out(tmp_path: Path) -> None:
    def yes(person: ClientSession) -> None:
        person.wait_for(CHANGED, "now version 1", "Do you want to proceed")
        person.choose("Yes")

    with playing(install(newest()), tmp_path, CHANGE) as scene:
        told = changed_in_the_client(scene, yes)
        assert '"state":"done"' in told
        assert '"channel":"prompt"' in told
        assert (version(scene), scene.decisions()) == ("2", [("prompt", None)])


def test_a_no_to_the_forced_prompt_changes_nothing(tmp_path: Path) -> None:
    def no(person: ClientSession) -> None:
        person.wait_for(CHANGED, "Do you want to proceed")
        person.choose("No")

    with playing(install(newest()), tmp_path, CHANGE) as scene:
        with scene.person() as person:
            person.say(CHANGE.when)
            no(person)
            person.wait_for("(?i)interrupted|declined|rejected|what should")
        assert (version(scene), scene.decisions()) == ("1", [])
        nothing_leaked(scene)


@pytest.mark.parametrize(
    ("button", "ticked", "code", "after"),
    [
        ("Accept", True, None, "2"),
        ("Accept", False, "DECLINED", "1"),
        ("Decline", False, "DECLINED", "1"),
        ("Decline", True, "DECLINED", "1"),
    ],
)
def test_a_form_is_a_yes_only_when_ticked_and_accepted(
    tmp_path: Path, button: str, *, ticked: bool, code: str | None, after: str
) -> None:
    def answer(person: ClientSession) -> None:
        person.wait_for(CHANGED, "now version 1")
        person.fill_form(button, ticked=ticked)

    with playing(install(OLDEST), tmp_path, CHANGE) as scene:
        told = changed_in_the_client(scene, answer)
        assert ("DECLINED" in told) == (code == "DECLINED")
        assert (version(scene), scene.decisions()) == (after, [("form", code)])


@pytest.mark.parametrize(
    ("typed", "code", "after"), [("y", None, "2"), ("n", "DECLINED", "1"), ("", "DECLINED", "1")]
)
def test_a_person_at_a_terminal_decides_a_plan_that_waits(
    client: Client, tmp_path: Path, typed: str, code: str | None, after: str
) -> None:
    with playing(client, tmp_path, CHANGE) as scene:
        scene.ask(CHANGE)
        plan = str(scene.told(CHANGE, 3).results[1].json()["plan"])
        environment = scene.sandbox.persons_environment()
        command = commands("apply", plan)
        with Terminal(scene.sandbox, command, environment=environment) as person:
            person.wait_for(r"Go on\? \[y/N\]", re.escape(REF))
            person.type(typed)
            person.press("Enter")
            ended = person.wait_until_ended()
        assert (ended == 0) == (code is None)
        assert (version(scene), scene.decisions()) == (after, [("terminal", code)])
        nothing_leaked(scene)


def test_an_assistant_cannot_stand_in_for_the_person_at_a_terminal(tmp_path: Path) -> None:
    with playing(install(newest()), tmp_path, CHANGE) as scene:
        scene.ask(CHANGE)
        plan = str(scene.told(CHANGE, 3).results[1].json()["plan"])
        marked = {**scene.sandbox.persons_environment(), "CLAUDECODE": "1"}
        with Terminal(scene.sandbox, commands("apply", plan), environment=marked) as assistant:
            assistant.wait_for("APPROVAL_NEEDED")
            assert assistant.wait_until_ended() != 0
        assert (version(scene), scene.decisions()) == ("1", [])
