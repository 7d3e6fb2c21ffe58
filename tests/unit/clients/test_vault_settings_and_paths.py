"""Addresses, mounts, paths and credentials that the Vault client accepts or refuses."""

from __future__ import annotations

import ipaddress
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.clients.vault import (
    TokenFromEnvironment,
    TokenFromFile,
    VaultClient,
    VaultSettings,
    discover_login,
)
from mcp_server.clients.vault._paths import encode_path, locate, target
from mcp_server.clients.vault._settings import check_peer, read_origin
from mcp_server.clients.vault.auth import Token
from mcp_server.core.errors import (
    AuthenticationError,
    BadReferenceError,
    ConfigError,
    SecretsError,
    UnsupportedError,
)

GOOD_ADDRESSES = [
    "https://vault.example.com",
    "https://vault.example.com:8200/",
    "https://10.1.2.3:8200",
    "https://[2001:db8::1]:8200",
    "http://127.0.0.1:8200",
    "http://localhost:8200",
    "http://[::1]:8200",
]
BAD_ADDRESSES = [
    "",
    "vault.example.com",
    "ftp://vault.example.com",
    "http://vault.example.com:8200",
    "http://10.1.2.3:8200",
    "http://0.0.0.0:8200",
    "http://127.1:8200",
    "http://[::]:8200",
    "https://169.254.169.254",
    "https://[fe80::1]",
    "https://[::ffff:169.254.169.254]",
    "https://[fd00:ec2::254]",
    "https://100.100.100.200",
    "https://168.63.129.16",
    "https://224.0.0.1",
    "https://user:canary-password@vault.example.com",
    "https://vault.example.com/prefix",
    "https://vault.example.com/?x=y",
    "https://vault.example.com/#x",
    "https://vault.example.com:99999",
    "https://vault example.com",
    "https://vault.example.com\r\nX-Evil: 1",
    "https://",
]


@pytest.mark.parametrize("address", GOOD_ADDRESSES)
def test_a_server_on_this_machine_or_behind_tls_is_accepted(address: str) -> None:
    assert read_origin(address).port in {8200, 443}


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_other_addresses_are_refused_without_an_echo(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        VaultSettings(address)
    assert "canary" not in str(caught.value)


def test_what_a_name_resolves_to_is_checked_like_an_address() -> None:
    with pytest.raises(ConfigError):
        check_peer(ipaddress.ip_address("169.254.169.254"), tls=True)
    with pytest.raises(ConfigError):
        check_peer(ipaddress.ip_address("10.0.0.1"), tls=False)
    check_peer(ipaddress.ip_address("10.0.0.1"), tls=True)
    check_peer(ipaddress.ip_address("::ffff:127.0.0.1"), tls=False)


@pytest.mark.parametrize(
    "options",
    [
        {"namespace": "a\r\nX-Evil: 1"},
        {"namespace": ""},
        {"agent_session": "ü"},
        {"mounts": {"secret": 3}},
        {"read_timeout": 0},
        {"pool_size": 0},
    ],
)
def test_a_setting_that_cannot_work_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        VaultSettings("https://vault.example.com", **options)


def test_a_ca_file_that_is_no_bundle_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "missing.pem"):
        settings = VaultSettings("https://vault.example.com", ca_file=tmp_path / name)
        with pytest.raises(ConfigError):
            VaultClient(settings, TokenFromFile(tmp_path / "token"))


def test_the_longest_mount_covers_a_path() -> None:
    mounts = {"team": 2, "team/kv": 1, "secret": 2}
    assert locate(mounts, "team/kv/app/db").mount == "team/kv"
    assert locate(mounts, "team/kv/app/db").path == "app/db"
    assert locate(mounts, "team/kvx").mount == "team"
    assert locate(mounts, "team/kv").path == ""
    for stranger in ("secrets/app", "sys/mounts", "teams/kv/x", ""):
        with pytest.raises(ConfigError):
            locate(mounts, stranger)


TRAVERSALS = [
    "..",
    "../../auth/token/lookup-self",
    "app/../../../sys/policies/acl/x",
    "app/./db",
    "app//db",
    "/app",
    "app/",
    "app\\..\\db",
    "app/%2e%2e/db",
    "app%2fdb",
    "app%252Fdb",
    "app/%5c",
    "app\x00db",
    "app\ndb",
    "app/\u202edb",
    "app/d\u200bb",
    "a" * 1025,
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_a_path_that_could_leave_its_mount_is_refused(path: str) -> None:
    with pytest.raises(BadReferenceError):
        encode_path(path)


def test_harmless_characters_are_encoded() -> None:
    assert encode_path("app/a b?c#d%;é@+") == "app/a%20b%3Fc%23d%25%3B%C3%A9%40%2B"
    assert target("s/metadata/x", {"after": "a/", "limit": 2}, folder=True) == (
        "/v1/s/metadata/x/?after=a%2F&limit=2"
    )


@given(st.text(max_size=40))
def test_whatever_is_let_through_stays_one_segment_each(path: str) -> None:
    try:
        encoded = encode_path(path)
    except BadReferenceError:
        return
    assert encoded.count("/") == path.count("/")
    assert encoded.isascii()
    assert not set(encoded) & set("?#\\ \r\n")
    assert not {"", ".", ".."} & set(encoded.split("/"))


def test_a_token_shows_nothing_and_cannot_be_copied() -> None:
    token = Token("s.canary-token-7391")
    assert "canary" not in f"{token}{token!r}{vars(Token)}"
    with pytest.raises(TypeError):
        pickle.dumps(token)


@pytest.mark.parametrize("content", ["", "a b", "a\nb", "ü", "x" * 20_000])
def test_a_token_file_that_holds_no_token_is_refused_without_an_echo(
    content: str, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(content)
    login = TokenFromFile(tmp_path / "token")
    with pytest.raises(ConfigError) as caught:
        login.token(_no_approle)
    assert not content or content[:3] not in str(caught.value)


def test_a_token_file_that_is_no_regular_file_never_blocks(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "missing"):
        with pytest.raises(SecretsError):
            TokenFromFile(path).token(_no_approle)


def test_the_vendors_own_login_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert discover_login({}, tmp_path) is None
    (tmp_path / ".vault-token").write_text("s.from-file\n")
    found = discover_login({}, tmp_path)
    assert found is not None
    assert found.token(_no_approle).is_same(Token("s.from-file"))
    monkeypatch.setenv("VAULT_TOKEN", "s.from-variable")
    found = discover_login({"VAULT_TOKEN": "s.from-variable"}, tmp_path)
    assert found is not None
    assert found.token(_no_approle).is_same(Token("s.from-variable"))


def test_a_variable_without_a_token_is_an_authentication_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_TOKEN_HERE", raising=False)
    with pytest.raises(AuthenticationError):
        TokenFromEnvironment("NO_TOKEN_HERE").token(_no_approle)


def test_a_value_that_is_not_text_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    settings = VaultSettings("https://vault.example.com", mounts={"secret": 2, "old": 1})
    vault = VaultClient(settings, TokenFromFile(tmp_path / "missing"))
    for write in (vault.kv2("secret").write, vault.kv2("secret").patch, vault.kv1("old").write):
        with pytest.raises(UnsupportedError, match="base64"):
            write("app/db", {"k": b"\xff\xfe"})


def _no_approle(_mount: str, _role_id: str, _secret_id: str) -> Token:
    raise AssertionError("no login expected")
