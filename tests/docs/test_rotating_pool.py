"""The pool template keeps serving through a rotation, on a real PostgreSQL.

Each law is also held against a pool that people usually write first. That one must break it, or
the law proves nothing.
"""

from __future__ import annotations

import importlib.util
import json
import queue
import secrets
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import ModuleType

    from tests.servers.postgres import Postgres

ASSET = Path(__file__).parents[2] / "skills/secrets-patterns/assets/rotating-pool/rotating_pool.py"


def _load_asset() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rotating_pool", ASSET)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["rotating_pool"] = module
    spec.loader.exec_module(module)
    return module


class Pool(Protocol):
    def connection(
        self, timeout: float | None = None
    ) -> AbstractContextManager[psycopg.Connection[tuple[Any, ...]]]: ...


@dataclass
class Rotation:
    """A role and the file that holds its credential, as an agent would keep it."""

    postgres: Postgres
    file: Path
    role: str = ""

    def issue(self) -> None:
        self.role = f"v-app-{secrets.token_hex(6)}"
        password = f"canary-{secrets.token_hex(12)}"
        self.postgres.admin(f"CREATE ROLE \"{self.role}\" LOGIN PASSWORD '{password}'")
        replacement = self.file.with_suffix(".new")
        replacement.write_text(
            json.dumps({"username": self.role, "password": password}), encoding="utf-8"
        )
        replacement.rename(self.file)

    def revoke(self) -> None:
        self.postgres.admin(f'DROP ROLE "{self.role}"')

    def end_sessions(self) -> None:
        self.postgres.admin(
            # S608: an invented role name of this test
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename='{self.role}'"  # noqa: S608
        )


class ForgetfulPool:
    """Reads the credential once; sees errors only while connecting; loses what fails."""

    def __init__(self, file: Path, server: dict[str, Any]) -> None:
        self._file = file
        self._server = server
        self.credential = self.read()
        self.opened: list[psycopg.Connection[tuple[Any, ...]]] = []
        self.idle: list[psycopg.Connection[tuple[Any, ...]]] = []
        self.idle = [self.connect(), self.connect()]

    def read(self) -> dict[str, Any]:
        content = json.loads(self._file.read_text(encoding="utf-8"))
        return {"user": content["username"], "password": content["password"]}

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        connection = psycopg.connect(**self._server, **self.credential)
        self.opened.append(connection)
        return connection

    @contextmanager
    def connection(
        self, timeout: float | None = None
    ) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        del timeout
        connection = self.idle.pop() if self.idle else self.connect()
        yield connection
        connection.rollback()
        self.idle.append(connection)

    def closeall(self) -> None:
        for connection in self.opened:
            connection.close()


class ImpatientPool(ForgetfulPool):
    """Sees the new credential, and closes every connection at once, whoever is using it."""

    @contextmanager
    def connection(
        self, timeout: float | None = None
    ) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        if self.read() != self.credential:
            self.closeall()
            self.credential = self.read()
            self.idle = []
        with super().connection(timeout) as connection:
            yield connection


@pytest.fixture
def rotation(postgres: Postgres, tmp_path: Path) -> Rotation:
    rotation = Rotation(postgres, tmp_path / "database.json")
    rotation.issue()
    return rotation


@pytest.fixture
def pool(rotation: Rotation) -> Iterator[Pool]:
    module = _load_asset()
    with module.RotatingPool(rotation.file, rotation.postgres.server, size=2) as pool:
        pool.wait()
        yield pool


def _current_user(pool: Pool) -> str:
    with pool.connection() as connection:
        row = connection.execute("SELECT current_user").fetchone()
        assert row is not None
        return str(row[0])


def _after_lost_sessions(pool: Pool, rotation: Rotation) -> None:
    rotation.end_sessions()
    assert _current_user(pool) == rotation.role


def _after_revoked_lease(pool: Pool, rotation: Rotation) -> None:
    rotation.revoke()
    rotation.issue()
    assert _current_user(pool) == rotation.role


def _after_late_renewal(pool: Pool, rotation: Rotation) -> None:
    """The role goes while its session stays open, and only then a new credential arrives."""
    _current_user(pool)
    rotation.revoke()
    with pytest.raises(psycopg.Error), pool.connection(timeout=0.3) as connection:
        connection.execute("SELECT current_user")
    rotation.issue()
    assert _current_user(pool) == rotation.role


def _while_another_thread_works(pool: Pool, rotation: Rotation) -> None:
    """A thread in the middle of a transaction finishes it, although the credential changes."""
    started, rotated, outcome = threading.Event(), threading.Event(), queue.SimpleQueue[object]()

    def transaction() -> None:
        try:
            with pool.connection() as connection:
                connection.execute("SELECT 1")
                started.set()
                assert rotated.wait(30)
                outcome.put(connection.execute("SELECT 42").fetchone())
        except psycopg.Error as error:
            outcome.put(error)

    thread = threading.Thread(target=transaction)
    thread.start()
    assert started.wait(30)
    rotation.issue()
    _current_user(pool)
    rotated.set()
    thread.join(30)
    assert outcome.get(timeout=1) == (42,)


def _after_errors_in_the_application(pool: Pool, rotation: Rotation) -> None:
    """Every checkout comes back, also when the code that used it failed."""
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), pool.connection():
            raise ZeroDivisionError
    assert _current_user(pool) == rotation.role
    sessions = rotation.postgres.admin(
        f"SELECT count(*) FROM pg_stat_activity WHERE usename='{rotation.role}'"  # noqa: S608 - as above
    )
    assert sessions == [(2,)]


LAWS = {
    _after_lost_sessions: ForgetfulPool,
    _after_revoked_lease: ForgetfulPool,
    _after_late_renewal: ForgetfulPool,
    _after_errors_in_the_application: ForgetfulPool,
    _while_another_thread_works: ImpatientPool,
}


def _name(argument: Callable[..., Any]) -> str:
    return argument.__name__.strip("_")


@pytest.mark.parametrize("law", LAWS, ids=_name)
def test_the_pool_keeps_serving(
    law: Callable[[Pool, Rotation], None], pool: Pool, rotation: Rotation
) -> None:
    law(pool, rotation)


@pytest.mark.parametrize(("law", "usual"), LAWS.items(), ids=_name)
def test_the_usual_first_version_does_not(
    law: Callable[[Pool, Rotation], None], usual: type[ForgetfulPool], rotation: Rotation
) -> None:
    pool = usual(rotation.file, rotation.postgres.server)
    try:
        with pytest.raises((AssertionError, psycopg.Error)):
            law(pool, rotation)
    finally:
        pool.closeall()


def test_a_rotated_credential_is_used_at_the_next_checkout(pool: Pool, rotation: Rotation) -> None:
    before = _current_user(pool)
    rotation.issue()
    assert before != rotation.role
    assert _current_user(pool) == rotation.role


def test_the_password_is_in_no_representation(pool: Pool, rotation: Rotation) -> None:
    password = json.loads(rotation.file.read_text(encoding="utf-8"))["password"]
    credential = sys.modules["rotating_pool"].read_credential(rotation.file)
    shown = [repr(credential), str(credential), f"{credential}", repr(pool)]
    assert credential.password == password
    assert not [text for text in shown if password in text]
