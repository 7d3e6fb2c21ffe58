"""``memory://`` under contract."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from mcp_server.backends import open_store
from mcp_server.backends.base import Backend
from mcp_server.backends.memory import MemoryBackend
from mcp_server.core.journal import Journal
from mcp_server.core.ports import Session, StoreSettings
from tests.contract.contract import BackendContract
from tests.contract.machine import StoreMachine


class TestMemory(BackendContract):
    abilities = MemoryBackend.abilities

    @pytest.fixture
    def backend(self, session: Session) -> Backend:
        return open_store(StoreSettings("memory", "memory"), session)


class MemoryMachine(StoreMachine):
    def open(self) -> Backend:
        self.folder = Path(tempfile.mkdtemp())
        session = Session("machine", Journal(self.folder / "journal.jsonl"))
        return open_store(StoreSettings("memory", "memory"), session)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(getattr(self, "folder", ""), ignore_errors=True)


TestMemoryHistories = MemoryMachine.TestCase
TestMemoryHistories.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
