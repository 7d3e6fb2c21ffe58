"""What a client is shown: names, order, hints, closed schemas, and how many bytes it costs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mcp_server.core.generate import Recipe
from mcp_server.core.model import RemovalMode
from mcp_server.core.sources import FileFormat
from tests.wire.conftest import ERAS, Connect

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("era", ERAS)]

NAMES = [
    "secrets_status",
    "secrets_list",
    "secrets_read",
    "secrets_write",
    "secrets_delete",
    "secrets_apply",
]
MODEL_VISIBLE_LIMIT = 4_608
WHOLE_LIMIT = 10_240
LONGEST_NAME = 25


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def _tools(connect: Connect, era: str) -> list[dict[str, Any]]:
    async with connect(era) as client:
        listed = (await client.list_tools()).tools
    return [tool.model_dump(by_alias=True, exclude_none=True, mode="json") for tool in listed]


def _size(value: object) -> int:
    return len(json.dumps(value, separators=(",", ":")).encode())


async def test_the_tools_come_in_a_fixed_order_with_short_names(connect: Connect, era: str) -> None:
    names = [tool["name"] for tool in await _tools(connect, era)]
    assert names == NAMES
    assert max(map(len, names)) <= LONGEST_NAME


async def test_tools_list_stays_within_its_limits(connect: Connect, era: str) -> None:
    tools = await _tools(connect, era)
    visible = [{key: tool[key] for key in ("name", "description", "inputSchema")} for tool in tools]
    assert _size(visible) <= MODEL_VISIBLE_LIMIT
    assert _size(tools) <= WHOLE_LIMIT


async def test_every_tool_has_a_title_all_four_hints_and_both_schemas(
    connect: Connect, era: str
) -> None:
    for tool in await _tools(connect, era):
        hints = tool["annotations"]
        assert tool["title"] == hints["title"]
        assert {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"} <= set(hints)
        assert tool["outputSchema"]["type"] == "object"


async def test_every_input_schema_is_closed_and_bounded(connect: Connect, era: str) -> None:
    checked = 0
    for tool in await _tools(connect, era):
        schema = tool["inputSchema"]
        assert schema["additionalProperties"] is False
        nested = schema.get("$defs", {}).values()
        assert all(each["additionalProperties"] is False for each in nested)
        for shape in (schema, *nested):
            for name, field in shape.get("properties", {}).items():
                assert _bounded(field), (tool["name"], name)
                checked += 1
    assert checked > 20


def _bounded(field: dict[str, Any]) -> bool:
    match field.get("type"):
        case "string":
            return bool({"maxLength", "enum", "pattern"} & field.keys())
        case "array":
            return "maxItems" in field
        case "integer":
            return {"minimum", "maximum"} <= field.keys()
        case "boolean":
            return True
    return False


async def test_only_apply_forces_a_prompt(connect: Connect, era: str) -> None:
    forced = [
        tool["name"]
        for tool in await _tools(connect, era)
        if tool["_meta"].get("anthropic/requiresUserInteraction") is True
    ]
    assert forced == ["secrets_apply"]


async def test_reading_tools_say_they_change_nothing(connect: Connect, era: str) -> None:
    read_only = [t["name"] for t in await _tools(connect, era) if t["annotations"]["readOnlyHint"]]
    assert read_only == ["secrets_status", "secrets_list", "secrets_read"]


async def test_no_parameter_is_named_like_a_value(connect: Connect, era: str) -> None:
    """P2, in the schema: nothing invites one, and no flag reveals one."""
    wanted = {"value", "values", "data", "secret", "password", "content", "reveal", "show", "raw"}
    names = {
        name
        for tool in await _tools(connect, era)
        for shape in (tool["inputSchema"], *tool["inputSchema"].get("$defs", {}).values())
        for name in shape.get("properties", {})
    }
    assert len(names) > 15
    assert not names & wanted


async def test_the_instructions_begin_with_the_rule(connect: Connect, era: str) -> None:
    async with connect(era) as client:
        instructions = client.instructions
    assert instructions is not None
    assert "no secret value ever appears" in instructions[:300]
    assert len(instructions) <= 2_048


async def test_the_choices_of_the_schema_are_those_of_the_core(connect: Connect, era: str) -> None:
    tools = {tool["name"]: tool["inputSchema"] for tool in await _tools(connect, era)}
    key = tools["secrets_write"]["$defs"]["KeySource"]["properties"]
    assert key["generate"]["enum"] == list(Recipe)
    assert tools["secrets_write"]["properties"]["format"]["enum"] == list(FileFormat)
    assert tools["secrets_delete"]["properties"]["mode"]["enum"] == list(RemovalMode)
