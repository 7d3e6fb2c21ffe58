"""What the egress guard costs.

``measure`` times it inside the real server process, with 100 values registered, against the
cheapest call that there is: a ``secrets_read`` of a store in memory, over stdio.
``python -m benchmarks.guard`` in the repository prints more: microseconds a frame by size and
number of values, milliseconds and bytes a registered value.
"""

from __future__ import annotations

import base64
import gc
import json
import random
import statistics
from pathlib import Path
from time import perf_counter_ns
from typing import Final

from benchmarks.figures import Figure, table
from benchmarks.servers import OURS, home, running
from mcp_server.core.guard import Guard
from tests.leaks.corpus import frame, ordinary

__all__ = ["measure"]

COUNTS: Final = (0, 1, 100, 1000)
CALLS: Final = 300
SHARE: Final = 0.05
# The server with a stopwatch around each check; its last words are the times in seconds.
_WATCHED: Final = """
import json, os, time
from mcp_server import engine
from mcp_server.core.guard import Guard
check, start, times = Guard.check, engine.start, []
def timed(guard, frame):
    begun = time.perf_counter()
    try:
        return check(guard, frame)
    finally:
        times.append(time.perf_counter() - begun)
def loaded():
    made = start()
    for number in range(100):
        made.guard.register(f"invented-{number}-{os.urandom(12).hex()}".encode())
    return made
Guard.check, engine.start = timed, loaded
from mcp_server import server
server.main()
with open(os.environ["BENCHMARK_TIMES"], "w") as file:
    json.dump(times, file)
"""


def measure(calls: int = CALLS) -> list[Figure]:
    """Call the server without and with a stopwatch in it, in turns."""
    with home("stores: {mem: {backend: memory}}\n") as environment:
        times = Path(environment["HOME"], "times.json")
        watch = {**environment, "BENCHMARK_TIMES": str(times)}
        with running(OURS, environment) as plain, running(_WATCHED, watch) as watched:
            whole = []
            for _ in range(calls):
                watched.call("secrets_read", ref="memory://a/b")
                whole.append(plain.seconds("secrets_read", ref="memory://a/b"))
            watched.finish()
        checks = statistics.median(json.loads(times.read_text())[1:])  # the first builds automata
    call = statistics.median(whole)
    return [
        Figure("guard, 100 values, ms", checks * 1e3, "a trivial secrets_read", call * 1e3, SHARE)
    ]


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * 4096


def _values(count: int) -> list[bytes]:
    source = random.Random(count)  # noqa: S311 - reproducible figures
    return [base64.b64encode(source.randbytes(18)) for _ in range(count)]


def _frames() -> dict[str, list[bytes]]:
    texts = ordinary("benchmark", 400)
    near = sorted(texts, key=lambda text: abs(len(text) - 2048))[:20]
    inner = "\n".join(text.decode() for text in texts[:60])
    return {
        "2 KB": near,
        "not ASCII": [text for text in texts if not text.isascii()][:20],
        "64 KB": [frame(inner[at : at + 20_000]) for at in range(0, 60_000, 20_000)],
    }


def _microseconds(guard: Guard, frames: list[bytes]) -> float:
    times = []
    for _ in range(max(3, 400 // len(frames))):
        for text in frames:
            start = perf_counter_ns()
            guard.check(text)
            times.append(perf_counter_ns() - start)
    return statistics.median(times) / 1000


def _registered(values: list[bytes]) -> tuple[Guard, float, int]:
    gc.collect()
    before = _resident()
    guard = Guard(budget=1 << 30)
    times = []
    for value in values:
        start = perf_counter_ns()
        guard.register(value)
        guard.check(b"one frame between two registrations")
        times.append(perf_counter_ns() - start)
    median = statistics.mean(times) / 1e6 if times else 0.0
    return guard, median, _resident() - before


def _details() -> None:
    frames = _frames()
    for name, texts in frames.items():
        size = statistics.mean(map(len, texts))
        print(f"{name}: {len(texts)} frames, {size:.0f} bytes on average")
    Guard().register(b"first use loads the automata 9Kq2")
    print(f"\n{'values':>8}" + "".join(f"{name + ' µs':>16}" for name in frames), end="")
    print(f"{'register ms':>14}{'KB a value':>12}{'estimate KB':>13}")
    for count in COUNTS:
        guard, milliseconds, grown = _registered(_values(count))
        row = "".join(f"{_microseconds(guard, texts):16.1f}" for texts in frames.values())
        each = max(count, 1) * 1024
        print(f"{count:>8}{row}{milliseconds:14.2f}{grown / each:12.1f}", end="")
        print(f"{guard.metrics().needle_bytes / each:13.1f}")
    _large_values()


def _large_values() -> None:
    source = random.Random("large")  # noqa: S311 - reproducible figures
    print()
    for name, size in (("4 KB", 3 << 10), ("64 KB", 48 << 10), ("1 MB", 768 << 10)):
        body = base64.encodebytes(source.randbytes(size))
        value = b"-----BEGIN PRIVATE KEY-----\n" + body + b"-----END PRIVATE KEY-----\n"
        guard, milliseconds, grown = _registered([value])
        print(f"a PEM of {name}: registered in {milliseconds:.0f} ms, {grown >> 10} KB", end="")
        print(f" (estimate {guard.metrics().needle_bytes >> 10} KB)")


if __name__ == "__main__":
    print(table(measure()), end="\n\n")
    _details()
