"""Ways to bring a plugin into the client: published in a repository, or invented on the spot."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.harness.client import Sandbox

__all__ = ["PLUGIN", "SERVER", "publish", "redirect", "tool", "wrap"]

PLUGIN = "secret-management"
SERVER = "secrets"


def tool(name: str, plugin: str = PLUGIN) -> str:
    """The client's full name of a tool of a plugin's server."""
    return f"mcp__plugin_{plugin}_{SERVER}__{name}"


def publish(source: Path, folder: Path) -> Path:
    """Commit the files that git tracks in ``source``, as they are now, to a new repository.

    Returns:
        The repository, as a client would find it at its public address. Files that the project
        ignores or has not added are not in it: a plugin that needs them does not work.
    """
    listed = _git(source, "ls-files", "-z").split("\0")
    for name in filter(None, listed):
        original = source / name
        if original.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(original, folder / name, follow_symlinks=False)
    _git(folder, "init", "--quiet", "--initial-branch=main")
    _git(folder, "add", "--all", "--force")
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    _git(folder, *who, "commit", "--quiet", "--message=Release", "--no-gpg-sign")
    return folder


def redirect(sandbox: Sandbox, owner_and_name: str, repository: Path) -> None:
    """Let git inside the sandbox find a public GitHub address in a local repository.

    So the test can run the very commands of the README. Git does the rewriting:
    https://git-scm.com/docs/git-config#Documentation/git-config.txt-urlltbasegtinsteadOf
    """
    public = (f"https://github.com/{owner_and_name}", f"git@github.com:{owner_and_name}")
    lines = [f'[url "file://{repository}"]']
    lines += [f"\tinsteadOf = {address}{end}" for address in public for end in (".git", "")]
    (sandbox.home / ".gitconfig").write_text("\n".join(lines) + "\n")


def wrap(server: Path, folder: Path, name: str) -> Path:
    """A plugin around one Python file that speaks MCP on its standard streams."""
    manifest = {
        "name": name,
        "version": "0.0.1",
        "description": "A test's own plugin.",
        "mcpServers": {SERVER: {"command": sys.executable, "args": [str(server)]}},
    }
    place = folder / ".claude-plugin" / "plugin.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(manifest))
    return folder


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
