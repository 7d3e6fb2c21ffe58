"""An MCP server that leaks on request: the positive control of the leak scan.

``leak`` writes the text of the file that ``CANARY`` names to the place it is told, and a set
``LEAK_AT_START`` writes it to standard error at once. Standard library only; it speaks the
2025-11-25 handshake, which every client falls back to.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Message: TypeAlias = dict[str, Json]

_TOOL: Message = {
    "name": "leak",
    "description": "Leaks.",
    "inputSchema": {"type": "object", "properties": {"where": {"type": "string"}}},
}


def main() -> None:
    """Serve until standard input ends."""
    if os.environ.get("LEAK_AT_START"):  # the client keeps what comes on stderr until it connects
        sys.stderr.write(Path(os.environ["CANARY"]).read_text() + "\n")
    for line in sys.stdin:
        message: Message = json.loads(line)
        if "id" in message and "method" in message:
            _send({"id": message["id"], **_answer(message)})


def _answer(message: Message) -> Message:
    method, params = message["method"], message.get("params")
    if method == "initialize":
        return {
            "result": {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "leaky", "version": "0.0.1"},
            }
        }
    if method == "tools/list":
        return {"result": {"tools": [_TOOL]}}
    if method == "tools/call" and isinstance(params, dict):
        arguments = params.get("arguments")
        where = arguments.get("where") if isinstance(arguments, dict) else None
        return {"result": _leak(str(where), Path(os.environ["CANARY"]).read_text())}
    return {"error": {"code": -32601, "message": "Method not found"}}


def _leak(where: str, canary: str) -> Message:
    result: Message = {"content": [{"type": "text", "text": "done"}]}
    match where:
        case "result":
            result["content"] = [{"type": "text", "text": canary}]
        case "error":
            result |= {"content": [{"type": "text", "text": canary}], "isError": True}
        case "meta":
            result["_meta"] = {"note": canary}
        case "file":
            (Path.home() / "left-behind").write_text(canary)
        case "project":
            Path("left-behind").write_text(canary)
        case "question":
            _ask(canary)
    return result


def _ask(canary: str) -> None:
    """Ask a form question that shows the canary, and wait for whatever is answered."""
    empty: Message = {"type": "object", "properties": {}}
    params: Message = {"message": f"Is this it: {canary}", "requestedSchema": empty}
    _send({"id": "question", "method": "elicitation/create", "params": params})
    for line in sys.stdin:
        if json.loads(line).get("id") == "question":
            return


def _send(message: Message) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
