"""What the plugin adds to the first request of a session, in bytes, in the real client.

The same prompt with and without the plugin, on the newest and the oldest supported client, against
a scripted Messages API on loopback. Limit: 2,560 bytes. The newest client defers tool definitions;
the oldest sends all of them at once, and its figure is printed beside.

Needs npm; run it where the tests run.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.live.harness.client import OLDEST, Sandbox, ask, install, newest
from tests.live.harness.installed import ROOT, equip
from tests.live.harness.messages_api import MessagesApi, Say, Turn

LIMIT = 2_560
PROMPT = "say hello"


def main() -> None:
    """Print the figures."""
    for version in (newest(), OLDEST):
        without, with_plugin = (
            _first_request(version),
            _first_request(version, "--plugin-dir", ROOT),
        )
        added = with_plugin - without
        verdict = "met" if added <= LIMIT else "MISSED"
        print(
            f"first request of {version}: {added:+,} bytes on {without:,} with the plugin"
            f" (limit {LIMIT:,}: {verdict})"
        )


def _first_request(version: str, *options: str | Path) -> int:
    with (
        tempfile.TemporaryDirectory() as folder,
        MessagesApi([Turn(PROMPT, [Say("hello")])]) as api,
    ):
        sandbox = equip(Sandbox(Path(folder), api))
        done = ask(install(version), sandbox, PROMPT, *options)
        bodies = [
            request.body
            for request in api.requests
            if request.path.startswith("/v1/messages") and b'"tools"' in request.body
        ]
        if done.code or not bodies:
            raise RuntimeError(f"{version} did not send a request")
        return len(bodies[0])


if __name__ == "__main__":
    main()
