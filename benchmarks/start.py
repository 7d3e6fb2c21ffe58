"""Start to the first ``tools/list``, peak memory, and what the surface costs in bytes.

Rival: a bare ``MCPServer`` of the SDK with one tool, in the same run, interleaved.
Targets: start at most 1.1 times, peak memory after start and one read at most 1.3 times;
``tools/list`` at most 4,608 bytes that a model sees and 10,240 in all.
"""

from __future__ import annotations

import json
import time
from statistics import median

from benchmarks.servers import BARE, OURS, home, running

ROUNDS = 11


def main() -> None:
    """Print the figures."""
    starts: dict[str, list[float]] = {"bare": [], "ours": []}
    peaks: dict[str, list[int]] = {"bare": [], "ours": []}
    with home("stores: {mem: {backend: memory}}\n") as environment:
        for _ in range(ROUNDS):
            for name, code in (("bare", BARE), ("ours", OURS)):
                begun = time.perf_counter()
                with running(code, environment) as server:
                    listed = server.request("tools/list", {})
                    starts[name].append(time.perf_counter() - begun)
                    if name == "ours":
                        server.call("secrets_read", ref="memory://a/b")
                    else:
                        server.call("echo", text="a")
                    peaks[name].append(server.peak_kib())
    _print("start to tools/list", median(starts["ours"]), median(starts["bare"]), "s", 1.1)
    _print("peak memory", median(peaks["ours"]) / 1024, median(peaks["bare"]) / 1024, "MiB", 1.3)
    tools = listed["tools"]
    visible = [{key: tool[key] for key in ("name", "description", "inputSchema")} for tool in tools]
    print(
        f"tools/list: {_bytes(visible)} bytes seen by a model (limit 4608), "
        f"{_bytes(tools)} in all (limit 10240)"
    )


def _bytes(value: object) -> int:
    return len(json.dumps(value, separators=(",", ":")).encode())


def _print(what: str, ours: float, bare: float, unit: str, target: float) -> None:
    ratio = ours / bare
    verdict = "met" if ratio <= target else "MISSED"
    print(
        f"{what}: {ours:.3f} {unit} against {bare:.3f} {unit} bare: "
        f"{ratio:.2f} times (target {target}: {verdict})"
    )


if __name__ == "__main__":
    main()
