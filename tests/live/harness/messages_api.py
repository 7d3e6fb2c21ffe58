"""A scripted Messages API on loopback, so that the real client runs offline.

The client is pointed here by ``ANTHROPIC_BASE_URL``. A script says what "the model" does: it
calls a tool, then another, then says something. Which step comes next is read from the
conversation itself (the answers already given since the user's message), so a retried request
gets the same answer again and the server keeps no state besides what it recorded.

Everything that arrives is recorded byte for byte: this is what a model would have seen. The
same port also serves as ``HTTPS_PROXY``; a CONNECT is recorded and refused, so an attempt to
leave the machine fails at once and can be asserted on, as far as programs heed that variable.

Format of requests and of the event stream: https://docs.claude.com/en/api/messages-streaming
"""

from __future__ import annotations

import json
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

__all__ = ["Call", "MessagesApi", "Request", "Say", "Seen", "Step", "ToolResult", "Turn"]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_MAX_BODY = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ToolResult:
    """One tool result as the model was given it: text only, blocks joined by newlines."""

    text: str
    is_error: bool

    def json(self) -> dict[str, Json]:
        """The result read as a JSON object; raises ``ValueError`` if it is none."""
        value: Json = json.loads(self.text)
        if not isinstance(value, dict):
            msg = "the tool result is not a JSON object"
            raise ValueError(msg)  # noqa: TRY004 - the caller asks about content, not types
        return value


