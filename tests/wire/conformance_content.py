"""Tools, resources and prompts that the MCP conformance suite asks a server for by name.

What each returns is prescribed by the suite's scenario descriptions
(https://github.com/modelcontextprotocol/conformance). They exist only here; mounting them on our
own server makes the suite exercise its transport, limits and error mapping.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.types import (
    AudioContent,
    Completion,
    EmbeddedResource,
    ImageContent,
    TextContent,
    TextResourceContents,
)

if TYPE_CHECKING:
    from mcp.server import MCPServer

__all__ = ["mount"]

_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)
_WAV = base64.b64encode(
    b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"
    b"\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00"
).decode()


def mount(server: MCPServer) -> None:
    """Add them all to a server."""
    for function in (
        test_simple_text,
        test_image_content,
        test_audio_content,
        test_embedded_resource,
        test_multiple_content_types,
        test_tool_with_logging,
        test_logging_tool,
        test_tool_with_progress,
        test_error_handling,
    ):
        server.add_tool(function, structured_output=False)
    _mount_changes(server)
    _mount_resources(server)
    _mount_prompts(server)


def _mount_changes(server: MCPServer) -> None:
    """Tools that change a list and say so to those who listen."""

    async def test_trigger_tool_change(ctx: Context) -> str:
        """Add a tool and take it away."""
        server.add_tool(test_simple_text, name="test_added")
        server.remove_tool("test_added")
        await ctx.notify_tools_changed()
        return "Changed."

    async def test_trigger_prompt_change(ctx: Context) -> str:
        """Add a prompt and take it away."""
        server.prompt("test_added")(test_simple_prompt)
        server.remove_prompt("test_added")
        await ctx.notify_prompts_changed()
        return "Changed."

    server.add_tool(test_trigger_tool_change, structured_output=False)
    server.add_tool(test_trigger_prompt_change, structured_output=False)


def _mount_resources(server: MCPServer) -> None:
    server.resource("test://static-text", mime_type="text/plain")(static_text)
    server.resource("test://static-binary", mime_type="image/png")(static_binary)
    server.resource("test://template/{id}/data", mime_type="application/json")(template)
    server.resource("test://watched-resource", mime_type="text/plain")(watched)


def _mount_prompts(server: MCPServer) -> None:
    for function in (
        test_simple_prompt,
        test_prompt_with_arguments,
        test_prompt_with_embedded_resource,
        test_prompt_with_image,
    ):
        server.prompt()(function)
    server.completion()(complete)  # type: ignore[no-untyped-call]  # the SDK left it bare


def test_simple_text() -> str:
    """Text."""
    return "This is a simple text response for testing."


def test_image_content() -> list[ImageContent]:
    """An image."""
    return [ImageContent(type="image", data=_PNG, mime_type="image/png")]


def test_audio_content() -> list[AudioContent]:
    """A sound."""
    return [AudioContent(type="audio", data=_WAV, mime_type="audio/wav")]


def test_embedded_resource() -> list[EmbeddedResource]:
    """A resource inside a result."""
    text = "This is an embedded resource content."
    return [_embedded("test://embedded-resource", "text/plain", text)]


def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
    """Three kinds in one result."""
    data = json.dumps({"test": "data", "value": 123})
    return [
        TextContent(type="text", text="Multiple content types test:"),
        ImageContent(type="image", data=_PNG, mime_type="image/png"),
        _embedded("test://mixed-content-resource", "application/json", data),
    ]


async def test_tool_with_logging(ctx: Context) -> str:
    """Three log notifications, for clients of the older revision."""
    for event in ("started", "processing data", "completed"):
        verb = "Tool " if event == "processing data" else "Tool execution "
        await ctx.info(verb + event)
    return "Logged."


async def test_logging_tool(ctx: Context) -> str:
    """One log notification, which must not be sent to a client that set no level."""
    await ctx.info("Tool execution started")
    return "Logged."


async def test_tool_with_progress(ctx: Context) -> str:
    """Three progress notifications."""
    for done in (0, 50, 100):
        await ctx.report_progress(done, 100)
    return "Done."


def test_error_handling() -> str:
    """An error that nobody foresaw."""
    message = "This tool intentionally returns an error for testing"
    raise RuntimeError(message)


def static_text() -> str:
    """A text."""
    return "This is the content of the static text resource."


def static_binary() -> bytes:
    """An image."""
    return base64.b64decode(_PNG)


def template(id: str) -> str:  # noqa: A002 - the parameter's name in the prescribed address
    """A template."""
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


def watched() -> str:
    """A text that clients subscribe to."""
    return "Watched resource content."


def test_simple_prompt() -> list[UserMessage]:
    """No arguments."""
    return [_user("This is a simple prompt for testing.")]


def test_prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
    """Two arguments."""
    return [_user(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")]


def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803 - prescribed
    """A resource inside a message."""
    text = "Embedded resource content for testing."
    return [
        UserMessage(content=_embedded(resourceUri, "text/plain", text)),
        _user("Please process the embedded resource above."),
    ]


def test_prompt_with_image() -> list[UserMessage]:
    """An image inside a message."""
    return [
        UserMessage(content=ImageContent(type="image", data=_PNG, mime_type="image/png")),
        _user("Please analyze the image above."),
    ]


async def complete(reference: object, argument: object, context: object) -> Completion:
    """No suggestion, correctly."""
    del reference, argument, context
    return Completion(values=[], total=0, has_more=False)


def _user(text: str) -> UserMessage:
    return UserMessage(content=TextContent(type="text", text=text))


def _embedded(uri: str, kind: str, text: str) -> EmbeddedResource:
    contents = TextResourceContents(uri=uri, mime_type=kind, text=text)
    return EmbeddedResource(type="resource", resource=contents)
