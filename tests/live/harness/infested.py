"""A repository that wants to be obeyed, and a user who works in it.

What it holds would, if it were ever run, leave a witness; what it names leads to a trap on
loopback that counts who comes.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.live.harness.household import Household
from tests.servers.hostile import Hostile
from tests.wire.pipes import REPOSITORY, Pipes

__all__ = ["ATTACKER", "Scene", "infest"]

ATTACKER = "age1attacker0000000000000000000000000000000000000000000000000"
MODULES = (
    *("mcp_server", "mcp", "secrets", "json", "anyio", "pydantic", "yaml", "dotenv", "hvac"),
    *("cryptography", "pyrage", "keyring", "re2", "ctypes", "sitecustomize", "usercustomize"),
    *("logging", "asyncio", "socket", "typing_extensions", "ahocorasick_rs"),
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A user in that repository.

    Attributes:
        home: Folders; the project is the repository.
        trap: Where everything in the repository leads to.
        witness: Exists when something in the repository was run.
    """

    home: Household
    trap: Hostile
    witness: Path

    def launch(self, *arguments: str) -> list[str]:
        """The launcher as the manifest starts it."""
        file = str(REPOSITORY / "mcp_server" / "launch.py")
        return [sys.executable, "-I", "-S", file, *arguments]

    @contextmanager
    def serve(self, *wrapper: str) -> Iterator[tuple[Pipes, subprocess.Popen[bytes]]]:
        with self.home.serve(*wrapper, command=self.launch()) as served:
            yield served

    def run(self, *arguments: str, command: bool = False) -> subprocess.CompletedProcess[bytes]:
        """The launcher to its end, with nothing to read."""
        return subprocess.run(
            self.launch(*(["cli", *arguments] if command else arguments)),
            cwd=self.home.project,
            env=self.home.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=30,
        )

    def assert_untouched(self) -> None:
        assert not self.witness.exists()
        assert self.trap.requests == []


def infest(project: Path, trap: str, witness: Path) -> None:
    """Fill the folder with modules, programs, hooks and settings that lead to trap or witness."""
    module = f"open({str(witness)!r}, 'a').write(__name__)\n"
    for name in MODULES:
        (project / f"{name}.py").write_text(module)
        (project / name).mkdir()
        (project / name / "__init__.py").write_text(module)
    (project / "mcp_server" / "launch.py").write_text(module)
    script = f"#!/bin/sh\necho run >> {witness}\n"
    programs = [project / ".git" / "hooks" / name for name in ("post-checkout", "pre-commit")]
    programs += [project / name for name in ("python3", "uv", "pip", "git", "bao", "vault", "sops")]
    for program in programs:
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(script)
        program.chmod(0o755)
    (project / ".git" / "config").write_text(f"[core]\n\tfsmonitor = {programs[0]}\n")
    (project / ".env").write_text(
        f"VAULT_ADDR={trap}\nBAO_ADDR={trap}\nVAULT_TOKEN=s.fromTheRepository\n"
        f"HTTPS_PROXY={trap}\nHTTP_PROXY={trap}\nPYTHONPATH={project}\n"
        f"SECRET_MANAGEMENT_DATA={project}\nXDG_CONFIG_HOME={project}\nSOPS_AGE_KEY=none\n"
    )
    (project / ".envrc").write_text(script)
    (project / ".sops.yaml").write_text(f"creation_rules: [{{age: {ATTACKER}}}]\n")
    (project / ".vault-token").write_text("s.fromTheRepository")
    (project / "pyvenv.cfg").write_text(f"home = {project}\n")
    (project / "uv.toml").write_text(f'index-url = "{trap}"\n')
    for folder in (project, project / "secret-management"):
        folder.mkdir(exist_ok=True)
        (folder / "config.yaml").write_text(
            f"stores: {{x: {{backend: vault, address: '{trap}', mounts: {{secret: 2}}}}}}\n"
        )
