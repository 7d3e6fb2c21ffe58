"""Where the key lies, and that no keyring can hold anybody up or lose it."""

# ruff: noqa: ARG002 - the names of the parameters are those of the package keyring

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import keyring.backends.fail
import keyring.backends.null
import keyring.core
import pytest

from mcp_server.clients import keystore
from mcp_server.clients.keystore import Keyring, KeyStore, os_keyring
from mcp_server.core import sealed
from mcp_server.core.errors import ConfigError
from mcp_server.core.sealed import on_seal
from tests.servers.secret_service import SecretService, running

ROOT = Path(__file__).parents[3]
KEY = b"# created: now\nAGE-SECRET-KEY-1CANARY\n"
LINE = b"AGE-SECRET-KEY-1CANARY"

OBTAINER = """
import sys
from pathlib import Path
from mcp_server.clients.keystore import KeyStore
print("ready", flush=True)
sys.stdin.readline()
made = sys.argv[2].encode()
print(KeyStore(Path(sys.argv[1]), None).obtain(lambda: made).decode(), flush=True)
"""


class DictKeyring:
    """A keyring that works."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password


class ForgetfulKeyring(DictKeyring):
    def set_password(self, service: str, username: str, password: str) -> None:
        pass


class BrokenKeyring(DictKeyring):
    """Fails as no library should: with the secret in its message."""

    def get_password(self, service: str, username: str) -> str | None:
        raise LookupError(KEY.decode())

    def set_password(self, service: str, username: str, password: str) -> None:
        raise SystemError(password)


class SilentKeyring(DictKeyring):
    """Waits for a person who does not come."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.end = Event()

    def get_password(self, service: str, username: str) -> str | None:
        self.asked += 1
        self.end.wait(60)
        return super().get_password(service, username)


def _fail_to_start() -> Keyring | None:
    raise RuntimeError("no bus")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config" / "age-key.txt"


@pytest.fixture
def watched() -> Iterator[list[bytes]]:
    seen: list[bytes] = []
    before = list(sealed._watchers)
    on_seal(lambda payload, _bits: seen.append(payload))
    yield seen
    sealed._watchers[:] = before


def test_a_keyring_that_works_keeps_the_key_and_no_file_is_made(path: Path) -> None:
    ring = DictKeyring()

    assert KeyStore(path, lambda: ring).obtain(lambda: KEY) == KEY
    assert list(KeyStore(path, lambda: ring).identities()) == [KEY]
    assert KeyStore(path, lambda: ring).obtain(lambda: b"another") == KEY
    assert not path.exists()


UNUSABLE: dict[str, Callable[[], Keyring | None] | None] = {
    "switched off": None,
    "none here": lambda: None,
    "fails to start": _fail_to_start,
    "fails": BrokenKeyring,
    "forgets": ForgetfulKeyring,
    "null": keyring.backends.null.Keyring,
    "fail": keyring.backends.fail.Keyring,
}


@pytest.mark.parametrize("find", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_without_a_usable_keyring_the_key_is_in_a_private_file(
    path: Path,
    find: Callable[[], Keyring | None] | None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert KeyStore(path, find).obtain(lambda: KEY) == KEY

    assert path.read_bytes() == KEY
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(KeyStore(path, find).identities()) == [KEY]
    assert "CANARY" not in "".join(capfd.readouterr())


def test_a_keyring_that_does_not_answer_is_left_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keystore, "PATIENCE", 0.05)
    ring = SilentKeyring()
    store = KeyStore(path, lambda: ring)

    assert store.obtain(lambda: KEY) == KEY
    assert list(store.identities()) == [KEY]
    assert ring.asked == 1
    assert path.read_bytes() == KEY
    ring.end.set()


def test_a_rested_keyring_is_asked_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keystore, "_REST", 0.0)
    monkeypatch.setattr(keystore, "PATIENCE", 0.05)
    ring = SilentKeyring()
    ring.kept[keystore.SERVICE, keystore.ACCOUNT] = KEY.decode()
    store = KeyStore(path, lambda: ring)
    assert list(store.identities()) == []

    ring.end.set()
    monkeypatch.setattr(keystore, "PATIENCE", 10)

    assert list(store.identities()) == [KEY]


