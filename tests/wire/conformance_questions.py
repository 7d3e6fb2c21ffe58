"""Tools and a prompt that ask the client something, as the MCP conformance suite prescribes.

Clients of 2025-11-25 are asked in the middle of a call; clients of 2026-07-28 get an
``InputRequiredResult`` and call again with the answers. See ``conformance_content``.

(No postponed annotations here: the SDK reads ``Resolve(...)`` at definition.)
"""

from typing import Annotated

from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Resolve, Sample, UserMessage
from mcp.types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    TextContent,
)
from pydantic import BaseModel, Field, JsonValue

__all__ = ["mount"]


def mount(server: MCPServer) -> None:
    """Add them all to a server."""
    for function in (
        test_sampling,
        test_elicitation,
        test_elicitation_sep1034_defaults,
        test_elicitation_sep1330_enums,
        test_missing_capability,
        test_streaming_elicitation,
        test_input_required_result_elicitation,
        test_input_required_result_sampling,
        test_input_required_result_list_roots,
        test_input_required_result_request_state,
        test_input_required_result_multiple_inputs,
        test_input_required_result_multi_round,
        test_input_required_result_tampered_state,
        test_input_required_result_capabilities,
    ):
        server.add_tool(function, structured_output=False)
    server.prompt()(test_input_required_result_prompt)


# --- in the middle of a call (2025-11-25) --------------------------------------------------


class Person(BaseModel):
    """The form of ``test_elicitation``."""

    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


