"""``secrets_delete``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from mcp_server.core.model import RemovalMode
from mcp_server.core.receipts import ChangeReceipt
from mcp_server.core.requests import DeleteRequest
from mcp_server.engine import Engine
from mcp_server.tools.registration import Hints, Reference, Text, in_thread, register

__all__ = ["make"]


def make(engine: Engine) -> Tool:
    """The tool."""

    async def secrets_delete(
        target: Reference,
        mode: Literal["delete", "restore", "destroy", "erase"] = "delete",
        versions: Annotated[Sequence[Text], Field(max_length=100)] = (),
    ) -> ChangeReceipt:
        request = DeleteRequest(target, RemovalMode(mode), tuple(versions))
        return await in_thread(lambda: engine.broker.delete(request))

    return register(
        engine.guard,
        secrets_delete,
        "secrets_delete",
        "Secret: plan a removal",
        "Plan to delete (restorable), restore, destroy versions, or erase a secret for good. "
        "To drop single keys use secrets_write remove.",
        Hints(destructive=True, search="delete remove restore undelete destroy secret"),
    )