def test_a_bus_that_accepts_and_says_nothing_costs_the_patience_only(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real Secret Service client against a socket that never answers."""
    monkeypatch.setattr(keystore, "PATIENCE", 0.2)
    with socket.socket(socket.AF_UNIX) as bus:
        bus.bind(str(tmp_path / "bus"))
        bus.listen()
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path / 'bus'}")
        store = KeyStore(path)

        assert list(store.identities()) == []
        bus.settimeout(10)
        bus.accept()[0].close()
    assert store.obtain(lambda: KEY) == KEY
    assert path.read_bytes() == KEY


def test_the_secret_service_keeps_the_key(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real client library on a real socket; none of the package's plug-ins is looked for."""
    service = SecretService()
    with running(service, tmp_path / "bus") as address:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)

        assert KeyStore(path).obtain(lambda: KEY) == KEY
        assert list(KeyStore(path).identities()) == [KEY]
        assert KeyStore(path).obtain(lambda: b"another") == KEY
    assert [value for _, value in service.kept.values()] == [KEY]
    assert not path.exists()
    assert keyring.core._keyring_backend is None


def test_a_collection_that_ends_with_the_session_keeps_no_key(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = SecretService("session")
    with running(service, tmp_path / "bus") as address:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)

        assert KeyStore(path).obtain(lambda: KEY) == KEY
    assert service.kept == {}
    assert path.read_bytes() == KEY


def test_a_locked_keyring_whose_person_does_not_come_counts_as_none(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keystore, "PATIENCE", 0.5)
    service = SecretService(locked=True)
    with running(service, tmp_path / "bus") as address:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)

        assert KeyStore(path).obtain(lambda: KEY) == KEY
        assert service.asked.wait(30)
    assert path.read_bytes() == KEY


def test_without_a_bus_there_is_no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")

    assert os_keyring() is None


def test_the_file_comes_first_and_the_keyring_is_asked_only_then(path: Path) -> None:
    ring = DictKeyring()
    ring.kept[keystore.SERVICE, keystore.ACCOUNT] = "of the ring"
    KeyStore(path, None).obtain(lambda: KEY)

    identities = KeyStore(path, lambda: ring).identities()

    assert next(identities) == KEY
    assert next(identities) == b"of the ring"
    assert list(identities) == []


def test_the_guard_learns_of_the_key_before_anybody_has_it(
    path: Path, watched: list[bytes]
) -> None:
    KeyStore(path, None).obtain(lambda: KEY)
    assert watched == [LINE]

    next(KeyStore(path, None).identities())
    assert watched == [LINE, LINE]


def _readable(path: Path) -> None:
    path.write_bytes(KEY)
    path.chmod(0o640)


def _writable(path: Path) -> None:
    path.write_bytes(KEY)
    path.chmod(0o602)


def _foreign(path: Path) -> None:
    path.write_bytes(KEY)
    path.chmod(0o600)
    os.chown(path, 12345, 12345)


def _link(path: Path) -> None:
    target = path.with_name("elsewhere")
    target.write_bytes(KEY)
    target.chmod(0o600)
    path.symlink_to(target)


REFUSED = [_readable, _writable, _link, os.mkfifo, Path.mkdir]
if os.geteuid() == 0:  # only root can give files away
    REFUSED.append(_foreign)


@pytest.mark.parametrize("make", REFUSED)
def test_a_key_file_that_is_not_private_is_not_used(
    path: Path, make: Callable[[Path], None]
) -> None:
    path.parent.mkdir()
    make(path)

    for use in (lambda s: list(s.identities()), lambda s: s.obtain(lambda: b"another")):
        with pytest.raises(ConfigError) as refusal:
            use(KeyStore(path, None))
        assert refusal.value.next_step
        assert "CANARY" not in str(refusal.value)


def test_several_processes_that_make_a_key_agree_on_one(path: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", OBTAINER, str(path), f"key-{number}"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    keys = {child.communicate("go\n", timeout=60)[0].strip() for child in children}

    assert keys == {path.read_text()}