@dataclass(frozen=True, slots=True)
class Seen:
    """What the model has seen since the user's message: that message and the tool results."""

    prompt: str
    results: tuple[ToolResult, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A step: call a tool. Arguments may be computed from earlier results."""

    tool: str
    arguments: Mapping[str, Json] | Callable[[Seen], Mapping[str, Json]] = field(
        default_factory=dict
    )


@dataclass(frozen=True, slots=True)
class Say:
    """A step: answer with text and end the turn."""

    text: str


Step: TypeAlias = Call | Say


@dataclass(frozen=True, slots=True)
class Turn:
    """The steps that answer a user's message which contains the phrase ``when``."""

    when: str
    steps: Sequence[Step]


@dataclass(frozen=True, slots=True)
class Request:
    """One recorded request: method, path, headers and body as they came."""

    method: str
    path: str
    headers: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        """All bytes, for the leak scan."""
        return b"\n".join((f"{self.method} {self.path}".encode(), self.headers, self.body))


class MessagesApi:
    """The server. Use as a context manager.

    Args:
        turns: The script. For each request the first turn whose ``when`` occurs in the last
            message that the user (not a tool) sent is taken. A request with tools that no turn
            covers is answered by a marked text and counted in ``unscripted``.

    Attributes:
        unscripted: Sentences about requests the script did not foresee; a test asserts ``[]``.
    """

    def __init__(self, turns: Sequence[Turn] = ()) -> None:
        self.turns = list(turns)
        self.unscripted: list[str] = []
        self._requests: list[Request] = []
        self._changed = threading.Condition()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Base URL, ``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def requests(self) -> list[Request]:
        """A copy of everything received so far."""
        with self._changed:
            return list(self._requests)

    @property
    def outbound(self) -> list[str]:
        """``host:port`` of every attempt to reach another machine through the proxy."""
        return [request.path for request in self.requests if request.method == "CONNECT"]

    def seen(self, when: str) -> Seen | None:
        """The fullest view the model had of the turn ``when``, or None before its first request."""
        views = [view for view in map(_seen, self.requests) if view and when in view.prompt]
        return max(views, key=lambda view: len(view.results), default=None)

    def wait(self, ready: Callable[[MessagesApi], bool], seconds: float = 60) -> None:
        """Return once ``ready(self)`` holds; it is asked again after each request.

        Raises:
            TimeoutError: It did not hold within ``seconds``.
        """
        deadline = time.monotonic() + seconds
        while not ready(self):
            if time.monotonic() >= deadline:
                msg = f"no such request within {seconds} s; {len(self.requests)} requests came"
                raise TimeoutError(msg)
            with self._changed:
                self._changed.wait(0.2)

    def record(self, request: Request) -> None:
        """Keep a request and wake those who wait."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()

    def next_step(self, body: Mapping[str, Json]) -> Step:
        """The step for a request's body."""
        view = _view(body)
        if view is None or not body.get("tools"):
            return Say("ok")  # titles, quota probes and the like
        for turn in self.turns:
            if turn.when in view.prompt:
                return self._step(turn, view, _answers_given(body))
        return self._surprise(f"no turn covers: {view.prompt[-300:]!r}")

    def _step(self, turn: Turn, view: Seen, given: int) -> Step:
        if given >= len(turn.steps):
            return self._surprise(f"turn {turn.when!r} has no step {given}")
        step = turn.steps[given]
        if isinstance(step, Say) or not callable(step.arguments):
            return step
        try:
            return Call(step.tool, step.arguments(view))
        except (LookupError, TypeError, ValueError) as error:
            return self._surprise(f"step {given} of {turn.when!r}: {error!r} after {view.results}")

    def _surprise(self, sentence: str) -> Say:
        self.unscripted.append(sentence)
        return Say("UNSCRIPTED")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api: MessagesApi) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api = api

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the base class's signature
        """A client that hangs up is no news; anything else fails the test through the script."""
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            self.api.unscripted.append(f"the scripted API failed: {error!r}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self._record()
        path = self.path.partition("?")[0]
        if path == "/v1/messages":
            self._message(body)
        elif path == "/v1/messages/count_tokens":
            self._json(200, {"input_tokens": 100})
        else:
            self._json(404, _error("not_found_error"))

    def do_GET(self) -> None:
        self._record()
        self._json(404, _error("not_found_error"))

    def do_HEAD(self) -> None:
        self._record()
        self._send(200, "application/json", b"")

    def do_CONNECT(self) -> None:
        self._record()
        self._json(403, _error("permission_error"))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Stay silent; requests are recorded instead."""

    def _record(self) -> bytes:
        length = min(int(self.headers.get("Content-Length") or 0), _MAX_BODY)
        body = self.rfile.read(length)
        self.server.api.record(Request(self.command, self.path, bytes(self.headers), body))
        return body

    def _message(self, body: bytes) -> None:
        request: dict[str, Json] = json.loads(body)
        step = self.server.api.next_step(request)
        message = _reply(step, str(request.get("model", "")))
        if request.get("stream"):
            stream = b"".join(_event(name, data) for name, data in _stream(message))
            self._send(200, "text/event-stream", stream)
        else:
            self._json(200, message)

    def _json(self, status: int, value: Mapping[str, Json]) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _error(kind: str) -> dict[str, Json]:
    return {"type": "error", "error": {"type": kind, "message": "not scripted"}}


def _reply(step: Step, model: str) -> dict[str, Json]:
    """A whole message for a step."""
    if isinstance(step, Call):
        content: dict[str, Json] = {
            "type": "tool_use",
            "id": f"toolu_{uuid.uuid4().hex}",
            "name": step.tool,
            "input": {} if callable(step.arguments) else dict(step.arguments),
        }
    else:
        content = {"type": "text", "text": step.text}
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [content],
        "stop_reason": "tool_use" if isinstance(step, Call) else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 10},
    }


def _stream(message: Mapping[str, Json]) -> Iterator[tuple[str, dict[str, Json]]]:
    """The event sequence that carries ``message``."""
    start = {**message, "content": [], "stop_reason": None}
    yield "message_start", {"message": start}
    for index, block in enumerate(_blocks(message)):
        yield from _block(index, block)
    yield (
        "message_delta",
        {
            "delta": {"stop_reason": message["stop_reason"], "stop_sequence": None},
            "usage": {"output_tokens": 10},
        },
    )
    yield "message_stop", {}


def _block(index: int, block: Mapping[str, Json]) -> Iterator[tuple[str, dict[str, Json]]]:
    if block["type"] == "tool_use":
        empty: dict[str, Json] = {**block, "input": {}}
        delta: dict[str, Json] = {
            "type": "input_json_delta",
            "partial_json": json.dumps(block["input"]),
        }
    else:
        empty = {"type": "text", "text": ""}
        delta = {"type": "text_delta", "text": block["text"]}
    yield "content_block_start", {"index": index, "content_block": empty}
    yield "content_block_delta", {"index": index, "delta": delta}
    yield "content_block_stop", {"index": index}


def _event(name: str, data: Mapping[str, Json]) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


def _seen(request: Request) -> Seen | None:
    if request.method != "POST" or not request.path.startswith("/v1/messages"):
        return None
    body: dict[str, Json] = json.loads(request.body)
    return _view(body) if body.get("tools") else None


def _messages(body: Mapping[str, Json]) -> list[dict[str, Json]]:
    messages = body.get("messages")
    return [m for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []


def _blocks(message: Mapping[str, Json]) -> list[dict[str, Json]]:
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [b for b in content if isinstance(b, dict)] if isinstance(content, list) else []


def _text(content: Json) -> str:
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "\n".join(str(b.get("text", "")) for b in blocks if isinstance(b, dict))


def _results(message: Mapping[str, Json]) -> list[ToolResult]:
    return [
        ToolResult(_text(block.get("content")), bool(block.get("is_error")))
        for block in _blocks(message)
        if block.get("type") == "tool_result"
    ]


def _is_prompt(message: Mapping[str, Json]) -> bool:
    """Whether the user wrote it.

    A message with a tool result is the client's answer to a call, whatever stands beside it.
    """
    return message.get("role") == "user" and not _results(message)


def _last_turn(body: Mapping[str, Json]) -> list[dict[str, Json]]:
    """The messages from the user's last message on; empty when there is none."""
    messages = _messages(body)
    starts = [index for index, message in enumerate(messages) if _is_prompt(message)]
    return messages[starts[-1] :] if starts else []


def _answers_given(body: Mapping[str, Json]) -> int:
    return sum(message.get("role") == "assistant" for message in _last_turn(body))


def _view(body: Mapping[str, Json]) -> Seen | None:
    turn = _last_turn(body)
    if not turn:
        return None
    prompt = "\n".join(str(b["text"]) for b in _blocks(turn[0]) if b.get("type") == "text")
    results = [result for message in turn[1:] for result in _results(message)]
    return Seen(prompt, tuple(results))