class Defaults(BaseModel):
    """A default of every simple type (SEP-1034)."""

    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: str = Field("active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = True


def _titled(*values: str) -> list[JsonValue]:
    return [{"const": value, "title": value.title()} for value in values]


class Choices(BaseModel):
    """Every way to write a choice (SEP-1330)."""

    untitledSingle: str = Field(json_schema_extra={"enum": ["option1", "option2"]})  # noqa: N815 - prescribed
    titledSingle: str = Field(json_schema_extra={"oneOf": _titled("value1", "value2")})  # noqa: N815 - prescribed
    legacyEnum: str = Field(  # noqa: N815 - prescribed
        json_schema_extra={"enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]}
    )
    untitledMulti: list[str] = Field(  # noqa: N815 - prescribed
        json_schema_extra={"items": {"type": "string", "enum": ["option1", "option2"]}}
    )
    titledMulti: list[str] = Field(  # noqa: N815 - prescribed
        json_schema_extra={"items": {"anyOf": _titled("value1", "value2")}}
    )


async def test_sampling(prompt: str, ctx: Context) -> str:
    """Asks the client's model."""
    result = await ctx.session.create_message(messages=[_spoken(prompt)], max_tokens=100)
    text = result.content.text if isinstance(result.content, TextContent) else ""
    return f"LLM response: {text}"


async def test_elicitation(message: str, ctx: Context) -> str:
    """Asks the user."""
    return await _elicited(ctx, message, Person)


async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
    """Asks with defaults."""
    return await _elicited(ctx, "Please provide user information", Defaults)


async def test_elicitation_sep1330_enums(ctx: Context) -> str:
    """Asks with choices."""
    return await _elicited(ctx, "Please select", Choices)


async def _elicited(ctx: Context, message: str, form: type[BaseModel]) -> str:
    answer = await ctx.elicit(message, form)
    content = answer.data.model_dump_json() if answer.action == "accept" else "{}"
    return f"Elicitation completed: action={answer.action}, content={content}"


# --- by calling again (2026-07-28) ---------------------------------------------------------


def _ask_model() -> Sample:
    return Sample([_spoken("What is the capital of France?")], max_tokens=100)


async def test_missing_capability(
    answer: Annotated[CreateMessageResult, Resolve(_ask_model)],
) -> str:
    """Needs sampling: a client that did not declare it gets the prescribed error."""
    return f"Answered by {answer.model}."


async def test_streaming_elicitation(ctx: Context) -> str | InputRequiredResult:
    """Asks without sending a request of its own on the response's stream."""
    return _missing(ctx, confirm=_form("Please confirm", ok="boolean")) or "Confirmed."


async def test_input_required_result_elicitation(ctx: Context) -> str | InputRequiredResult:
    """Asks the user."""
    asked = _missing(ctx, user_name=_form("What is your name?", name="string"))
    return asked or f"Hello, {_text(ctx, 'user_name')}!"


async def test_input_required_result_sampling(ctx: Context) -> str | InputRequiredResult:
    """Asks the client's model."""
    asked = _missing(ctx, capital_question=_model("What is the capital of France?"))
    return asked or f"It said: {_text(ctx, 'capital_question')}"


async def test_input_required_result_list_roots(ctx: Context) -> str | InputRequiredResult:
    """Asks for the client's roots."""
    asked = _missing(ctx, client_roots=ListRootsRequest())
    return asked or f"Roots: {_text(ctx, 'client_roots')}"


async def test_input_required_result_request_state(ctx: Context) -> str | InputRequiredResult:
    """Asks, and checks the state that comes back."""
    asked = _missing(ctx, "first", confirm=_form("Please confirm", ok="boolean"))
    return asked or ("state-ok" if ctx.request_state == "first" else "state lost")


async def test_input_required_result_multiple_inputs(ctx: Context) -> str | InputRequiredResult:
    """Asks three things at once."""
    asked = _missing(
        ctx,
        "all",
        user_name=_form("What is your name?", name="string"),
        greeting=_model("Generate a greeting"),
        client_roots=ListRootsRequest(),
    )
    return asked or "All answered."


async def test_input_required_result_multi_round(ctx: Context) -> str | InputRequiredResult:
    """Asks twice, with another state each time."""
    if ctx.request_state != "second":
        first = _form("Step 1: What is your name?", name="string")
        if asked := _missing(ctx, "first", step1=first):
            return asked
    second = _form("Step 2: What is your favorite color?", color="string")
    return _missing(ctx, "second", step2=second) or "Both answered."


async def test_input_required_result_tampered_state(ctx: Context) -> str | InputRequiredResult:
    """Asks, with a state that the server seals."""
    return _missing(ctx, "sealed", confirm=_form("Please confirm", ok="boolean")) or "Confirmed."


async def test_input_required_result_capabilities(ctx: Context) -> str | InputRequiredResult:
    """Asks only what the client declares that it can answer."""
    declared = ctx.client_capabilities
    questions: dict[str, InputRequest] = {}
    if declared and declared.sampling:
        questions["greeting"] = _model("Generate a greeting")
    if declared and declared.elicitation:
        questions["user_name"] = _form("What is your name?", name="string")
    return _missing(ctx, None, **questions) or "Answered."


async def test_input_required_result_prompt(
    ctx: Context,
) -> list[UserMessage] | InputRequiredResult:
    """A prompt that asks."""
    question = _form("What context should the prompt use?", context="string")
    asked = _missing(ctx, user_context=question)
    text = "" if asked else f"Use this context: {_text(ctx, 'user_context')}"
    return asked or [UserMessage(content=TextContent(type="text", text=text))]


def _missing(
    ctx: Context, state: str | None = None, **questions: InputRequest
) -> InputRequiredResult | None:
    """The questions without an answer of the right kind, or None when all are answered."""
    answers = ctx.input_responses or {}
    left = {name: question for name, question in questions.items() if name not in answers}
    return InputRequiredResult(input_requests=left, request_state=state) if left else None


def _text(ctx: Context, name: str) -> str:
    return (ctx.input_responses or {})[name].model_dump_json()


def _form(message: str, **fields: str) -> ElicitRequest:
    schema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in fields.items()},
        "required": list(fields),
    }
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _model(question: str) -> CreateMessageRequest:
    params = CreateMessageRequestParams(messages=[_spoken(question)], max_tokens=100)
    return CreateMessageRequest(params=params)


def _spoken(text: str) -> SamplingMessage:
    return SamplingMessage(role="user", content=TextContent(type="text", text=text))
