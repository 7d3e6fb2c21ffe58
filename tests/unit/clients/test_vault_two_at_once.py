"""Two requests of the Vault client at the same time, and what one's failure means for the other."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from mcp_server.clients.vault import KvMetadata, KvShape, KvV2, TokenFromFile, VaultClient
from mcp_server.clients.vault import VaultSettings as Settings
from mcp_server.core.errors import (
    AuthenticationError,
    LimitError,
    PermissionDeniedError,
    ProtocolError,
    StoreError,
    StoreTimeoutError,
    UnreachableError,
)
from tests.servers.hostile import Hostile, hostile_server, reply

Both = tuple[KvMetadata, KvShape]
Answer = Callable[[socket.socket, bytes, int], None]
METADATA = reply("200 OK", json.dumps({"data": {"current_version": 7}}).encode())
SHAPE = reply(
    "200 OK", json.dumps({"data": {"subkeys": {"k": None}, "metadata": {"version": 7}}}).encode()
)
REFUSED = reply("403 Forbidden", b'{"errors":["permission denied"]}')
KNOWN_TOKEN = reply("200 OK", b'{"data":{}}')


def right_answer(request: bytes) -> bytes:
    if b"sys/internal/ui/mounts" in request:
        return KNOWN_TOKEN
    return METADATA if b"/metadata/" in request else SHAPE


@contextmanager
def server_and_kv(
    answer: Answer, folder: Path, **options: object
) -> Iterator[tuple[Hostile, KvV2]]:
    """A server whose ``answer`` gets the connection, the request and its number from 1."""
    known: list[Hostile] = []

    def act(connection: socket.socket, number: int) -> None:
        answer(connection, known[0].requests[number - 1], number)

    token = folder / "token"
    token.write_text("s.canary-token-7391")
    with hostile_server(act) as server:
        known.append(server)
        wish: dict[str, object] = {"read_timeout": 0.8, "connect_timeout": 0.8, **options}
        settings = Settings(server.address, mounts={"secret": 2}, **wish)  # type: ignore[arg-type]
        client = VaultClient(settings, TokenFromFile(token))
        try:
            yield server, client.kv2("secret")
        finally:
            client.close()


def describe(kv: KvV2) -> Both:
    metadata, shape = kv.metadata_and_shape("app/db")
    return metadata(), shape()


def is_right(both: Both) -> bool:
    return both[0].current == 7 and both[1].keys == ("k",)


def test_neither_waits_for_the_reply_to_the_other(tmp_path: Path) -> None:
    """From the second description on: the first finds no kept connection to spare."""
    together = threading.Barrier(2, timeout=5)

    def answer(connection: socket.socket, request: bytes, number: int) -> None:
        if number > 2:
            together.wait()
        connection.sendall(right_answer(request))

    with server_and_kv(answer, tmp_path, read_timeout=10) as (server, kv):
        assert all(is_right(describe(kv)) for _ in range(4))
    assert not together.broken
    assert len(server.requests) == 8


def test_a_pool_of_one_connection_carries_one_after_the_other(tmp_path: Path) -> None:
    at_once: list[int] = []
    counted = threading.Lock()
    open_now: set[int] = set()

    def answer(connection: socket.socket, request: bytes, _number: int) -> None:
        with counted:
            open_now.add(connection.fileno())
            at_once.append(len(open_now))
        connection.sendall(right_answer(request))

    with server_and_kv(answer, tmp_path, pool_size=1) as (_server, kv):
        assert all(is_right(describe(kv)) for _ in range(3))
    assert at_once == [1] * 6


def test_many_callers_of_a_small_pool_all_come_through(tmp_path: Path) -> None:
    def answer(connection: socket.socket, request: bytes, _number: int) -> None:
        connection.sendall(right_answer(request))

    with (
        server_and_kv(answer, tmp_path, pool_size=2, read_timeout=10) as (_server, kv),
        ThreadPoolExecutor(8) as callers,
    ):
        found = list(callers.map(lambda _: describe(kv), range(40)))
    assert len(found) == 40
    assert all(map(is_right, found))


@pytest.mark.parametrize("lost", [b"/metadata/", b"/subkeys/"], ids=["metadata", "key names"])
def test_a_kept_connection_that_ends_is_replaced(lost: bytes, tmp_path: Path) -> None:
    ended: list[int] = []

    def answer(connection: socket.socket, request: bytes, number: int) -> None:
        if number > 4 and lost in request and not ended:
            ended.append(number)
            connection.shutdown(socket.SHUT_RDWR)
        else:
            connection.sendall(right_answer(request))

    with server_and_kv(answer, tmp_path) as (_server, kv):
        assert all(is_right(describe(kv)) for _ in range(4))
    assert ended


@pytest.mark.parametrize("lost", [b"/metadata/", b"/subkeys/"], ids=["metadata", "key names"])
@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (None, StoreTimeoutError),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", ProtocolError),
        (reply("301 Moved", b"", "Location: http://127.0.0.1:1/"), ProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", LimitError),
        (reply("200 OK", b"<html>", kind="text/html"), ProtocolError),
        (REFUSED, PermissionDeniedError),
        (b"", UnreachableError),
    ],
    ids=["silence", "no HTTP", "redirect", "huge", "web page", "refusal", "hang-up"],
)
def test_a_bad_answer_to_either_is_its_own_error_and_its_connection_is_not_used_again(
    lost: bytes, bad: bytes | None, expected: type[StoreError], tmp_path: Path
) -> None:
    failing = threading.Event()

    def answer(connection: socket.socket, request: bytes, _number: int) -> None:
        if not (failing.is_set() and lost in request):
            connection.sendall(right_answer(request))
        elif bad == b"":
            connection.shutdown(socket.SHUT_RDWR)
        elif bad is not None:
            connection.sendall(bad)

    with server_and_kv(answer, tmp_path) as (_server, kv):
        assert all(is_right(describe(kv)) for _ in range(3))
        failing.set()
        with pytest.raises(StoreError) as caught:
            describe(kv)
        assert type(caught.value) is expected
        failing.clear()
        assert all(is_right(describe(kv)) for _ in range(3))


def test_a_refused_token_is_replaced_once_for_both(tmp_path: Path) -> None:
    def answer(connection: socket.socket, request: bytes, _number: int) -> None:
        connection.sendall(REFUSED if b"s.old" in request else right_answer(request))

    with server_and_kv(answer, tmp_path) as (server, kv):
        (tmp_path / "token").write_text("s.old")
        with pytest.raises(AuthenticationError):
            describe(kv)
        (tmp_path / "token").write_text("s.new")
        assert is_right(describe(kv))
    assert [b"s.new" in request for request in server.requests[-2:]] == [True, True]
