"""The whole way: an MCP client plans and applies, and the real OpenBao holds the result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mcp import Client

from mcp_server import engine, server
from mcp_server.core import sealed
from tests.servers.openbao import Bao, inmem_bao
from tests.wire.conftest import Person, agreed, call

pytestmark = [pytest.mark.openbao, pytest.mark.anyio]

CONFIG = """\
stores:
  team:
    backend: vault
    address: {address}
    mounts: {{secret: 2, team/kv: 1}}
    auth: {{method: token, file: {token}}}
defaults: {{vault: team}}
"""


@pytest.fixture(scope="module")
def bao() -> Iterator[Bao]:
    with inmem_bao() as running:
        running.mount_kv("secret", 2)
        running.mount_kv("team/kv", 1)
        yield running


@pytest.fixture
def running(bao: Bao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[engine.Engine]:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
        (tmp_path / name).mkdir(mode=0o700)
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("SECRET_MANAGEMENT_PROJECT", str(tmp_path))
    monkeypatch.setattr(sealed, "_watchers", [])
    (tmp_path / "token").write_text(bao.root_token)
    folder = tmp_path / "XDG_CONFIG_HOME" / "secret-management"
    folder.mkdir()
    text = CONFIG.format(address=bao.address, token=tmp_path / "token")
    (folder / "config.yaml").write_text(text)
    started = engine.start()
    yield started
    started.stop()


@pytest.mark.parametrize("mount", ["secret", "team/kv"])
async def test_a_generated_secret_is_planned_approved_written_and_described(
    bao: Bao, running: engine.Engine, mount: str
) -> None:
    target = f"vault://{mount}/app/db"
    person = Person()
    mcp = server.create_server(running)
    async with Client(mcp, elicitation_callback=person) as client:
        plan = await call(
            client,
            "secrets_write",
            target=target,
            keys=[{"key": "password", "generate": "password"}],
        )
        done = await call(client, "secrets_apply", **agreed(plan))
        described = await call(client, "secrets_read", ref=target)
        listing = await call(client, "secrets_list", prefix=f"vault://{mount}/app")

    assert done["state"] == "done"
    assert len(person.asked) == 1
    stored = bao.api("GET", f"{mount}/{'data/' if mount == 'secret' else ''}app/db")["data"]
    password = (stored.get("data") or stored)["password"]
    assert len(password) >= 16
    for shown in (plan, done, described, listing):
        assert password not in str(shown)
        assert bao.root_token not in str(shown)
    assert "db" in str(listing)
    assert ("no compare-and-set" in str(plan)) == (mount == "team/kv")
