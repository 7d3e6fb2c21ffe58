"""``memory://`` beyond the contract: the handle that tests use."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_server.backends import open_store
from mcp_server.backends.memory import MemoryBackend
from mcp_server.core.errors import OutcomeUnknownError, SecretsError, StoreTimeoutError
from mcp_server.core.journal import Journal
from mcp_server.core.model import Act, Change, State
from mcp_server.core.ports import Session, StoreSettings
from mcp_server.core.refs import Ref
from mcp_server.core.sealed import seal

ACT = Act("test")
REF = Ref("memory", "db")


@pytest.fixture
def store(tmp_path: Path) -> MemoryBackend:
    session = Session("test", Journal(tmp_path / "journal.jsonl"))
    store = open_store(StoreSettings("memory", "memory"), session)
    assert isinstance(store, MemoryBackend)
    return store


def _put(store: MemoryBackend) -> None:
    store.put(REF, Change({"n": seal(b"1")}), ACT)


@pytest.mark.parametrize("fault", [StoreTimeoutError(), OutcomeUnknownError()])
def test_a_fault_is_raised_once_and_changes_nothing(
    store: MemoryBackend, fault: SecretsError
) -> None:
    store.faults.append(fault)

    with pytest.raises(SecretsError) as raised:
        _put(store)

    assert raised.value is fault
    assert store.describe(REF, ACT).state is State.ABSENT
    _put(store)
    assert store.describe(REF, ACT).state is State.LIVE


def test_a_description_shows_the_newest_versions_only(store: MemoryBackend) -> None:
    for _ in range(25):
        _put(store)

    versions = [version.version for version in store.describe(REF, ACT).versions]
    assert versions == [str(number) for number in range(25, 5, -1)]


def test_two_stores_share_nothing(store: MemoryBackend) -> None:
    _put(store)
    other = open_store(StoreSettings("other", "memory"), store.session)

    assert other.describe(REF, ACT).state is State.ABSENT
