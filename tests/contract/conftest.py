"""Runs each law of the contract where the store declares what the law needs."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.contract")

from mcp_server.core.journal import Journal  # noqa: E402 - after the rewrite is registered
from mcp_server.core.ports import Session  # noqa: E402 - same


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*abilities): a law about declared abilities")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out laws about abilities that the store does not have.

    ``test_an_ability_that_is_not_declared_raises`` proves the other half for exactly those.
    """
    beside = [item for item in items if not _applies(item)]
    if beside:
        config.hook.pytest_deselected(items=beside)
        items[:] = [item for item in items if _applies(item)]


def _applies(item: pytest.Item) -> bool:
    abilities = getattr(getattr(item, "cls", None), "abilities", None)
    needed = {ability for mark in item.iter_markers("needs") for ability in mark.args}
    return abilities is None or needed <= abilities


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session("contract", Journal(tmp_path / "state" / "journal.jsonl"))
