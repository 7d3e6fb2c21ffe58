"""P1 over everything: tools x stores x conditions x eras x encodings, searched from outside.

Conditions are made for real: a denied policy, an unknown token, a sealed, closed, hanging,
redirecting or babbling server, a damaged file, a journal that cannot be written, debug loggers,
kill -9. Each scene must show that its condition occurred. For each channel a plant proves that the
same search finds a leak there.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.leaks.conftest import LOOKED_AT
from tests.leaks.corpus import encodings, find
from tests.leaks.scenes import CANARIES, STEPS, Captured, Condition, play
from tests.servers.hostile import hostile_server, reply
from tests.servers.openbao import Bao, free_port, inmem_bao

ERAS = ("auto", "legacy")
CANARY = CANARIES["random 24"]
DEBUG = (
    "import logging, http.client",
    "from mcp_server.core import logs",
    "real = logs.configure",
    "logs.configure = lambda stream: real(stream, logging.DEBUG)",
    "http.client.HTTPConnection.debuglevel = 1",
    "logging.getLogger('urllib3').setLevel(logging.DEBUG)",
    "logging.getLogger('hvac').setLevel(logging.DEBUG)",
)
ALLOW = 'policy: {rules: [{effect: allow, match: "**"}]}\n'
Scene = Callable[[Condition, str], Captured]


@pytest.fixture
def scene(home: Path) -> Scene:
    return lambda condition, era: play(home, condition, era)


def _vault(address: str, token: Path, timeout: int = 15) -> str:
    return (
        f"stores: {{bao: {{backend: vault, address: '{address}', mounts: {{secret: 2}}, "
        f"timeout: {timeout}, auth: {{method: token, file: '{token}'}}}}}}\n"
    )


def _token_file(home: Path, token: str) -> Path:
    path = home / "token"
    path.write_text(token)
    path.chmod(0o600)
    return path


def _assert_clean(seen: Captured, condition: Condition) -> None:
    checked = 0
    for channel, content in seen.channels():
        for name, value in CANARIES.items():
            assert find(content, value) == [], (condition.name, channel, name)
            checked += len(encodings(value))
            LOOKED_AT["bytes"] += len(content)
    happened = seen.stdout + seen.stderr
    if not condition.kill:
        assert any(code.encode() in happened for code in condition.expects), (
            condition.name,
            seen.stdout[-2000:],
        )
    assert checked > 0
    assert seen.tools
    LOOKED_AT["scenes"] += 1
    LOOKED_AT["cells (tool x store x condition x encoding)"] += len(seen.tools) * checked


# --- the embedded store and the fake -------------------------------------------------------

MEMORY = "stores: {mem: {backend: memory}}\n"
UNEXPECTED = (
    "from mcp_server.backends.memory import MemoryBackend",
    "import os",
    "MemoryBackend._fetch = lambda *a, **k: {}['it was ' + os.environ['APP_INVENTED']]",
    "MemoryBackend._delete = lambda *a, **k: int('it was ' + os.environ['APP_INVENTED'])",
)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    "condition",
    [
        Condition("memory, all goes well", "memory:/", ("done",), config=MEMORY),
        Condition("memory, all allowed", "memory:/", ("policy",), config=MEMORY + ALLOW),
        Condition("memory, debug", "memory:/", ("done",), DEBUG, MEMORY),
        Condition("memory, unexpected", "memory:/", ("INTERNAL",), UNEXPECTED, MEMORY),
        Condition("local, all goes well", "local:/", ("done",)),
        Condition("local, debug", "local:/", ("done",), DEBUG),
    ],
    ids=lambda value: value.name if isinstance(value, Condition) else value,
)
def test_no_value_leaves_in_any_form(scene: Scene, condition: Condition, era: str) -> None:
    _assert_clean(scene(condition, era), condition)


@pytest.mark.parametrize("era", ERAS)
def test_nor_when_the_journal_cannot_be_written(scene: Scene, home: Path, era: str) -> None:
    blocked = home / "state" / "secret-management"
    blocked.write_text("a file where the folder should be")
    condition = Condition("local, no journal", "local:/", ("JOURNAL_UNAVAILABLE",))
    _assert_clean(scene(condition, era), condition)


@pytest.mark.parametrize("era", ERAS)
def test_nor_when_the_embedded_store_is_damaged(scene: Scene, home: Path, era: str) -> None:
    good = Condition("local, before the damage", "local:/", ("done",))
    scene(good, era)
    (store,) = home.glob("data/secret-management/*.json")
    text = store.read_text()
    store.write_text(text.replace("ENC[AES256_GCM,data:", "ENC[AES256_GCM,data:AAAA", 1))
    condition = Condition("local, damaged", "local:/", ("STORE_CORRUPT",))
    _assert_clean(scene(condition, era), condition)


# --- Vault and OpenBao ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def bao() -> Iterator[Bao]:
    with inmem_bao() as server:
        yield server


@pytest.fixture
def fresh(bao: Bao) -> Iterator[Bao]:
    bao.mount_kv("secret", 2)
    yield bao
    bao.api("DELETE", "sys/mounts/secret")


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("setup", [(), DEBUG], ids=["as usual", "debug"])
def test_nor_with_a_real_server(
    scene: Scene, home: Path, fresh: Bao, era: str, setup: tuple[str, ...]
) -> None:
    config = _vault(fresh.address, _token_file(home, fresh.root_token))
    condition = Condition("vault, all goes well", "vault://secret", ("done",), setup, config)
    _assert_clean(scene(condition, era), condition)


@pytest.mark.parametrize("era", ERAS)
def test_nor_without_permission(scene: Scene, home: Path, fresh: Bao, era: str) -> None:
    token = fresh.token('path "secret/*" { capabilities = ["list"] }')
    config = _vault(fresh.address, _token_file(home, token))
    condition = Condition("vault, denied", "vault://secret", ("PERMISSION_DENIED",), (), config)
    _assert_clean(scene(condition, era), condition)


@pytest.mark.parametrize("era", ERAS)
def test_nor_with_a_token_nobody_issued(scene: Scene, home: Path, fresh: Bao, era: str) -> None:
    config = _vault(fresh.address, _token_file(home, "s.inventedTokenNobodyIssued1"))
    condition = Condition("vault, unknown", "vault://secret", ("AUTH_FAILED",), (), config)
    _assert_clean(scene(condition, era), condition)


@contextmanager
def _closed() -> Iterator[str]:
    yield f"http://127.0.0.1:{free_port()}"


@contextmanager
def _sealed() -> Iterator[str]:
    with inmem_bao() as server:
        server.api("PUT", "sys/seal")
        yield server.address


@contextmanager
def _answering(answer: bytes) -> Iterator[str]:
    with hostile_server(answer) as server:
        yield server.address


@contextmanager
def _hanging() -> Iterator[str]:
    def hang(connection: socket.socket, _number: int) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and _open(connection):
            pass

    with hostile_server(hang) as server:
        yield server.address


def _open(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1))
    except TimeoutError:
        return True
    except OSError:
        return False


WORD = CANARY.decode()
ERRORS = b'{"errors":["near IDENTIFIED BY \'' + CANARY + b"'\"]}"
WRONG = {
    "closed": (_closed, "STORE_UNREACHABLE"),
    "sealed": (_sealed, "STORE_SEALED"),
    "babbling": (lambda: _answering(reply("400 Bad Request", ERRORS)), "STORE_ERROR"),
    "failing": (lambda: _answering(reply("500 Oops", ERRORS)), "STORE_ERROR"),
    "redirecting": (
        lambda: _answering(
            reply("307 Moved", b"", f"Location: http://127.0.0.1:9/{CANARY.decode()}")
        ),
        "STORE_PROTOCOL",
    ),
    "broken": (lambda: _answering(reply("200 OK", b'{"data":"' + CANARY)), "STORE_PROTOCOL"),
    "another kind": (
        lambda: _answering(reply("200 OK", b"<p>" + CANARY, kind="text/html")),
        "STORE_PROTOCOL",
    ),
    "hanging": (_hanging, "STORE_TIMEOUT"),
}


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("what", WRONG)
def test_nor_from_a_server_in_any_bad_state(scene: Scene, home: Path, era: str, what: str) -> None:
    server, code = WRONG[what]
    with server() as address:
        config = _vault(address, _token_file(home, "s.inventedTokenNobodyIssued1"), timeout=1)
        condition = Condition(f"vault, {what}", "vault://secret", (code,), config=config)
        _assert_clean(scene(condition, era), condition)


@pytest.mark.parametrize("era", ERAS)
def test_nor_after_kill_in_the_middle_of_a_call(scene: Scene, home: Path, era: str) -> None:
    with _hanging() as address:
        config = _vault(address, _token_file(home, "s.inventedTokenNobodyIssued1"), timeout=10)
        condition = Condition("vault, killed", "vault://secret", (), config=config, kill=True)
        _assert_clean(scene(condition, era), condition)


# --- the search itself ---------------------------------------------------------------------

LEAKS = {
    "stdout": (
        "import os",
        'frame = b\'{"jsonrpc":"2.0","method":"x","params":{"v":"%s"}}\\n\'',
        "os.write(1, frame % os.environb[b'APP_INVENTED'])",
    ),
    "stderr": ("import os", "os.write(2, b'lost: ' + os.environb[b'APP_INVENTED'])"),
    "file": (
        "import os, pathlib, base64",
        "text = base64.b64encode(os.environb[b'APP_INVENTED'])",
        "pathlib.Path(os.environ['HOME'], 'left').write_bytes(text)",
    ),
    "argv": (
        "import os, subprocess",
        "subprocess.run(['sh', '-c', 'sleep 0.5; : ' + os.environ['APP_INVENTED']])",
    ),
}


@pytest.mark.parametrize("channel", LEAKS)
def test_the_search_finds_a_leak_planted_in_each_channel(scene: Scene, channel: str) -> None:
    seen = scene(Condition("planted", "memory:/", (), LEAKS[channel], MEMORY), "auto")
    where = [name for name, content in seen.channels() if find(content, CANARY)]
    assert [name.partition(" ")[0] for name in where] == [channel]


def test_every_tool_is_driven(scene: Scene) -> None:
    seen = scene(Condition("memory", "memory:/", (), config=MEMORY), "auto")
    assert seen.tools == {
        "secrets_status",
        "secrets_list",
        "secrets_read",
        "secrets_write",
        "secrets_delete",
        "secrets_apply",
    }
    assert STEPS > 15
