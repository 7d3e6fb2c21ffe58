"""Counts what the leak matrix looked at and prints it; a run that looked at nothing fails."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.wire.conftest import home

__all__ = ["home"]

LOOKED_AT: Counter[str] = Counter()


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    from tests.leaks.conftest import LOOKED_AT  # noqa: PLC0415 - pytest loads this file twice

    if LOOKED_AT:
        line = ", ".join(f"{count:,} {what}" for what, count in sorted(LOOKED_AT.items()))
        terminalreporter.write_line(f"leak matrix: {line}")
