"""What the egress guard costs: ``python benchmarks/guard.py``.

Prints medians: microseconds a frame, milliseconds and bytes a registered value. The target is
5 % of a tool call; a trivial call on the bare SDK takes about 1 ms, so 50 µs for a frame of 2 KB
with 100 values registered.
"""

from __future__ import annotations

import base64
import gc
import random
import statistics
import sys
from pathlib import Path
from time import perf_counter_ns

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mcp_server.core.guard import Guard
from tests.leaks.corpus import frame, ordinary

COUNTS = (0, 1, 100, 1000)
TARGET_MICROSECONDS = 50


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


def main() -> None:
    """Print the tables."""
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
    print(f"\ntarget: {TARGET_MICROSECONDS} µs for 2 KB and 100 values")


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
    main()
