"""An engine in an empty home and a client of either protocol era, in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, types

from mcp_server import engine, server
from mcp_server.core import sealed

CONFIG = """\
stores:
  mem: {backend: memory}
policy:
  rules:
    - {effect: allow, verbs: [create], match: "memory://dev/**"}
    - {effect: deny, verbs: [erase], match: "memory://kept/**"}
  critical: ["memory://crown/**"]
"""
ERAS = ("auto", "legacy")


@dataclass
class Person:
    """Answers forms; remembers what was asked."""

    action: str = "accept"
    content: dict[str, Any] | None = field(default_factory=lambda: {"approve": True})
    asked: list[str] = field(default_factory=list)

    async def __call__(
        self, context: object, params: types.ElicitRequestFormParams
    ) -> types.ElicitResult:
        del context
        self.asked.append(params.message)
        return types.ElicitResult(action=self.action, content=self.content)  # type: ignore[arg-type]


Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, folder in {
        "HOME": "home",
        "XDG_CONFIG_HOME": "config",
        "XDG_STATE_HOME": "state",
        "XDG_DATA_HOME": "data",
        "XDG_RUNTIME_DIR": "run",
        "SECRET_MANAGEMENT_PROJECT": "project",
    }.items():
        (tmp_path / folder).mkdir(mode=0o700)
        monkeypatch.setenv(name, str(tmp_path / folder))
    (tmp_path / "config" / "secret-management").mkdir()
    (tmp_path / "config" / "secret-management" / "config.yaml").write_text(CONFIG)
    monkeypatch.setattr(sealed, "_watchers", [])
    return tmp_path


@pytest.fixture
def running(home: Path) -> Iterator[engine.Engine]:
    del home
    started = engine.start()
    yield started
    started.stop()


@pytest.fixture
def connect(running: engine.Engine) -> Connect:
    """Opens a client: an era, who answers forms, and as what it introduces itself."""
    mcp = server.create_server(running)

    @asynccontextmanager
    async def _connect(
        era: str, person: Person | None = None, client: str = "test/1.0.0"
    ) -> AsyncIterator[Client]:
        name, _, version = client.partition("/")
        info = types.Implementation(name=name, version=version)
        async with Client(
            mcp,
            mode=era,  # type: ignore[arg-type]
            elicitation_callback=person,
            client_info=info,
        ) as connected:
            yield connected

    return _connect


async def call(client: Client, tool: str, **arguments: object) -> dict[str, Any]:
    """Call a tool that must succeed; its structured content."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content


async def refusal(client: Client, tool: str, **arguments: object) -> str:
    """Call a tool that must be refused; what it says."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.structured_content
    return "".join(block.text for block in result.content if isinstance(block, types.TextContent))


def agreed(receipt: dict[str, Any]) -> dict[str, Any]:
    """The arguments of ``secrets_apply`` for a planned receipt."""
    assert receipt["state"] == "planned"
    return {name: receipt[name] for name in ("plan", "change", "affects")}
