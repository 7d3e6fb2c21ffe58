"""How a function becomes a tool: closed schemas, hidden input, all hints set, errors mapped.

The SDK's defaults are not ours: it ignores unknown arguments, echoes rejected input in its
validation errors, and fills schemas with titles. This is the one place that changes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Self, TypeVar, cast

import anyio
import anyio.to_thread
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import ConfigDict, Field, PrivateAttr

from mcp_server.core.guard import Guard
from mcp_server.core.incidents import contain

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


class _Heard(Tool):
    """A tool whose arguments the egress guard hears before anything else happens."""

    _guard: Guard = PrivateAttr()

    def heard_by(self, guard: Guard) -> Self:
        """Itself, with its guard."""
        self._guard = guard
        return self

    async def run(
        self,
        arguments: dict[str, Any],
        context: Context[Any, Any],
        convert_result: bool = False,  # noqa: FBT001, FBT002 - the SDK's signature, as its types
    ) -> Any:  # noqa: ANN401 - as above
        """Run it."""
        self._guard.hear(_text(arguments))
        return await super().run(arguments, context, convert_result)


def register(  # noqa: PLR0913, PLR0917 - what a tool consists of
    guard: Guard,
    function: Callable[..., object],
    name: str,
    title: str,
    description: str,
    hints: Hints,
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
    made = cast(
        "_Heard",  # the SDK says Tool of what is its class
        _Heard.from_function(
            function,
            name=name,
            title=title,
            description=description,
            annotations=annotations,
            meta=meta,
            structured_output=True,
        ),
    )
    _close(made)
    return made.heard_by(guard)


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
    except Exception as error:  # noqa: BLE001 - the boundary to the client
        raise ToolError(str(contain(error))) from None


def _text(arguments: dict[str, object]) -> bytes:
    """Every text in the arguments, those of one field together: in their order, then sorted.

    So come names back in results; the guard would find what two of them form side by side.
    """
    fields: dict[str, list[str]] = {}
    rest: list[tuple[str, object]] = [("", arguments)]
    while rest:
        field, node = rest.pop()
        if isinstance(node, dict):
            rest += reversed(node.items())
        elif isinstance(node, list):
            rest += [(field, each) for each in reversed(node)]
        elif isinstance(node, str):
            fields.setdefault(field, []).append(node)
    lines = [text for texts in fields.values() for text in (*texts, *sorted(texts))]
    return "\n".join([*lines, *fields]).encode("utf-8", "surrogatepass")


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
