"""The real process over its pipes: starts offline, keeps the wire clean, withholds a plant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcp_server.core.guard import Guard
from mcp_server.wire import MAX_WITHHELD, GuardedWire
from tests.leaks.corpus import find
from tests.wire.conftest import ERAS
from tests.wire.pipes import REPOSITORY, ended, serving

CANARY = b"canary-Zq7vR2mK9xLw4Tn8"


@pytest.mark.parametrize("era", ERAS)
def test_the_main_job_over_pipes_leaves_no_value_on_them(home: Path, era: str) -> None:
    (home / "project" / ".env").write_text(f"TOKEN={CANARY.decode()}\n")
    with serving(home, era) as (pipes, process):
        imported = pipes.call("secrets_write", target="memory://dev/app", from_file=".env")
        described = pipes.call("secrets_read", ref="memory://dev/app")
        pipes.call("secrets_list", prefix="memory://dev", details=True)
        stderr = ended(process)
    assert imported["structuredContent"]["state"] == "done"
    assert described["structuredContent"]["keys"] == ["TOKEN"]
    assert (process.returncode, stderr) == (0, b"")
    assert len(pipes.received) > 500
    assert find(pipes.received, CANARY) == []


@pytest.mark.parametrize("era", ERAS)
def test_a_value_that_a_bug_puts_into_a_result_is_withheld_on_the_wire(
    home: Path, era: str
) -> None:
    """The planted bug: a description whose owner is the secret itself."""
    (home / "project" / ".env").write_text(f"TOKEN={CANARY.decode()}\n")
    plant = (
        "from mcp_server.core import show; "
        "import dataclasses; real = show.described; "
        "from mcp_server.core import broker; "
        "broker.described = "
        f"lambda *a: dataclasses.replace(real(*a), untrusted_owner={CANARY.decode()!r})"
    )
    with serving(home, era, plant) as (pipes, _):
        before = pipes.call("secrets_read", ref="memory://dev/app")
        assert find(json.dumps(before).encode(), CANARY), "the plant does not work"
        pipes.received = b""
        pipes.call("secrets_write", target="memory://dev/app", from_file=".env")
        answer = pipes.request(
            "tools/call", {"name": "secrets_read", "arguments": {"ref": "memory://dev/app"}}
        )
        alive = pipes.call("secrets_list", prefix="memory://dev")
    assert "EGRESS_BLOCKED" in answer["error"]["message"]
    assert alive["structuredContent"]["secrets"][0]["name"] == "app"
    assert find(pipes.received, CANARY) == []


def test_starting_contacts_nothing_creates_nothing_and_loads_no_vendor_library(home: Path) -> None:
    """P7, seen from inside after the first ``tools/list``."""
    probe = (
        "import atexit, sys; atexit.register(lambda: sys.stderr.write('LOADED ' + "
        "' '.join(sorted({m.partition('.')[0] for m in sys.modules})) + '\\n'))"
    )
    before = sorted(str(path) for path in home.rglob("*"))
    with serving(home, "auto", probe) as (pipes, process):
        assert len(pipes.request("tools/list", {})["result"]["tools"]) == 6
        loaded = ended(process).decode()
    assert "LOADED" in loaded
    assert "mcp_server" in loaded
    vendors = {
        "hvac",
        "boto3",
        "botocore",
        "anthropic",
        "jinja2",
        "kubernetes",
        "requests",
        "pyrage",
        "keyring",
        "mnemonic",
        "dotenv",
    }
    assert not vendors & set(loaded.split())
    assert sorted(str(path) for path in home.rglob("*")) == before


def test_a_wrong_configuration_says_so_in_one_line(home: Path) -> None:
    path = home / "config" / "secret-management" / "config.yaml"
    path.write_text("stores: {x: {backend: memory}}\nsurprise: canary-Zq7vR2mK9xLw4Tn8\n")
    done = subprocess.run(
        [sys.executable, "-m", "mcp_server"],
        input=b"",
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        cwd=home,
        timeout=20,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"CONFIG_INVALID")
    assert str(path).encode() in done.stderr
    assert find(done.stderr + done.stdout, CANARY) == []


@pytest.mark.anyio
async def test_a_frame_that_cannot_be_searched_is_not_sent() -> None:
    """Fails closed: the guard raising or refusing is a block, and a notification just ends."""
    guard = Guard()
    guard.register(CANARY)
    reader, writer = os.pipe()
    noted: list[int] = []
    wire = GuardedWire(writer, guard, lambda: noted.append(1))
    frames = [
        b'{"jsonrpc":"2.0","id":1,"result":{}}\n',
        b'{"jsonrpc":"2.0","id":2,"result":{"x":"' + CANARY + b'"}}\n',
        b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"m":"' + CANARY + b'"}}\n',
    ]
    for frame in frames:
        await wire.write(frame.decode())
        await wire.flush()
    os.close(writer)
    with os.fdopen(reader, "rb") as received:
        lines = received.read().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [1, 2]
    assert "EGRESS_BLOCKED" in json.loads(lines[1])["error"]["message"]
    assert len(noted) == 2


@pytest.mark.anyio
async def test_after_five_withheld_frames_nothing_leaves_any_more() -> None:
    """Each withheld frame tells something about a value; guesses are limited (P1b)."""
    guard = Guard()
    guard.register(CANARY)
    reader, writer = os.pipe()
    wire = GuardedWire(writer, guard, lambda: None)
    for number in range(MAX_WITHHELD):
        await wire.write(f'{{"id":{number},"result":"{CANARY.decode()}"}}\n')
        await wire.flush()
    await wire.write('{"id":"last","result":{}}\n')
    await wire.flush()
    os.close(writer)
    with os.fdopen(reader, "rb") as received:
        answers = [json.loads(line) for line in received]
    assert len(answers) == MAX_WITHHELD + 1
    assert answers[-1]["id"] == "last"
    assert all("EGRESS_BLOCKED" in answer["error"]["message"] for answer in answers)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
