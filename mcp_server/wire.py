"""The outgoing stream of the server: every frame passes the guard or is replaced by an error."""

from __future__ import annotations

import json
import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mcp_server.core.durable import write_all
from mcp_server.core.errors import EgressBlockedError

if TYPE_CHECKING:
    from mcp_server.core.guard import Guard

__all__ = ["GuardedWire"]

MAX_WITHHELD: Final = 5
# What a pipe that is ready for writing takes at once, less what a replacement may add
# (https://docs.python.org/3/library/select.html#select.PIPE_BUF). A ready socket takes more: 2,048
# bytes on BSD and macOS, where PIPE_BUF is 512; on Linux a part of its buffer.
_SHORT: Final = select.PIPE_BUF - 256


class GuardedWire:
    """Takes the place of the SDK's text stream over standard output.

    So it sees the exact bytes of results, errors, notifications and requests of both protocol
    eras. That a frame was withheld is a signal about a value, so it is counted and journaled, and
    after five nothing leaves any more (promise P1b): the person restarts the server.

    Args:
        descriptor: Where frames go.
        guard: Knows the values.
        on_withheld: Called for each frame withheld, before its replacement is sent.
    """

    def __init__(self, descriptor: int, guard: Guard, on_withheld: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._guard = guard
        self._on_withheld = on_withheld
        self._withheld = 0
        self._frame = b""
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)

    async def write(self, text: str) -> None:
        """Take one frame with its line end."""
        self._frame += text.encode()

    async def flush(self) -> None:
        """Check and send it, in a thread if it is long or would wait for the reader.

        A full pipe must not stop the event loop; a thread costs more than a short frame.
        """
        import anyio.to_thread  # noqa: PLC0415 - loaded with the SDK, not with this module

        frame, self._frame = self._frame, b""
        if len(frame) <= _SHORT and self._room.poll(0):
            self._send(frame)
        else:
            await anyio.to_thread.run_sync(self._send, frame)

    def _send(self, frame: bytes) -> None:
        if self._withheld >= MAX_WITHHELD or self._guard.check(frame).blocked:
            frame = self._replacement(frame)
        write_all(self._descriptor, frame)

    def _replacement(self, frame: bytes) -> bytes:
        """An error for the frame's request; nothing for a notification."""
        self._withheld += 1
        self._on_withheld()
        identifier = json.loads(frame).get("id")
        if identifier is None:
            return b""
        error = {"code": -32603, "message": str(EgressBlockedError())}
        answer = {"jsonrpc": "2.0", "id": identifier, "error": error}
        text = json.dumps(answer).encode() + b"\n"
        return b"" if self._guard.check(text).blocked else text
