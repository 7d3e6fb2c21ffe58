"""The plugin manifests: what the client reads, in both places, and nothing else at the root."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from markdown_pages import TOOL_PREFIX, TOOLS
from templates import ROOT

PLUGIN = ROOT / "plugin.json"
CLIENT_PLUGIN = ROOT / ".claude-plugin" / "plugin.json"
MARKETPLACE = ROOT / ".claude-plugin" / "marketplace.json"


def _plugin() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(PLUGIN.read_text(encoding="utf-8"))
    return content


def test_both_manifests_are_the_same_bytes() -> None:
    """The client reads the one in .claude-plugin; a link would break its strict validation."""
    assert PLUGIN.read_bytes() == CLIENT_PLUGIN.read_bytes()
    assert not PLUGIN.is_symlink()
    assert not CLIENT_PLUGIN.is_symlink()


def test_name_version_and_licence_agree_with_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    plugin = _plugin()
    assert plugin["name"] == project["name"] == "secret-management"
    assert plugin["version"] == project["version"]
    assert plugin["license"] == project["license"] == "Apache-2.0"
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence
    assert "Version 2.0, January 2004" in licence


def test_the_server_starts_the_stdlib_launcher_inside_the_plugin() -> None:
    servers = _plugin()["mcpServers"]
    assert list(servers) == ["secrets"]
    server = servers["secrets"]
    assert server["command"] == "python3"
    isolated = ["-I", "-S"]  # neither the project nor PYTHONPATH supplies a module
    assert server["args"] == [*isolated, "${CLAUDE_PLUGIN_ROOT}/mcp_server/launch.py"]
    assert server["env"] == {
        "SECRET_MANAGEMENT_DATA": "${CLAUDE_PLUGIN_DATA}",
        "SECRET_MANAGEMENT_PROJECT": "${CLAUDE_PROJECT_DIR}",
    }


def test_the_manifest_passes_no_variable_that_could_hold_a_value() -> None:
    assert "user_config" not in PLUGIN.read_text(encoding="utf-8")
    assert "userConfig" not in _plugin()


def test_no_tool_name_is_longer_than_the_prefix_allows() -> None:
    plugin = _plugin()
    assert f"mcp__plugin_{plugin['name']}_{next(iter(plugin['mcpServers']))}__" == TOOL_PREFIX
    assert all(len(tool) <= 25 and len(TOOL_PREFIX + tool) <= 64 for tool in TOOLS)


def test_the_description_claims_no_hooks_while_there_are_none() -> None:
    plugin = _plugin()
    assert not (ROOT / "hooks").exists()
    assert "hooks" not in plugin
    assert "no hooks" in plugin["description"]


def test_the_marketplace_has_one_entry_for_this_folder() -> None:
    market = json.loads(MARKETPLACE.read_text(encoding="utf-8"))
    assert market["description"]
    assert market["owner"]["name"]
    assert [(entry["name"], entry["source"]) for entry in market["plugins"]] == [
        (_plugin()["name"], "./")
    ]
    assert "strict" not in market["plugins"][0]


def test_nothing_at_the_root_acts_on_whoever_opens_the_repository() -> None:
    """A root .mcp.json would start the server there; bin/ and CLAUDE.md are refused or ignored."""
    assert PLUGIN.exists()
    present = [name for name in (".mcp.json", "bin", "CLAUDE.md") if (ROOT / name).exists()]
    assert present == []
