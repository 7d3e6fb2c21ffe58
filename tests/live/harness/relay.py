"""A loopback relay in front of a real server that loses requests or replies, or acts in between."""

from __future__ import annotations

import http.client
import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Fate", "Relay", "relay"]

Fate = Literal["pass", "lose the request", "lose the reply"]


@dataclass(slots=True)
class Relay:
    """A running relay.

    Attributes:
        address: Where it listens.
        decide: The fate of a request, by method and path.
        meanwhile: Called where something is lost, before the connection is closed.
        seen: Method and path of every request, in order.
    """

    address: str
    decide: Callable[[str, str], Fate] = lambda _method, _path: "pass"
    meanwhile: Callable[[], object] = lambda: None
    seen: list[tuple[str, str]] = field(default_factory=list)

    def changes(self) -> list[tuple[str, str]]:
        """Requests that change something."""
        return [request for request in self.seen if request[0] not in {"GET", "LIST"}]


@contextmanager
def relay(upstream: str) -> Iterator[Relay]:
    """Relay to ``http://HOST:PORT`` until the block ends."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

        def __getattr__(self, name: str) -> Callable[[], None]:
            if name.startswith("do_"):
                return self._handle
            raise AttributeError(name)

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            running.seen.append((self.command, self.path))
            fate = running.decide(self.command, self.path)
            if fate != "lose the request":
                status, headers, content = self._forward(body)
            if fate != "pass":
                running.meanwhile()
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            connection = http.client.HTTPConnection(upstream.removeprefix("http://"), timeout=15)
            try:
                connection.request(self.command, self.path, body, dict(self.headers.items()))
                response = connection.getresponse()
                content = response.read()
            finally:
                connection.close()
            hop = {"content-length", "transfer-encoding", "connection"}
            return (
                response.status,
                [(n, v) for n, v in response.getheaders() if n.lower() not in hop],
                content,
            )

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    running = Relay(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
