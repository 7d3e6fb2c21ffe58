"""The tools: one file each, which turns arguments into one call of the broker."""

from __future__ import annotations

from mcp.server.mcpserver.tools import Tool

from mcp_server.engine import Engine
from mcp_server.tools import apply, delete, list_names, read, status, write

__all__ = ["build"]


def build(engine: Engine) -> list[Tool]:
    """Every tool, in a fixed order (clients cache the prompt by it)."""
    makers = (status, list_names, read, write, delete, apply)
    return [maker.make(engine) for maker in makers]
