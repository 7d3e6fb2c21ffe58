"""``secrets_read``."""

from __future__ import annotations

from mcp.server.mcpserver.tools import Tool

from mcp_server.core.receipts import DescribeReceipt
from mcp_server.engine import Engine
from mcp_server.tools.registration import Hints, Reference, in_thread, register

__all__ = ["make"]


def make(engine: Engine) -> Tool:
    """The tool."""

    async def secrets_read(ref: Reference) -> DescribeReceipt:
        return await in_thread(lambda: engine.broker.read(ref))

    return register(
        engine.guard,
        secrets_read,
        "secrets_read",
        "Secret: describe",
        "Describe a secret: keys, versions, age, owner, consumers. Never its values; "
        "to use one, run `secrets run --env NAME=REF -- CMD`.",
        Hints(read_only=True, search="read get show describe secret keys versions"),
    )
