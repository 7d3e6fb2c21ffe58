"""What the plugin adds to the first request that the real client sends to its model, in bytes.

The client runs in a scratch folder against a scripted Messages API on loopback, once without and
once with the plugin; the difference of the two bodies is what a conversation pays that never
touches a secret. By default a client defers the definitions of tools; sent to another address than
the vendor's it may not, so that is asked for. The figure without deferral stands beside, for
gateways that load everything at once; it has no target.

Run it with ``python -m benchmarks.first_request`` in the repository; it fetches the clients (npm).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure, table
from tests.live.harness.client import OLDEST, Client, Sandbox, ask, install, newest
from tests.live.harness.installed import ROOT, equip
from tests.live.harness.messages_api import MessagesApi, Say, Turn

__all__ = ["measure"]

LIMIT: Final = 2_560
PROMPT: Final = "say hello"


def measure() -> list[Figure]:
    """The oldest supported client and the newest."""
    oldest = install(OLDEST)
    return [
        _added(install(newest()), deferred=True),
        _added(oldest, deferred=True),
        _added(oldest, deferred=False),
    ]


def _added(client: Client, *, deferred: bool) -> Figure:
    without = _first_request(client, deferred=deferred)
    added = _first_request(client, "--plugin-dir", ROOT, deferred=deferred) - without
    what = f"added to a first request of {client.version}, bytes"
    if deferred:
        return Figure(what, added, "the limit", LIMIT, 1)
    return Figure(what, added, "the limit; all tools at once", LIMIT, None)


def _first_request(client: Client, *options: str | Path, deferred: bool) -> int:
    """Bytes of the first request that offers tools."""
    with (
        tempfile.TemporaryDirectory() as folder,
        MessagesApi([Turn(PROMPT, [Say("hello")])]) as api,
    ):
        sandbox = equip(Sandbox(Path(folder), api))
        # https://code.claude.com/docs/en/mcp, "Scale with MCP tool search"
        sandbox.environment["ENABLE_TOOL_SEARCH"] = str(deferred).lower()
        done = ask(client, sandbox, PROMPT, *options)
        bodies = [each.body for each in api.requests if each.path.startswith("/v1/messages")]
        offers = [body for body in bodies if json.loads(body).get("tools")]
        if done.code or api.unscripted or not offers:
            raise RuntimeError(f"{client.version} did not send a request: {done.stderr[-500:]}")
        return len(offers[0])


if __name__ == "__main__":
    print(table(measure()))
