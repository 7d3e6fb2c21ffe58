"""A hung store does not freeze the server."""

from __future__ import annotations

import threading

import anyio
import pytest

from mcp_server.core.model import Description
from mcp_server.core.refs import Ref
from mcp_server.engine import Engine
from tests.wire.conftest import ERAS, Connect, call

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("era", ERAS)]
HANGING = 60  # more than the transport's own pool of 40 threads


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_other_requests_are_answered_while_a_store_hangs(
    connect: Connect, era: str, running: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = running.stores.open(Ref("memory", "x"))
    release, entered = threading.Event(), threading.Event()
    real = store._describe

    def hanging(ref: Ref) -> Description:
        entered.set()
        release.wait(30)
        return real(ref)

    monkeypatch.setattr(store, "_describe", hanging)
    async with connect(era) as client, anyio.create_task_group() as group:
        for number in range(HANGING):
            group.start_soon(lambda n=number: call(client, "secrets_read", ref=f"memory://a/{n}"))
        with anyio.fail_after(10):
            await anyio.to_thread.run_sync(entered.wait)
            assert len((await client.list_tools()).tools) == 6
        release.set()
