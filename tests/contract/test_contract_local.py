"""``local://`` under contract."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from mcp_server.backends import open_store
from mcp_server.backends.base import Backend
from mcp_server.backends.local import LocalBackend
from mcp_server.core.journal import Journal
from mcp_server.core.ports import Session, StoreSettings
from tests.contract.contract import BackendContract
from tests.contract.machine import StoreMachine


def local_store(folder: Path, session: Session) -> Backend:
    options = {
        "path": str(folder / "local.sops.json"),
        "key_file": str(folder / "age-key.txt"),
        "keyring": False,
        "versions": 50,
    }
    return open_store(StoreSettings("local", "local", options), session)


class TestLocal(BackendContract):
    abilities = LocalBackend.abilities

    @pytest.fixture
    def backend(self, session: Session, tmp_path: Path) -> Backend:
        return local_store(tmp_path, session)

    @pytest.fixture
    def twin(self, session: Session, tmp_path: Path) -> Backend:
        return local_store(tmp_path, session)


class LocalMachine(StoreMachine):
    def open(self) -> Backend:
        self.folder = Path(tempfile.mkdtemp())
        session = Session("machine", Journal(self.folder / "journal.jsonl"))
        return local_store(self.folder, session)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(getattr(self, "folder", ""), ignore_errors=True)


TestLocalHistories = LocalMachine.TestCase
TestLocalHistories.settings = settings(max_examples=20, stateful_step_count=15, deadline=None)
