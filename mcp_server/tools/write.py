"""``secrets_write``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, NotRequired

from mcp.server.mcpserver.tools import Tool
from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from mcp_server.core.generate import Recipe
from mcp_server.core.receipts import ChangeReceipt
from mcp_server.core.requests import KeyRequest, WriteRequest
from mcp_server.core.sources import FileFormat
from mcp_server.engine import Engine
from mcp_server.tools.registration import Hints, Reference, Text, in_thread, register

__all__ = ["make"]

_Recipe = Literal[
    "password",
    "alphanumeric",
    "passphrase",
    "token",
    "hex",
    "base64",
    "uuid",
    "ssh-ed25519",
    "rsa",
    "ec-p256",
    "age",
]
_Path = Annotated[str, Field(max_length=1024)]


class KeySource(TypedDict):
    """One key and its one source. There is no field for a value."""

    __pydantic_config__ = ConfigDict(extra="forbid", hide_input_in_errors=True)  # type: ignore[misc]  # read by pydantic

    key: Text
    generate: NotRequired[_Recipe]
    length: NotRequired[Annotated[int, Field(ge=1, le=4096)]]
    copy: NotRequired[Reference]
    file: NotRequired[_Path]
    part: NotRequired[Text]
    env: NotRequired[Text]
    version: NotRequired[Text]


def make(engine: Engine) -> Tool:
    """The tool."""

    async def secrets_write(  # noqa: PLR0913 - the tool's parameters
        target: Reference,
        keys: Annotated[Sequence[KeySource], Field(max_length=512)] = (),
        *,
        from_file: _Path = "",
        format: Literal["auto", "env", "json", "yaml", "raw"] = "auto",  # noqa: A002 - tool name
        copy_from: Annotated[str, Field(max_length=1024)] = "",
        remove: Annotated[Sequence[Text], Field(max_length=512)] = (),
        replace: bool = False,
        owner: Text = "",
        schedule: Text = "",
        consumers: Annotated[Sequence[Text], Field(max_length=32)] = (),
    ) -> ChangeReceipt:
        request = WriteRequest(
            target,
            tuple(_key(each) for each in keys),
            from_file or None,
            FileFormat(format),
            copy_from or None,
            tuple(remove),
            replace=replace,
            owner=owner or None,
            schedule=schedule or None,
            consumers=tuple(consumers),
        )
        return await in_thread(lambda: engine.broker.write(request))

    return register(
        engine.guard,
        secrets_write,
        "secrets_write",
        "Secret: plan a write",
        "Create or update a secret, or deliver to runtime://NAME. Never takes a value: each key "
        "has one source: generate (+length), copy (reference), file (+part: key or JSON pointer "
        "inside), env (variable), version (older). from_file and copy_from take all keys. "
        "Returns a receipt, or a plan for secrets_apply.",
        Hints(search="create update set store import generate secret password key .env"),
    )


def _key(source: KeySource) -> KeyRequest:
    recipe = source.get("generate")
    return KeyRequest(
        source["key"],
        None if recipe is None else Recipe(recipe),
        source.get("length"),
        source.get("copy"),
        source.get("file"),
        source.get("part"),
        source.get("env"),
        source.get("version"),
    )
