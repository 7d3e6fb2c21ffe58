"""What the Vault client does when the server, or whoever answers for it, misbehaves."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mcp_server.clients.vault import TokenFromFile, VaultClient, VaultSettings
from mcp_server.core.errors import (
    AuthenticationError,
    LimitError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitedError,
    SealedStoreError,
    SecretsError,
    StoreError,
    StoreTimeoutError,
    UnreachableError,
)
from tests.servers.hostile import Hostile, hostile_server, reply
from tests.servers.openbao import free_port

TOKEN = "s.canary-token-7391"
CANARY = "canary-value-4417"
GOOD = json.dumps(
    {"data": {"data": {"k": CANARY}, "metadata": {"version": 1, "created_time": ""}}}
).encode()
WRITTEN = json.dumps({"data": {"version": 2, "created_time": ""}}).encode()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    return path


@contextmanager
def client(server: Hostile, token_file: Path, **options: object) -> Iterator[VaultClient]:
    wish = {"read_timeout": 0.6, "connect_timeout": 0.6, **options}
    settings = VaultSettings(server.address, mounts={"secret": 2}, **wish)
    opened = VaultClient(settings, TokenFromFile(token_file))
    try:
        yield opened
    finally:
        opened.close()


def silent(_connection: socket.socket, _number: int) -> None:
    """Never answer."""


def dripping(answer: bytes) -> object:
    """One byte at a time, each in time for a time-out that starts anew with every byte."""

    def act(connection: socket.socket, _number: int) -> None:
        pause = threading.Event()
        for byte in answer:
            connection.sendall(bytes([byte]))
            pause.wait(0.1)

    return act


def hanging_up(connection: socket.socket, _number: int) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def endless(connection: socket.socket, _number: int) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{")
    while True:
        connection.sendall(b" " * 65536)


ANSWERS = {
    "silence": (silent, StoreTimeoutError),
    "headers that drip": (dripping(reply("200 OK", GOOD)), StoreTimeoutError),
    "a body that drips": (
        lambda c, n: (c.sendall(reply("200 OK", GOOD)[:-40]), dripping(b" " * 40)(c, n)),
        StoreTimeoutError,
    ),
    "endless 100 Continue": (b"HTTP/1.1 100 Continue\r\n\r\n" * 4000, StoreTimeoutError),
    "an endless body": (endless, LimitError),
    "an announced huge body": (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n",
        LimitError,
    ),
    "a closed connection": (hanging_up, UnreachableError),
    "half a body": (
        lambda c, n: (c.sendall(reply("200 OK", GOOD)[:-10]), hanging_up(c, n)),
        ProtocolError,
    ),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", ProtocolError),
    "endless headers": (
        b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 2000 + b"\r\n",
        ProtocolError,
    ),
    "a broken chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ProtocolError,
    ),
    "a web page": (reply("200 OK", b"<html>", kind="text/html"), ProtocolError),
    "broken JSON": (reply("200 OK", GOOD[:-3]), ProtocolError),
    "a JSON list": (reply("200 OK", b"[]"), ProtocolError),
    "not a number": (reply("200 OK", b'{"data":NaN}'), ProtocolError),
    "deep JSON": (reply("200 OK", b'{"a":' * 100_000), LimitError),
    "rather deep JSON": (reply("200 OK", b'{"a":' * 80 + b"1" + b"}" * 80), LimitError),
    "half a surrogate": (
        reply("200 OK", GOOD.replace(CANARY.encode(), b"\\ud800")),
        ProtocolError,
    ),
    "a version that is text": (
        reply("200 OK", GOOD.replace(b'"version": 1', b'"version": "x"')),
        ProtocolError,
    ),
    "permanent redirect": (
        reply("301 Moved", b"", "Location: http://127.0.0.1:1/v1/x"),
        ProtocolError,
    ),
    "sealed": (reply("503 Unavailable", b'{"errors":["Vault is sealed"]}'), SealedStoreError),
    "rate limit": (reply("429 Too Many", b"{}"), RateLimitedError),
    "nothing there": (reply("404 Not Found", b'{"errors":[]}'), NotFoundError),
    "bad gateway": (reply("502 Bad", b"<html>", kind="text/html"), UnreachableError),
    "internal error": (reply("500 Internal", b"{}"), StoreError),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_each_bad_answer_to_a_read_is_its_own_error_within_the_time_out(
    case: str, token_file: Path
) -> None:
    behaviour, expected = ANSWERS[case]
    with hostile_server(behaviour) as server, client(server, token_file) as vault:
        with pytest.raises(SecretsError) as caught:
            vault.kv2("secret").read("app/db")
        assert type(caught.value) is expected
        assert server.requests


LOST_WRITES = (
    "silence",
    "headers that drip",
    "endless 100 Continue",
    "an endless body",
    "a closed connection",
    "half a body",
    "no HTTP",
    "a web page",
    "broken JSON",
    "deep JSON",
    "bad gateway",
    "internal error",
)


@pytest.mark.parametrize("case", LOST_WRITES)
def test_a_write_whose_reply_is_lost_or_unusable_has_an_unknown_outcome_and_is_sent_once(
    case: str, token_file: Path
) -> None:
    with hostile_server(ANSWERS[case][0]) as server, client(server, token_file) as vault:
        with pytest.raises(OutcomeUnknownError):
            vault.kv2("secret").write("app/db", {"k": CANARY.encode()}, cas=1)
        assert len(server.requests) == 1


def test_a_redirect_is_not_followed_and_its_target_never_sees_the_token(token_file: Path) -> None:
    with hostile_server(reply("200 OK", GOOD)) as target:
        moved = reply("307 Temporary Redirect", b"", f"Location: {target.address}/v1/x")
        with hostile_server(moved) as server, client(server, token_file) as vault:
            with pytest.raises(ProtocolError):
                vault.kv2("secret").read("app/db")
            with pytest.raises(ProtocolError):
                vault.kv2("secret").write("app/db", {"k": CANARY.encode()})
            assert all(TOKEN.encode() in request for request in server.requests)
        assert target.requests == []


def test_a_login_through_hvac_does_not_follow_a_redirect_either(token_file: Path) -> None:
    with hostile_server(reply("200 OK", b'{"data":{}}')) as target:
        moved = reply("307 Temporary Redirect", b"", f"Location: {target.address}/v1/x")
        with hostile_server(moved) as server, client(server, token_file) as vault:
            with pytest.raises(ProtocolError):
                vault.token_info()
            assert server.requests
        assert target.requests == []


@pytest.mark.parametrize("status", ["400 Bad", "403 No", "404 None", "405 No", "500 Oh", "503 No"])
def test_text_of_the_server_never_leaves(status: str, token_file: Path) -> None:
    echo = json.dumps({"errors": [f"near 'IDENTIFIED BY '{CANARY}' for {TOKEN}"]}).encode()
    with hostile_server(reply(status, echo)) as server, client(server, token_file) as vault:
        for call in (
            lambda: vault.kv2("secret").read("app/db"),
            lambda: vault.kv2("secret").write("app/db", {"k": CANARY.encode()}),
            lambda: vault.kv2("secret").patch("app/db", {"k": CANARY.encode()}),
        ):
            with pytest.raises(SecretsError) as caught:
                call()
            shown = f"{caught.value}{caught.value!r}{caught.value.__cause__!r}"
            assert CANARY not in shown
            assert TOKEN not in shown
            assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_refusal_is_an_expired_login_only_when_the_server_does_not_know_the_token(
    token_file: Path,
) -> None:
    denied = reply("403 Forbidden", b'{"errors":["permission denied"]}')
    with (
        hostile_server(denied) as server,
        client(server, token_file) as vault,
        pytest.raises(AuthenticationError),
    ):
        vault.kv2("secret").read("app/db")

    def knows_the_token(connection: socket.socket, number: int) -> None:
        connection.sendall(denied if number == 1 else reply("200 OK", b'{"data":{}}'))

    with hostile_server(knows_the_token) as server, client(server, token_file) as vault:
        with pytest.raises(PermissionDeniedError):
            vault.kv2("secret").read("app/db")
        assert b"GET /v1/sys/internal/ui/mounts " in server.requests[1]


def closing_after(first: bytes, closed: threading.Event) -> object:
    """Answer the first request of a connection, then close in the moment of the second."""

    def act(connection: socket.socket, number: int) -> None:
        if number == 2:
            closed.set()
            connection.shutdown(socket.SHUT_RDWR)
        else:
            connection.sendall(first)

    return act


def test_a_read_is_sent_again_once_when_a_kept_connection_had_ended(token_file: Path) -> None:
    closed = threading.Event()
    behaviour = closing_after(reply("200 OK", GOOD), closed)
    with hostile_server(behaviour) as server, client(server, token_file) as vault:
        vault.kv2("secret").read("app/db")
        assert vault.kv2("secret").read("app/db").values == {"k": CANARY.encode()}
        assert closed.is_set()
        assert len(server.requests) == 3


def test_a_write_is_not_sent_again_when_a_kept_connection_had_ended(token_file: Path) -> None:
    closed = threading.Event()
    behaviour = closing_after(reply("200 OK", WRITTEN), closed)
    with hostile_server(behaviour) as server, client(server, token_file) as vault:
        vault.kv2("secret").write("app/db", {"k": b"v"})
        with pytest.raises(OutcomeUnknownError):
            vault.kv2("secret").write("app/db", {"k": b"v"})
        assert closed.is_set()
        assert len(server.requests) == 2


def test_a_connection_that_ended_while_idle_is_noticed_before_a_write(token_file: Path) -> None:
    ended = threading.Semaphore(0)

    def answer_and_end(connection: socket.socket, _number: int) -> None:
        connection.sendall(reply("200 OK", WRITTEN))
        connection.shutdown(socket.SHUT_RDWR)
        ended.release()

    with hostile_server(answer_and_end) as server, client(server, token_file) as vault:
        for expected in (1, 2, 3):
            vault.kv2("secret").write("app/db", {"k": b"v"})
            assert ended.acquire(timeout=5)
            assert len(server.requests) == expected


def test_nobody_listening_is_unreachable_and_nothing_was_changed(token_file: Path) -> None:
    nobody = Hostile(f"http://127.0.0.1:{free_port()}")
    with client(nobody, token_file) as vault:
        with pytest.raises(UnreachableError):
            vault.kv2("secret").read("app/db")
        with pytest.raises(UnreachableError):
            vault.kv2("secret").write("app/db", {"k": b"v"})


def test_a_server_that_stops_reading_does_not_hold_a_large_write(token_file: Path) -> None:
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        server = Hostile(f"http://127.0.0.1:{deaf.getsockname()[1]}")
        with client(server, token_file) as vault, pytest.raises(OutcomeUnknownError):
            vault.kv2("secret").write("app/db", {"k": b"v" * 8_000_000})


def test_more_callers_than_connections_wait_and_give_up_in_time(token_file: Path) -> None:
    with (
        hostile_server(silent) as server,
        client(server, token_file, pool_size=1, read_timeout=0.4) as vault,
    ):
        failures: list[str] = []

        def read() -> None:
            with pytest.raises(StoreTimeoutError) as caught:
                vault.kv2("secret").read("app/db")
            failures.append(caught.value.message)

        callers = [threading.Thread(target=read) for _ in range(3)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert len(failures) == 3
        assert len(server.requests) < 3


def test_every_request_says_who_asks(token_file: Path) -> None:
    with (
        hostile_server(reply("200 OK", GOOD)) as server,
        client(server, token_file, namespace="team-a", agent_session="session-1") as vault,
    ):
        vault.kv2("secret").read("app/db")
        head = server.requests[0].decode()
        for line in (
            f"X-Vault-Token: {TOKEN}",
            "X-Vault-Request: true",
            "X-Vault-Namespace: team-a",
            "X-Agent-Session: session-1",
        ):
            assert f"\r\n{line}\r\n" in head


def test_a_request_that_is_too_large_is_refused_before_it_is_sent(token_file: Path) -> None:
    with (
        hostile_server(reply("200 OK", WRITTEN)) as server,
        client(server, token_file, max_body=1000) as vault,
    ):
        with pytest.raises(LimitError):
            vault.kv2("secret").write("app/db", {"k": b"v" * 1000})
        assert server.requests == []


def test_proxy_variables_are_ignored(token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile_server(reply("200 OK", GOOD)) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.address)
        lookup = reply("200 OK", b'{"data":{"display_name":"x","policies":[]}}')
        with hostile_server(lookup) as server, client(server, token_file) as vault:
            vault.token_info()
            vault.discover_mounts()
            assert len(server.requests) == 2
        assert proxy.requests == []
