"""``secrets_list``."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from mcp_server.core.receipts import ListReceipt
from mcp_server.engine import Engine
from mcp_server.tools.registration import Hints, Reference, in_thread, register

__all__ = ["make"]


def make(engine: Engine) -> Tool:
    """The tool."""

    async def secrets_list(
        prefix: Reference = "local://",
        *,
        details: bool = False,
        cursor: Annotated[str, Field(max_length=2048)] = "",
        limit: Annotated[int, Field(ge=1, le=1000)] = 100,
    ) -> ListReceipt:
        return await in_thread(
            lambda: engine.broker.list_names(
                prefix, cursor=cursor or None, limit=limit, details=details
            )
        )

    return register(
        engine.guard,
        secrets_list,
        "secrets_list",
        "Secrets: list names",
        "Names below a prefix such as vault://secret/app; details adds version, age and owner.",
        Hints(read_only=True, search="list secrets names folders"),
    )
