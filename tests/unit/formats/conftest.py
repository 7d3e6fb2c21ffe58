from __future__ import annotations

from pathlib import Path

import pytest
from sops_support import Key, RealSops


@pytest.fixture(scope="session")
def key() -> Key:
    return Key.new()


@pytest.fixture(scope="session")
def real_sops(key: Key, tmp_path_factory: pytest.TempPathFactory) -> RealSops:
    return RealSops(Path(tmp_path_factory.mktemp("sops")), key)
