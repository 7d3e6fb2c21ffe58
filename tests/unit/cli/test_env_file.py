"""An env file: references, settings, and what looks like a secret by mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_server.cli.env_file import EnvFile, read
from mcp_server.core.errors import InputError, SourceError
from mcp_server.core.sources import SourceRules

SCHEMES = ("local", "vault")


def _read(folder: Path, text: str) -> EnvFile:
    (folder / ".env").write_text(text)
    return read(".env", SourceRules(folder), SCHEMES)


def test_references_are_told_from_settings(tmp_path: Path) -> None:
    found = _read(
        tmp_path,
        "A=local://app/db#a\nexport B='vault://secret/x?version=2#b'\nC=ref+vault://s/x#/c\nD=@db\n"
        "PORT=3000\nURL=https://api.example/v1\nEMPTY=\n",
    )
    assert found.bindings == {
        "A": "local://app/db#a",
        "B": "vault://secret/x?version=2#b",
        "C": "ref+vault://s/x#/c",
        "D": "@db",
    }
    assert found.plain == {"PORT": "3000", "URL": "https://api.example/v1", "EMPTY": ""}
    assert found.notes == ()


def test_the_last_line_of_a_name_holds(tmp_path: Path) -> None:
    found = _read(tmp_path, "A=one\nA=local://app/db#a\n")
    assert (found.bindings, found.plain) == ({"A": "local://app/db#a"}, {})


@pytest.mark.parametrize(
    "line",
    [
        "DB_PASSWORD=changeme",
        "STRIPE_SECRET=canary1",
        "GITHUB_TOKEN=canary2",
        "SIGNING_KEY=canary3",
        "DATABASE_URL=postgres://app:canary@db/app",
        "SOMETHING=canaryR7k2Qm9ZxW4tLp",
    ],
)
def test_a_line_that_looks_like_a_secret_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    found = _read(tmp_path, f"PORT=3000\n{line}\n")
    assert found.notes == ("line 2 looks like a secret in plain text; store it instead",)
    assert list(found.plain) == ["PORT", line.partition("=")[0]]
    assert line.partition("=")[2] not in repr(found)


@pytest.mark.parametrize(
    "line",
    [
        "NODE_ENV=production",
        "LOG_LEVEL=debug",
        "KEYCLOAK_URL=https://keycloak.example/realms/app",
        "TITLE='The quick brown fox'",
        "HOST=postgres-1.billing.svc.cluster.local",
        "PASSIVE=true",
    ],
)
def test_ordinary_settings_are_not(tmp_path: Path, line: str) -> None:
    assert _read(tmp_path, f"{line}\n").notes == ()


@pytest.mark.parametrize("line", ["LD_PRELOAD=x", "PATH=.", "A-B=x"])
def test_a_file_cannot_direct_programs(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError, match="Line 2"):
        _read(tmp_path, f"A=b\n{line}\n")


def test_a_broken_line_is_skipped_and_named(tmp_path: Path) -> None:
    assert _read(tmp_path, "A=b\nthis is no line\n").notes == ("line 2: not NAME=VALUE",)


def test_only_files_of_the_project_are_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("A=b\n")
    project = tmp_path / "project"
    project.mkdir()
    (project / ".env").symlink_to(outside)
    with pytest.raises(SourceError):
        read(".env", SourceRules(project), SCHEMES)
