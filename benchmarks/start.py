"""Start to the first ``tools/list``, peak memory, and what the surface costs in bytes.

Rival: a bare ``MCPServer`` of the SDK with one tool, in the same run, interleaved. Run it with
``python -m benchmarks.start`` in the repository.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from benchmarks.figures import Figure, table
from benchmarks.servers import BARE, OURS, home, running

__all__ = ["measure"]

ROUNDS: Final = 11
START: Final = 1.1
MEMORY: Final = 1.3
VISIBLE: Final = 4_608
WHOLE: Final = 10_240
_FOR_A_MODEL: Final = ("name", "description", "inputSchema")
_RIVAL: Final = "a bare MCPServer"


@dataclass(frozen=True, slots=True)
class _Start:
    """One process: seconds to the first listing, peak after one call, the listing."""

    seconds: float
    peak_kib: int
    tools: list[dict[str, Any]]


def measure(rounds: int = ROUNDS) -> list[Figure]:
    """Start both servers ``rounds`` times each, in turns."""
    bare, ours = [], []
    for _ in range(rounds):
        bare.append(_start(BARE, "echo", text="a"))
        ours.append(_start(OURS, "secrets_read", ref="memory://a/b"))
    tools = ours[0].tools
    visible = [{key: tool[key] for key in _FOR_A_MODEL} for tool in tools]
    seconds = [median(each.seconds for each in starts) for starts in (ours, bare)]
    peaks = [median(each.peak_kib for each in starts) for starts in (ours, bare)]
    return [
        Figure("start to tools/list, s", seconds[0], _RIVAL, seconds[1], START),
        Figure("peak memory, one read, KiB", peaks[0], _RIVAL, peaks[1], MEMORY),
        Figure("tools/list for a model, bytes", _bytes(visible), "the limit", VISIBLE, 1),
        Figure("tools/list as a whole, bytes", _bytes(tools), "the limit", WHOLE, 1),
    ]


def _start(code: str, tool: str, **arguments: object) -> _Start:
    with home("stores: {mem: {backend: memory}}\n") as environment:
        begun = time.perf_counter()
        with running(code, environment) as server:
            listed = server.request("tools/list", {})
            seconds = time.perf_counter() - begun
            server.call(tool, **arguments)
            return _Start(seconds, server.peak_kib(), listed["tools"])


def _bytes(value: object) -> int:
    return len(json.dumps(value, separators=(",", ":")).encode())


if __name__ == "__main__":
    print(table(measure()))
