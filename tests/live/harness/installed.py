"""The plugin as it stands in this checkout, with its packages, ready for a sandbox."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from tests.live.harness.client import Sandbox, cache_folder

__all__ = ["ROOT", "commands", "equip", "packages_of"]

ROOT = Path(__file__).resolve().parents[3]
_LAUNCHER = ROOT / "mcp_server" / "launch.py"


def equip(sandbox: Sandbox) -> Sandbox:
    """Give a sandbox the locked packages, as one installation by the launcher would."""
    made = _packages(sandbox.environment["PATH"])
    shutil.copytree(made, packages_of(sandbox), copy_function=_link, dirs_exist_ok=True)
    return sandbox


def packages_of(sandbox: Sandbox) -> Path:
    """Where a sandbox's packages lie; they are no product of its sessions."""
    return sandbox.home / ".local" / "share" / "secret-management" / _name(sandbox)


def commands(*arguments: str) -> list[str]:
    """The command line ``secrets`` with these arguments."""
    return ["python3", "-I", "-S", str(_LAUNCHER), "cli", *arguments]


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _name(sandbox: Sandbox) -> str:
    return _packages(sandbox.environment["PATH"]).name


@cache
def _packages(path: str) -> Path:
    """Install once with the Python that sandboxes have; into the cache unless it is there."""
    data = cache_folder() / "packages"
    environment = {**os.environ, "PATH": path, "XDG_DATA_HOME": str(data)}
    command = ["python3", str(_LAUNCHER), "install"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    # "Installed in FOLDER; restart the assistant to connect."
    return Path(done.stderr.partition("Installed in ")[2].partition(";")[0])
