"""A client that does not read stops its own answers only: the server goes on and loses nothing."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress

import anyio
import pytest
from anyio.lowlevel import checkpoint

from mcp_server.core.guard import Guard
from mcp_server.wire import GuardedWire

pytestmark = pytest.mark.anyio
FRAMES = [
    f'{{"id":{number},"result":"{"x" * size}"}}\n'
    for number, size in enumerate([10, 900, 1_900, 5_000, 200_000] * 30)
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _socket_pair() -> tuple[int, int]:
    reader, writer = socket.socketpair()
    return reader.detach(), writer.detach()


@pytest.mark.parametrize("connected", [os.pipe, _socket_pair], ids=["pipe", "socket"])
async def test_the_loop_runs_while_nobody_reads_and_every_frame_arrives_in_order(
    connected: Callable[[], tuple[int, int]],
) -> None:
    reader, writer = connected()
    wire = GuardedWire(writer, Guard(), lambda: None)
    room = select.poll()
    room.register(writer, select.POLLOUT)

    async def write_all() -> None:
        for frame in FRAMES:
            await wire.write(frame)
            await wire.flush()
        os.close(writer)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(write_all)
            while room.poll(0):
                await checkpoint()
            with os.fdopen(reader, "rb") as received:
                text = await anyio.to_thread.run_sync(received.read)
    assert text == "".join(FRAMES).encode()


async def test_a_short_frame_after_a_full_pipe_waits_in_a_thread() -> None:
    """The frame that fills a pipe up is short; the one after it is, too."""
    reader, writer = os.pipe()
    wire = GuardedWire(writer, Guard(), lambda: None)
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while os.write(writer, b"." * 512):
            pass
    os.set_blocking(writer, True)
    turns = 0

    async def answer() -> None:
        await wire.write('{"id":1,"result":{}}\n')
        await wire.flush()
        os.close(writer)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(answer)
            for _ in range(20):
                await checkpoint()
                turns += 1
            with os.fdopen(reader, "rb") as received:
                text = await anyio.to_thread.run_sync(received.read)
    assert turns == 20
    assert text.lstrip(b".") == b'{"id":1,"result":{}}\n'
