"""Every benchmark in one table: ``python -m benchmarks`` in the repository; takes a minute.

Medians and ratios of this run on this machine, against the rival or limit that each line names.
What this machine cannot measure is said below the table. Exit status 1 when a target is missed or
a benchmark could not run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

from benchmarks.figures import Figure, missed, table
from tests.live.harness import requirements

BENCHMARKS = ("start", "vault", "guard", "first_request")


def main() -> int:
    """Measure everything that can be measured here."""
    figures: list[Figure] = []
    not_run: list[str] = []
    for name in BENCHMARKS:
        lacking = requirements.missing() if name == "first_request" else []
        if lacking:
            not_run.append(f"{name}: {'; '.join(lacking)}")
            continue
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        measure: Callable[[], list[Figure]] = import_module(f"benchmarks.{name}").measure
        figures += measure()
    print(table(figures))
    for reason in not_run:
        print(f"NOT MEASURED {reason}")
    behind = missed(figures)
    print(f"{len(figures)} figures, {len(behind)} miss their target")
    return 1 if behind or not_run else 0


if __name__ == "__main__":
    sys.exit(main())
