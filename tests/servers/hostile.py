"""A loopback server that misbehaves as told and remembers what it was sent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

__all__ = ["Hostile", "hostile_server", "reply"]

Behaviour = Callable[[socket.socket, int], None]


@dataclass(slots=True)
class Hostile:
    """Address and memory of a running server."""

    address: str
    requests: list[bytes] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)


def reply(status: str, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    """A complete HTTP reply."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "\r\n"]).encode() + body


@contextmanager
def hostile_server(behaviour: Behaviour | bytes) -> Iterator[Hostile]:
    """Serve until the block ends.

    Args:
        behaviour: Bytes that answer every request, or a function that gets the connection and
            the number of the request (from 1) and writes what it likes.
    """
    act = _always(behaviour) if isinstance(behaviour, bytes) else behaviour
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        server = Hostile(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=_accept, args=(listener, server, act))
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            thread.join()


def _always(answer: bytes) -> Behaviour:
    return lambda connection, _number: connection.sendall(answer)


def _accept(listener: socket.socket, server: Hostile, act: Behaviour) -> None:
    threads: list[threading.Thread] = []
    while not server.stopping.is_set():
        with suppress(TimeoutError):
            connection, _ = listener.accept()
            thread = threading.Thread(target=_serve, args=(connection, server, act))
            thread.start()
            threads.append(thread)
    for thread in threads:
        thread.join()


def _serve(connection: socket.socket, server: Hostile, act: Behaviour) -> None:
    connection.settimeout(0.05)
    with connection, suppress(OSError):
        while not server.stopping.is_set():
            request = _read_request(connection, server)
            if not request:
                return
            server.requests.append(request)
            act(connection, len(server.requests))


def _read_request(connection: socket.socket, server: Hostile) -> bytes:
    content = b""
    while not server.stopping.is_set() and not _complete(content):
        try:
            chunk = connection.recv(65536)
        except TimeoutError:
            continue
        if not chunk:
            return b""
        content += chunk
    return content


def _complete(content: bytes) -> bool:
    head, separator, body = content.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
    return bool(separator) and len(body) >= int(length or 0)
