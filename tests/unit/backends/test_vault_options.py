"""Which settings of a Vault store are accepted, and where its token may come from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mcp_server.backends.vault._custom import from_custom, labels, to_custom
from mcp_server.backends.vault._options import read_login, read_settings
from mcp_server.clients.vault import AppRole, TokenFromEnvironment, TokenFromFile
from mcp_server.core.errors import ConfigError, LimitError
from mcp_server.core.model import Metadata
from mcp_server.core.ports import StoreSettings

ADDRESS = "https://vault.example.com:8200"


def store(**options: object) -> StoreSettings:
    return StoreSettings("team", "vault", {"address": ADDRESS, **options})


def test_every_option_reaches_the_client() -> None:
    read = read_settings(
        store(
            mounts={"secret": 2, "team/kv/": 1},
            namespace="team-a",
            ca_file="/etc/ssl/team.pem",
            timeout=3,
            connect_timeout=0.5,
        ),
        "session-1",
    )
    assert read.mounts == {"secret": 2, "team/kv": 1}
    assert (read.namespace, read.ca_file) == ("team-a", Path("/etc/ssl/team.pem"))
    assert (read.read_timeout, read.connect_timeout) == (3.0, 0.5)
    assert read.agent_session == "session-1"


@pytest.mark.parametrize(
    "options",
    [
        {"adress": ADDRESS},
        {"address": None},
        {"address": "http://vault.example.com"},
        {"mounts": ["secret"]},
        {"mounts": {"secret": "2"}},
        {"mounts": {"secret": True}},
        {"mounts": {"secret": 3}},
        {"mounts": {"secret": 2, "secret/": 1}},
        {"namespace": 1},
        {"ca_file": "relative.pem"},
        {"timeout": "5"},
        {"timeout": True},
        {"timeout": 0},
        {"timeout": 601},
        {"timeout": float("nan")},
        {"connect_timeout": -1},
    ],
)
def test_an_unknown_or_wrong_option_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        read_settings(store(**options), "session-1")


def test_each_way_to_log_in_is_read(tmp_path: Path) -> None:
    ways = {
        TokenFromFile: {"method": "token", "file": "~/.vault-token"},
        TokenFromEnvironment: {"method": "token", "env": "TEAM_TOKEN"},
        AppRole: {"method": "approle", "role_id_file": "/r", "secret_id_file": "/s"},
    }
    for kind, auth in ways.items():
        assert type(read_login(store(auth=auth), {}, tmp_path)) is kind


@pytest.mark.parametrize(
    "auth",
    [
        "token",
        {},
        {"method": "token"},
        {"method": "token", "token": "canary-token-in-config"},
        {"method": "token", "file": "/a", "env": "B"},
        {"method": "token", "file": "relative"},
        {"method": "token", "env": "A B"},
        {"method": "approle", "role_id_file": "/r"},
        {"method": "approle", "role_id_file": "/r", "secret_id": "canary-secret-id"},
        {"method": "userpass", "file": "/a"},
    ],
)
def test_another_login_is_refused_without_an_echo(auth: object, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_login(store(auth=auth), {}, tmp_path)
    assert "canary" not in f"{caught.value}{caught.value!r}"


def test_a_token_found_on_the_machine_goes_only_where_its_owner_sends_it(tmp_path: Path) -> None:
    (tmp_path / ".vault-token").write_text("s.canary-token-7391")
    for environment in (
        {},
        {"VAULT_TOKEN": "s.x"},
        {"VAULT_ADDR": "https://other.example.com:8200", "VAULT_TOKEN": "s.x"},
        {"VAULT_ADDR": ADDRESS.replace("8200", "8201")},
    ):
        with pytest.raises(ConfigError, match="No login"):
            read_login(store(), environment, tmp_path)
    assert type(read_login(store(), {"VAULT_ADDR": f"{ADDRESS}/"}, tmp_path)) is TokenFromFile
    assert type(read_login(store(), {"BAO_ADDR": ADDRESS}, tmp_path)) is TokenFromFile
    both = {"VAULT_ADDR": ADDRESS, "VAULT_TOKEN": "s.x"}
    assert type(read_login(store(), both, tmp_path)) is TokenFromEnvironment


def test_declared_metadata_survives_and_foreign_text_is_read_kindly() -> None:
    declared = Metadata("team", None, ("a, b", "c"))
    custom = to_custom(declared)
    assert custom == {"owner": "team", "schedule": None, "consumers": '["a, b", "c"]'}
    kept = {name: text for name, text in custom.items() if text is not None}
    assert from_custom(kept) == declared
    assert from_custom({"consumers": "web, api ,"}).consumers == ("web", "api")
    for odd in ("[1,", '{"a": 1}', "[" * 5000):
        assert all(isinstance(name, str) for name in from_custom({"consumers": odd}).consumers)
    assert from_custom({}) == Metadata()
    assert labels({"owner": "x", "team": "y"}) == {"team": "y"}


def test_metadata_that_the_server_would_refuse_is_refused_first() -> None:
    for too_long in (Metadata(owner="ü" * 300), Metadata(consumers=("service",) * 80)):
        with pytest.raises(LimitError):
            to_custom(too_long)


def test_neither_hvac_nor_requests_is_loaded_before_a_login_needs_it() -> None:
    script = (
        "import sys, mcp_server.backends.vault;"
        "print([n for n in ('hvac', 'requests', 'urllib3') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout.strip() == "[]"
