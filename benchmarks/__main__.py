"""Every benchmark, one after another: ``python3 -m benchmarks``.

Medians and ratios against a named rival or limit, measured in this run.
"""

from __future__ import annotations

from benchmarks import first_request, guard, start, vault

for benchmark in (start, vault, first_request, guard):
    print(f"\n== {(benchmark.__doc__ or '').splitlines()[0]}")
    benchmark.main()
