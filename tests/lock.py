"""Write the three hashed locks from pyproject.toml: ``python3 tests/lock.py [--upgrade]``.

The locks name packages, versions and hashes and no index, so each machine installs from the one
it is set up for. ``uv`` writes them; uv and pip both read them. Only versions with wheels are
taken, since the launcher builds nothing.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = "requirements.txt"
LOCKS = {
    RUNTIME: ["pyproject.toml"],
    "requirements-dev.txt": ["pyproject.toml", "--group", "dev", "-c", RUNTIME],
    "requirements-tour.txt": ["--group", "tour", "-c", "requirements-dev.txt"],
}
OPTIONS = [
    *("--quiet", "--universal", "--python-version", "3.11"),
    *("--generate-hashes", "--only-binary", ":all:", "--no-annotate"),
    *("--custom-compile-command", "python3 tests/lock.py"),
]


def main(arguments: list[str]) -> None:
    for lock, sources in LOCKS.items():
        command = ["uv", "pip", "compile", *OPTIONS, *sources, "-o", lock, *arguments]
        subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
