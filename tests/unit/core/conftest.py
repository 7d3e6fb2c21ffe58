"""An empty home, and a rig in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mcp_server.core import places, sealed
from tests.unit.core.rig import CONFIG, Rig, Scene, start

FOLDERS = {
    "HOME": "home",
    "XDG_CONFIG_HOME": "config",
    "XDG_STATE_HOME": "state",
    "XDG_DATA_HOME": "data",
    "XDG_RUNTIME_DIR": "run",
    "SECRET_MANAGEMENT_PROJECT": "project",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with nothing in it but the folders; no policy of the machine counts."""
    for name, folder in FOLDERS.items():
        (tmp_path / folder).mkdir(mode=0o700)
        monkeypatch.setenv(name, str(tmp_path / folder))
    (tmp_path / "config" / "secret-management").mkdir()
    monkeypatch.setattr(places, "SYSTEM_POLICY", tmp_path / "etc-policy.yaml")
    monkeypatch.setattr(sealed, "_watchers", [])
    return tmp_path


Make = Callable[[str], Rig]


@pytest.fixture
def make(home: Path) -> Iterator[Make]:
    """Starts a rig with more of an operator's configuration."""
    made: list[Rig] = []

    def _make(more: str = "") -> Rig:
        places.config_file().write_text(CONFIG + more)
        made.append(start(home))
        return made[-1]

    yield _make
    for rig in made:
        rig.runtime.clear()


@pytest.fixture
def rig(make: Make) -> Rig:
    return make("")


@pytest.fixture
def staged(rig: Rig, scene: Scene) -> Rig:
    """A rig with what the scene needs before its plan."""
    scene.before(rig)
    rig.sealed.clear()
    rig.memory.fetched.clear()
    return rig
