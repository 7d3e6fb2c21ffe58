"""The plugin in the real client: valid, installed from a repository, connected, working."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.live.harness.client import Client, Finished, Sandbox, install, newest
from tests.live.harness.installed import ROOT, equip
from tests.live.harness.messages_api import MessagesApi
from tests.live.harness.plugins import PLUGIN, SERVER, publish, redirect
from tests.live.harness.scenes import READ, Scene

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.client

PUBLIC = "invented-owner/secret-management"
MARKET = "secret-management"
VALIDATED = (".claude-plugin/plugin.json", ".", "skills", "agents", "commands")


def readme_commands() -> list[list[str]]:
    """What the README tells a person to type, for our invented address."""
    (line,) = [
        line
        for line in (ROOT / "README.md").read_text().splitlines()
        if line.startswith("claude plugin marketplace add")
    ]
    typed = line.replace("OWNER/REPOSITORY", PUBLIC).split(" && ")
    return [command.split()[1:] for command in typed]


def validate(sandbox: Sandbox, folder: Path, part: str) -> Finished:
    """The newest client's verdict; the oldest does not know all fields of a manifest."""
    judge = install(newest()).executable
    return sandbox.run([judge, "plugin", "validate", "--strict", folder / part])


@pytest.mark.parametrize("part", VALIDATED)
def test_the_plugin_is_valid_without_a_warning(tmp_path: Path, part: str) -> None:
    done = validate(Sandbox(tmp_path / "world"), ROOT, part)
    assert done.code == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("part", "file", "damage"),
    [
        (".claude-plugin/plugin.json", ".claude-plugin/plugin.json", '{"name": "Not Kebab"}'),
        (".", ".claude-plugin/marketplace.json", '{"name": "x"}'),
        ("commands", "commands/secrets.md", "---\nname: [unclosed\n---\n"),
        ("skills", "skills/secrets-patterns/SKILL.md", "---\nname: [unclosed\n---\n"),
        ("agents", "agents/secrets-engineer.md", "---\nname: [unclosed\n---\n"),
    ],
)
def test_validation_sees_a_damaged_part(tmp_path: Path, part: str, file: str, damage: str) -> None:
    copy = tmp_path / "copy"
    for name in (".claude-plugin", "skills", "agents", "commands"):
        shutil.copytree(ROOT / name, copy / name)
    (copy / file).write_text(damage)
    assert validate(Sandbox(tmp_path / "world"), copy, part).code != 0


def test_an_install_from_a_repository_connects_and_works(client: Client, tmp_path: Path) -> None:
    repository = publish(ROOT, tmp_path / "repository")
    with MessagesApi([READ]) as api:
        sandbox = equip(Sandbox(tmp_path / "world", api))
        redirect(sandbox, PUBLIC, repository)
        scene = Scene(client, sandbox, api, plugin=())

        for command in readme_commands():
            done = sandbox.run([client.executable, *command])
            assert done.code == 0, done.stdout + done.stderr

        listed = json.loads(sandbox.run([client.executable, "plugin", "list", "--json"]).stdout)
        (installed,) = [each for each in listed if each["id"] == f"{PLUGIN}@{MARKET}"]
        assert installed["enabled"]
        assert installed["installPath"].startswith(str(sandbox.config / "plugins" / "cache"))

        servers = sandbox.run([client.executable, "mcp", "list"]).stdout
        (line,) = [line for line in servers.splitlines() if f"plugin:{PLUGIN}:{SERVER}" in line]
        assert "Connected" in line

        shutil.rmtree(repository)  # what runs now is the client's own copy
        scene.ask(READ)
        assert scene.told(READ, 1).results[0].json()["state"] == "absent"
