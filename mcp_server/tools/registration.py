"""How a function becomes a tool: closed schemas, hidden input, all hints set, errors mapped.

The SDK's defaults are not ours: it ignores unknown arguments, echoes rejected input in its
validation errors, and fills schemas with titles. This is the one place that changes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

import anyio
import anyio.to_thread
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import ConfigDict, Field

from mcp_server.core.errors import SecretsError
from mcp_server.core.incidents import report

__all__ = ["Hints", "Reference", "Text", "in_thread", "refusing", "register"]

Result = TypeVar("Result")
_WORKERS = 16
_limiter: list[anyio.CapacityLimiter] = []

Reference = Annotated[str, Field(max_length=1024, pattern=r"^[@a-z][^\s]*$")]
Text = Annotated[str, Field(max_length=256)]


@dataclass(frozen=True, slots=True)
class Hints:
    """What a client may assume about a tool; every hint is always set.

    Attributes:
        read_only: Changes nothing.
        destructive: May take something away.
        ask: A person is asked every time by clients that honour it.
        search: Words by which a client's tool search finds it.
    """

    read_only: bool = False
    destructive: bool = False
    ask: bool = False
    search: str = ""


def register(
    function: Callable[..., object], name: str, title: str, description: str, hints: Hints
) -> Tool:
    """Make a tool of ``function``; its parameters are the schema, its return type the output's."""
    annotations = ToolAnnotations(
        title=title,
        read_only_hint=hints.read_only,
        destructive_hint=hints.destructive,
        idempotent_hint=hints.read_only,
        open_world_hint=True,
    )
    meta: dict[str, object] = {"anthropic/searchHint": hints.search}
    if hints.ask:
        meta["anthropic/requiresUserInteraction"] = True
    tool = Tool.from_function(
        function,
        name=name,
        title=title,
        description=description,
        annotations=annotations,
        meta=meta,
        structured_output=True,
    )
    _close(tool)
    return tool


async def in_thread(call: Callable[[], Result]) -> Result:
    """Run a broker call in one of our own worker threads, and map what it raises.

    The transport reads and writes in the default pool; a hung store must not use it up. A
    cancelled call is abandoned: its thread ends with the store's time-out.
    """
    if not _limiter:
        _limiter.append(anyio.CapacityLimiter(_WORKERS))
    return await anyio.to_thread.run_sync(
        lambda: refusing(call), limiter=_limiter[0], abandon_on_cancel=True
    )


def refusing(call: Callable[[], Result]) -> Result:
    """Call, and raise what the model may read: code, sentence, next step; else an incident."""
    try:
        return call()
    except SecretsError as error:
        raise ToolError(str(error)) from None
    except Exception as error:  # noqa: BLE001 - the boundary to the client
        raise ToolError(str(report(error))) from None


def _close(tool: Tool) -> None:
    model = tool.fn_metadata.arg_model
    model.model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True
    )
    model.model_rebuild(force=True)
    tool.parameters = _small(model.model_json_schema(by_alias=True))
    tool.fn_metadata.output_schema = _small(tool.fn_metadata.output_schema or {})


def _small(schema: dict[str, object]) -> dict[str, object]:
    """Without what a model pays for and does not need: titles, docstrings, empty defaults."""
    kept = {key: value for key, value in schema.items() if not _superfluous(key, value)}
    return _nullable({key: _small_node(value) for key, value in kept.items()})


def _superfluous(key: str, value: object) -> bool:
    if key in {"title", "description"}:
        return isinstance(value, str)  # a property of that name is a schema, not text
    return key == "default" and not value


def _nullable(schema: dict[str, object]) -> dict[str, object]:
    """``{"type": [T, "null"]}`` for the longer form of an optional simple type."""
    match schema.get("anyOf"):
        case [{"type": str() as kind, **nothing}, {"type": "null"}] if not nothing:
            rest = {key: value for key, value in schema.items() if key != "anyOf"}
            return {**rest, "type": [kind, "null"]}
    return schema


def _small_node(node: object) -> object:
    if isinstance(node, dict):
        return _small(node)
    if isinstance(node, list):
        return [_small_node(each) for each in node]
    return node
