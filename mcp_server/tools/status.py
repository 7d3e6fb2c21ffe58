"""``secrets_status``."""

from __future__ import annotations

from mcp.server.mcpserver.tools import Tool

from mcp_server.core.receipts import StatusReceipt
from mcp_server.core.status import status
from mcp_server.engine import Engine
from mcp_server.tools.registration import Hints, in_thread, register

__all__ = ["make"]


def make(engine: Engine) -> Tool:
    """The tool."""

    async def secrets_status() -> StatusReceipt:
        return await in_thread(lambda: status(engine.broker))

    return register(
        engine.guard,
        secrets_status,
        "secrets_status",
        "Secret stores: status",
        "Stores, identity, missing permissions, policy, pending plans. Start here.",
        Hints(read_only=True, search="secret store vault login permissions policy"),
    )
