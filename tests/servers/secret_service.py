"""A Secret Service and the bus it is on, in one: what the real client library talks to in tests.

It listens on a Unix socket, answers the D-Bus handshake itself, and knows the few methods of
https://specifications.freedesktop.org/secret-service that keeping one secret takes.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from jeepney import (  # type: ignore[import-untyped]
    HeaderFields,
    Message,
    MessageType,
    new_error,
    new_method_return,
)
from jeepney.low_level import Parser  # type: ignore[import-untyped]
from secretstorage import dhcrypto

# ruff: noqa: ANN401 - message bodies are whatever their signature says

__all__ = ["SecretService", "running"]

SERVICE = "/org/freedesktop/secrets"
NO_PROMPT = "/"
Reply = tuple[str, tuple[Any, ...]]


@dataclass
class SecretService:
    """The service.

    Attributes:
        collection: What the alias ``default`` stands for: ``login``, ``session``.
        locked: Unlocking asks a person, who does not come.
        kept: The secrets, by object path.
        asked: Set when the person is asked.
    """

    collection: str = "login"
    locked: bool = False
    kept: dict[str, tuple[dict[str, str], bytes]] = field(default_factory=dict)
    asked: Event = field(default_factory=Event)

    def answer(self, message: Message, session: dhcrypto.Session) -> Reply | None:
        """The reply to a method call; ``None`` when it has no such method."""
        member = message.header.fields[HeaderFields.member]
        method: Callable[[Any, dhcrypto.Session], Reply] | None = getattr(
            self, f"_{member.lower()}", None
        )
        if member == "GetSecret":
            return self._secret_of(message.header.fields[HeaderFields.path], session)
        return method(message.body, session) if method else None

    def _hello(self, _body: Any, _session: dhcrypto.Session) -> Reply:
        return "s", (":1.1",)

    def _addmatch(self, _body: Any, _session: dhcrypto.Session) -> Reply:
        return "", ()

    def _namehasowner(self, _body: Any, _session: dhcrypto.Session) -> Reply:
        return "b", (True,)

    def _readalias(self, _body: Any, _session: dhcrypto.Session) -> Reply:
        return "o", (f"{SERVICE}/collection/{self.collection}",)

    def _get(self, body: Any, _session: dhcrypto.Session) -> Reply:
        return "v", (("b", self.locked) if body[1] == "Locked" else ("s", "label"),)

    def _unlock(self, body: Any, _session: dhcrypto.Session) -> Reply:
        if self.locked:
            return "aoo", ([], f"{SERVICE}/prompt/1")
        return "aoo", (body[0], NO_PROMPT)

    def _prompt(self, _body: Any, _session: dhcrypto.Session) -> Reply:
        self.asked.set()
        return "", ()

    def _opensession(self, body: Any, session: dhcrypto.Session) -> Reply:
        session.set_server_public_key(int.from_bytes(bytes(body[1][1]), "big"))
        public = session.my_public_key.to_bytes(128, "big")
        return "vo", (("ay", public), f"{SERVICE}/session/1")

    def _searchitems(self, body: Any, _session: dhcrypto.Session) -> Reply:
        wanted = dict(body[0]).items()
        return "ao", ([p for p, (labels, _) in self.kept.items() if wanted <= labels.items()],)

    def _createitem(self, body: Any, session: dhcrypto.Session) -> Reply:
        properties, (_, iv, sealed, _), _replace = body
        labels = dict(properties["org.freedesktop.Secret.Item.Attributes"][1])
        path = f"{SERVICE}/collection/{self.collection}/{len(self.kept) + 1}"
        opener = _cipher(session, bytes(iv)).decryptor()
        padded = opener.update(bytes(sealed)) + opener.finalize()
        self.kept[path] = labels, padded[: -padded[-1]]
        return "oo", (path, NO_PROMPT)

    def _secret_of(self, path: str, session: dhcrypto.Session) -> Reply:
        value = self.kept[path][1]
        fill = 16 - len(value) % 16
        iv = secrets.token_bytes(16)
        sealer = _cipher(session, iv).encryptor()
        sealed = sealer.update(value + bytes([fill]) * fill) + sealer.finalize()
        return "(oayays)", ((f"{SERVICE}/session/1", iv, sealed, "text/plain"),)


def _cipher(session: dhcrypto.Session, iv: bytes) -> Cipher[modes.CBC]:
    assert session.aes_key is not None
    return Cipher(algorithms.AES(session.aes_key), modes.CBC(iv))


@contextmanager
def running(service: SecretService, path: Path) -> Iterator[str]:
    """Serve on the socket ``path``; gives the value for ``DBUS_SESSION_BUS_ADDRESS``."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        Thread(target=_accept, args=(service, listener), daemon=True).start()
        try:
            yield f"unix:path={path}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def _accept(service: SecretService, listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            Thread(target=_serve, args=(service, client), daemon=True).start()


def _serve(service: SecretService, client: socket.socket) -> None:
    with client, suppress(OSError):
        parser, session = Parser(), dhcrypto.Session()
        parser.add_data(_handshake(client))
        while True:
            message = parser.get_next_message()
            if message is None:
                data = client.recv(65_536)
                if not data:
                    return
                parser.add_data(data)
            elif message.header.message_type is MessageType.method_call:
                client.sendall(_reply(service, message, session).serialise(serial=1))


def _reply(service: SecretService, message: Message, session: dhcrypto.Session) -> Message:
    reply = service.answer(message, session)
    if reply is None:
        return new_error(message, "org.freedesktop.DBus.Error.UnknownMethod")
    return new_method_return(message, *reply)


def _handshake(client: socket.socket) -> bytes:
    """Agree to whatever the client proposes; gives what it sent after ``BEGIN``."""
    data = b""
    answers = {b"AUTH": b"OK 0123456789abcdef\r\n", b"NEGO": b"AGREE_UNIX_FD\r\n"}
    while True:
        data = (data + client.recv(4096)).lstrip(b"\0")
        while b"\r\n" in data:
            line, _, data = data.partition(b"\r\n")
            if line == b"BEGIN":
                return data
            client.sendall(answers[line[:4]])
