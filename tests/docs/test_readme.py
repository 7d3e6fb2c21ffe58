"""The README says what is true: its tool table is the server's, its commands exist, it is short.

``PYTHONPATH=. python3 tests/docs/test_readme.py`` writes the table anew.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml
from markdown_pages import TOOLS

from mcp_server.core import config
from mcp_server.engine import Engine
from mcp_server.tools import build

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
REGION = re.compile(r"(<!-- tools: .*? -->\n)(.*?)(<!-- end of tools -->)", re.DOTALL)
MOST_WORDS = 700


def table() -> str:
    """The tool table, from the tools themselves; their descriptions need no engine."""
    rows = [f"| `{tool.name}` | {tool.description} |" for tool in build(_no_engine())]
    return "\n".join(["| tool | what it does |", "|---|---|", *rows]) + "\n"


def _no_engine() -> Engine:
    return Engine(None, None, None, None)  # type: ignore[arg-type]  # only closed over


def test_the_tool_table_is_the_servers() -> None:
    found = REGION.search(README.read_text())
    assert found is not None
    assert found[2] == table()


def test_pages_and_server_name_the_same_tools() -> None:
    assert sorted(tool.name for tool in build(_no_engine())) == sorted(TOOLS)


def test_it_is_short() -> None:
    """The generated table apart."""
    assert 200 < len(REGION.sub("", README.read_text()).split()) <= MOST_WORDS


def test_the_commands_of_the_launcher_exist() -> None:
    named = set(re.findall(r"python3 mcp_server/launch\.py (\w+)", README.read_text()))
    usage = subprocess.run(
        [sys.executable, str(ROOT / "mcp_server" / "launch.py"), "--help"],
        capture_output=True,
        check=False,
        text=True,
    )
    assert named >= {"tour", "test", "link", "install"}
    assert all(name in usage.stderr + usage.stdout for name in named)


def test_the_verbs_of_the_command_line_exist() -> None:
    blocks = "".join(re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL))
    verbs = set(re.findall(r"^secrets (\w+)", blocks, re.MULTILINE))
    helped = subprocess.run(
        [sys.executable, "-m", "mcp_server", "--help"],
        capture_output=True,
        check=True,
        text=True,
        cwd=ROOT,
    )
    assert verbs >= {"run", "write", "list", "journal"}
    assert all(re.search(rf"\b{verb}\b", helped.stdout) for verb in verbs)


def test_the_example_configuration_is_accepted(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)
    path = tmp_path / "config.yaml"
    path.write_text(block)
    found = config.load(tmp_path / "none", path, tmp_path)
    assert [store.name for store in found.stores] == ["local", *yaml.safe_load(block)["stores"]]


if __name__ == "__main__":
    text = README.read_text()
    README.write_text(REGION.sub(lambda found: found[1] + table() + found[3], text))
