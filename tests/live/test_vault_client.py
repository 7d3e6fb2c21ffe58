"""The Vault client against the real OpenBao server."""

from __future__ import annotations

import datetime as dt
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mcp_server.clients.vault import (
    AppRole,
    KvV1,
    KvV2,
    Login,
    TokenFromFile,
    VaultClient,
    VaultSettings,
)
from mcp_server.core.errors import (
    AuthenticationError,
    ConflictError,
    LimitError,
    NotFoundError,
    PermissionDeniedError,
    SealedStoreError,
    SecretsError,
    StoreError,
    UnreachableError,
    UnsupportedError,
)
from tests.servers.openbao import Bao, inmem_bao, persistent_bao

pytestmark = pytest.mark.openbao

MOUNTS = {"secret": 2, "team/kv": 1, "gone": 2}
CANARY = b'canary-\xc3\xa4"\\\n\x00\xf0\x9f\x94\x91'


@pytest.fixture(scope="module")
def bao() -> Iterator[Bao]:
    with inmem_bao() as server:
        server.mount_kv("secret", 2)
        server.mount_kv("team/kv", 1)
        yield server


_opened: list[VaultClient] = []


@pytest.fixture(autouse=True)
def _close_clients() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


def client_of(settings: VaultSettings, login: Login) -> VaultClient:
    _opened.append(VaultClient(settings, login))
    return _opened[-1]


def opened(bao: Bao, folder: Path, token: str, **options: object) -> VaultClient:
    (folder / "token").write_text(token)
    settings = VaultSettings(bao.address, mounts=MOUNTS, **options)
    return client_of(settings, TokenFromFile(folder / "token"))


@pytest.fixture
def vault(bao: Bao, tmp_path: Path) -> VaultClient:
    return opened(bao, tmp_path, bao.root_token)


@pytest.fixture
def kv2(vault: VaultClient) -> KvV2:
    return vault.kv2("secret")


@pytest.fixture
def kv1(vault: VaultClient) -> KvV1:
    return vault.kv1("team/kv")


def test_values_of_every_kind_come_back_byte_for_byte(kv2: KvV2) -> None:
    values = {"text": CANARY, "": b"empty name", "empty": b"", "big": b"x" * 1_000_000}
    assert kv2.write("kinds", values, cas=0).version == 1
    read = kv2.read("kinds")
    assert read.values == values
    assert read.version is not None
    assert read.version.number == 1
    assert read.version.created is not None
    assert read.version.created.tzinfo is not None
    assert "canary" not in repr(read)


def test_values_that_are_not_strings_are_read_as_compact_json(bao: Bao, kv2: KvV2) -> None:
    nested = {"n": 15, "f": 1.5, "b": True, "z": None, "o": {"a": [1, "ü"]}, "s": "5"}
    bao.api("POST", "secret/data/typed", {"data": nested})
    assert kv2.read("typed").values == {
        "n": b"15",
        "f": b"1.5",
        "b": b"true",
        "z": b"null",
        "o": '{"a":[1,"ü"]}'.encode(),
        "s": b"5",
    }


def test_compare_and_set_lets_one_writer_through(kv2: KvV2) -> None:
    kv2.write("cas", {"k": b"1"}, cas=0)
    with pytest.raises(ConflictError):
        kv2.write("cas", {"k": b"2"}, cas=0)
    with pytest.raises(ConflictError):
        kv2.patch("cas", {"k": b"2"}, cas=7)
    assert kv2.read("cas").values == {"k": b"1"}

    outcomes: list[str] = []

    def race(value: bytes) -> None:
        try:
            kv2.write("cas", {"k": value}, cas=1)
            outcomes.append("won")
        except ConflictError:
            outcomes.append("lost")

    racers = [threading.Thread(target=race, args=(str(n).encode(),)) for n in range(6)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sorted(outcomes) == ["lost"] * 5 + ["won"]


def test_a_secret_that_demands_compare_and_set_gets_it(bao: Bao, kv2: KvV2) -> None:
    kv2.write("strict", {"k": b"1"})
    bao.api("POST", "secret/metadata/strict", {"cas_required": True})
    with pytest.raises(ConflictError):
        kv2.write("strict", {"k": b"2"})
    assert kv2.write("strict", {"k": b"2"}, cas=1).version == 2


def test_patch_sets_and_removes_keys_and_reads_nothing(bao: Bao, kv2: KvV2, tmp_path: Path) -> None:
    kv2.write("patched", {"stays": CANARY, "goes": b"1", "changes": b"1"})
    patch_only = 'path "secret/data/patched" { capabilities = ["patch"] }'
    limited = opened(bao, tmp_path, bao.token(patch_only)).kv2("secret")
    with pytest.raises(PermissionDeniedError):
        limited.read("patched")
    written = limited.patch("patched", {"goes": None, "changes": b"2", "new": b"3"}, cas=1)
    assert written.version == 2
    assert kv2.read("patched").values == {"stays": CANARY, "changes": b"2", "new": b"3"}


def test_patch_of_nothing_or_of_a_deleted_version_is_not_found(kv2: KvV2) -> None:
    with pytest.raises(NotFoundError):
        kv2.patch("never", {"k": b"1"})
    kv2.write("was", {"k": b"1"})
    kv2.delete("was", [1])
    with pytest.raises(NotFoundError):
        kv2.patch("was", {"k": b"2"}, cas=1)


def test_older_versions_are_read_by_number(kv2: KvV2) -> None:
    for value in (b"1", b"2", b"3"):
        kv2.write("old", {"k": value})
    assert kv2.read("old", 2).values == {"k": b"2"}
    assert kv2.shape("old", 2).version.number == 2
    with pytest.raises(NotFoundError):
        kv2.read("old", 9)


def test_delete_undelete_destroy_and_erase(kv2: KvV2) -> None:
    for value in (b"1", b"2"):
        kv2.write("life", {"k": value})
    kv2.delete("life", [2])
    with pytest.raises(NotFoundError, match="deleted"):
        kv2.read("life")
    assert kv2.read("life", 1).values == {"k": b"1"}
    assert kv2.shape("life").keys is None
    assert kv2.shape("life").version.deleted is not None
    kv2.undelete("life", [2])
    assert kv2.read("life").values == {"k": b"2"}
    kv2.delete("life", [1])
    kv2.destroy("life", [2])
    with pytest.raises(NotFoundError, match="destroyed"):
        kv2.read("life")
    kv2.undelete("life", [1, 2])
    assert [v.destroyed for v in kv2.metadata("life").versions] == [True, False]
    with pytest.raises(ConflictError):
        kv2.write("life", {"k": b"3"}, cas=0)
    kv2.erase("life")
    with pytest.raises(NotFoundError):
        kv2.metadata("life")
    assert kv2.write("life", {"k": b"4"}, cas=0).version == 1


def test_key_names_are_read_without_values(bao: Bao, kv2: KvV2, tmp_path: Path) -> None:
    bao.api("POST", "secret/data/named", {"data": {"a": "1", "nested": {"b": "2"}}})
    kv2.patch_metadata("named", {"owner": "team-a"})
    names_only = 'path "secret/subkeys/*" { capabilities = ["read"] }'
    limited = opened(bao, tmp_path, bao.token(names_only)).kv2("secret")
    shape = limited.shape("named")
    assert shape.keys == ("a", "nested")
    assert shape.custom == {"owner": "team-a"}
    with pytest.raises(PermissionDeniedError):
        limited.read("named")


def test_custom_metadata_is_set_merged_replaced_and_bounded(kv2: KvV2) -> None:
    kv2.write_metadata("meta", {"owner": "team-a", "schedule": "30d"})
    assert kv2.metadata("meta").current == 0
    assert kv2.write("meta", {"k": b"1"}, cas=0).version == 1
    kv2.patch_metadata("meta", {"owner": "team-b", "schedule": None, "consumers": "web"})
    assert kv2.metadata("meta").custom == {"owner": "team-b", "consumers": "web"}
    kv2.write_metadata("meta", {"owner": "team-c"})
    assert kv2.metadata("meta").custom == {"owner": "team-c"}
    for too_much in ({"owner": "x" * 513}, {str(n): "x" for n in range(70)}):
        with pytest.raises(LimitError):
            kv2.patch_metadata("meta", too_much)
    with pytest.raises(NotFoundError):
        kv2.patch_metadata("never", {"owner": "x"})


def test_names_come_in_pages_and_folders_end_with_a_slash(kv2: KvV2) -> None:
    assert kv2.names("pages") == ()
    for name in ("a", "b", "b/inner", "c d", "é"):
        kv2.write(f"pages/{name}", {"k": b"1"})
    assert kv2.names("pages") == ("a", "b", "b/", "c d", "é")
    assert kv2.names("pages", limit=2) == ("a", "b")
    assert kv2.names("pages", after="b", limit=2) == ("b/", "c d")
    assert "pages/" in kv2.names()


def test_metadata_comes_in_bulk_where_the_server_has_it(kv2: KvV2) -> None:
    kv2.write("bulk/a", {"k": b"1"})
    kv2.write("bulk/b/c", {"k": b"1"})
    kv2.patch_metadata("bulk/a", {"owner": "team-a"})
    found = kv2.details("bulk")
    assert found is not None
    assert found["b/"] is None
    assert found["a"] == kv2.metadata("bulk/a")
    assert kv2.details("bulk", after="a", limit=5) == {"b/": None}
    assert kv2.details("nothing/here") == {}


def test_bulk_metadata_that_is_denied_is_no_error(bao: Bao, tmp_path: Path) -> None:
    listing = 'path "secret/metadata/*" { capabilities = ["list"] }'
    limited = opened(bao, tmp_path, bao.token(listing)).kv2("secret")
    assert limited.details("bulk") is None
    assert limited.names("bulk") is not None


def test_an_api_path_that_the_engine_lacks_is_unsupported_and_remembered(
    vault: VaultClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    kv2 = vault.kv2("secret")
    kv2.write("bulk/a", {"k": b"1"})
    real_list = KvV2._list

    def list_of_another_engine(self: KvV2, kind: str, *rest: object) -> object:
        return real_list(self, "no-such-metadata" if kind == "detailed-metadata" else kind, *rest)

    monkeypatch.setattr(KvV2, "_list", list_of_another_engine)
    assert kv2.details("bulk") is None
    monkeypatch.undo()
    assert kv2.details("bulk") is None


def test_kv1_reads_writes_lists_and_deletes(kv1: KvV1, bao: Bao) -> None:
    with pytest.raises(NotFoundError):
        kv1.read("app/db")
    assert kv1.names("app") == ()
    kv1.write("app/db", {"k": CANARY, "options": b"{}"})
    assert kv1.read("app/db").values == {"k": CANARY, "options": b"{}"}
    assert kv1.read("app/db").version is None
    kv1.write("app/db", {"only": b"1"})
    assert kv1.read("app/db").values == {"only": b"1"}
    assert kv1.names() == ("app/",)
    assert kv1.names("app") == ("db",)
    bao.api("POST", "team/kv/typed", {"n": 1, "o": {"a": []}})
    assert kv1.read("typed").values == {"n": b"1", "o": b'{"a":[]}'}
    for path in ("app/db", "app/db", "typed"):
        kv1.delete(path)
    assert kv1.names() == ()


def test_a_mount_that_is_not_there_and_one_of_the_other_version_are_told(
    vault: VaultClient, bao: Bao, tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError, match="no such mount"):
        vault.kv2("gone").read("app")
    with pytest.raises(NotFoundError, match="no such mount"):
        vault.kv2("gone").names()
    with pytest.raises(NotFoundError, match="no such mount"):
        vault.kv2("gone").write("app", {"k": b"1"})
    (tmp_path / "token").write_text(bao.root_token)
    swapped = VaultSettings(bao.address, mounts={"secret": 1})
    wrong = client_of(swapped, TokenFromFile(tmp_path / "token"))
    with pytest.raises(SecretsError):
        wrong.kv1("secret").read("kinds")
    with pytest.raises(SecretsError):
        wrong.kv1("secret").write("kinds", {"k": b"1"})


def test_an_invalid_token_is_a_login_error_and_a_missing_right_is_not(
    bao: Bao, tmp_path: Path
) -> None:
    stranger = opened(bao, tmp_path, "s.nobodyknowsthistoken12345")
    with pytest.raises(AuthenticationError):
        stranger.kv2("secret").read("kinds")
    policy = 'path "secret/data/other" { capabilities = ["read"] }'
    for without_default in (True, False):
        token = bao.token(policy, no_default_policy=without_default)
        limited = opened(bao, tmp_path, token)
        with pytest.raises(PermissionDeniedError):
            limited.kv2("secret").read("kinds")


def test_a_token_file_that_was_refreshed_is_read_again(bao: Bao, kv2: KvV2, tmp_path: Path) -> None:
    kv2.write("refreshed", {"k": b"1"})
    policy = 'path "secret/data/refreshed" { capabilities = ["read", "update"] }'
    first, second = bao.token(policy), bao.token(policy)
    client = opened(bao, tmp_path, first)
    assert client.kv2("secret").read("refreshed").values == {"k": b"1"}
    bao.api("POST", "auth/token/revoke", {"token": first})
    with pytest.raises(AuthenticationError):
        client.kv2("secret").read("refreshed")
    (tmp_path / "token").write_text(second)
    assert client.kv2("secret").write("refreshed", {"k": b"2"}, cas=1).version == 2


@pytest.fixture
def approle(bao: Bao, tmp_path: Path) -> Iterator[AppRole]:
    bao.api("POST", "sys/auth/approle", {"type": "approle"})
    policy = 'path "secret/data/app" { capabilities = ["create", "read", "update"] }'
    bao.api("PUT", "sys/policies/acl/app", {"policy": policy})
    bao.api("POST", "auth/approle/role/app", {"token_policies": ["app"], "token_ttl": "1h"})
    role_id = bao.api("GET", "auth/approle/role/app/role-id")["data"]["role_id"]
    secret_id = bao.api("POST", "auth/approle/role/app/secret-id", {})["data"]["secret_id"]
    (tmp_path / "role").write_text(role_id)
    (tmp_path / "secret").write_text(secret_id + "\n")
    yield AppRole(tmp_path / "role", tmp_path / "secret")
    bao.api("DELETE", "sys/auth/approle")


def test_approle_logs_in_by_itself_and_again_when_the_token_has_expired(
    bao: Bao, approle: AppRole
) -> None:
    client = client_of(VaultSettings(bao.address, mounts=MOUNTS), approle)
    assert client.kv2("secret").write("app", {"k": b"1"}).version >= 1
    info = client.token_info()
    assert set(info.policies) == {"app", "default"}
    assert info.expires is not None
    assert "root" not in repr(client)
    for accessor in bao.api("LIST", "auth/token/accessors")["data"]["keys"]:
        policies = bao.api("POST", "auth/token/lookup-accessor", {"accessor": accessor})
        if "app" in policies["data"]["policies"]:
            bao.api("POST", "auth/token/revoke-accessor", {"accessor": accessor})
    assert client.kv2("secret").write("app", {"k": b"2"}).version >= 2


def test_a_wrong_secret_id_is_a_login_error_without_an_echo(
    bao: Bao, approle: AppRole, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("canary-secret-id")
    client = client_of(VaultSettings(bao.address, mounts=MOUNTS), approle)
    with pytest.raises(AuthenticationError) as caught:
        client.kv2("secret").read("app")
    assert "canary" not in f"{caught.value}{caught.value!r}"


def test_namespaces_are_separate(bao: Bao, tmp_path: Path, kv2: KvV2) -> None:
    bao.api("POST", "sys/namespaces/team-a", {})
    bao.api("POST", "team-a/sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    inside = opened(bao, tmp_path, bao.root_token, namespace="team-a").kv2("secret")
    inside.write("only-inside", {"k": b"1"})
    assert inside.read("only-inside").values == {"k": b"1"}
    with pytest.raises(NotFoundError):
        kv2.read("only-inside")


def test_a_sealed_server_is_told_apart(tmp_path: Path) -> None:
    with inmem_bao() as server:
        server.mount_kv("secret", 2)
        client = opened(server, tmp_path, server.root_token)
        assert client.kv2("secret").write("app", {"k": b"1"}).version == 1
        server.api("PUT", "sys/seal")
        with pytest.raises(SealedStoreError):
            client.kv2("secret").read("app")
        with pytest.raises(SealedStoreError):
            client.kv2("secret").write("app", {"k": b"1"})


def test_mounts_and_permissions_are_discovered_without_a_right_on_them(
    bao: Bao, tmp_path: Path
) -> None:
    policy = 'path "secret/data/app/*" { capabilities = ["read"] }'
    client = opened(bao, tmp_path, bao.token(policy, no_default_policy=False))
    assert client.discover_mounts() == {"secret": 2}
    acl = client.acl()
    assert acl.allows("read", "secret/data/")
    assert not acl.allows("update", "secret/data/")
    assert not acl.allows("read", "team/kv/")
    assert not acl.root
    root = opened(bao, tmp_path, bao.root_token)
    assert root.acl().allows("sudo", "sys/")
    assert root.discover_mounts() == {"secret": 2, "team/kv": 1}


def test_a_quota_is_a_rate_limit(tmp_path: Path) -> None:
    with inmem_bao() as server:
        server.mount_kv("secret", 2)
        client = opened(server, tmp_path, server.root_token)
        client.kv2("secret").write("app", {"k": b"1"})
        server.api("POST", "sys/quotas/rate-limit/few", {"rate": 1, "path": "secret/"})
        codes = set()
        for _ in range(5):
            try:
                client.kv2("secret").read("app")
            except StoreError as error:
                codes.add(error.code)
        assert codes == {"STORE_RATE_LIMITED"}


def test_many_threads_share_a_few_connections(bao: Bao, tmp_path: Path) -> None:
    kv2 = opened(bao, tmp_path, bao.root_token, pool_size=2).kv2("secret")
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                value = f"{number}-{turn}".encode()
                kv2.write(f"threads/{number}", {"k": value})
                assert kv2.read(f"threads/{number}").values == {"k": value}
        except BaseException as error:  # noqa: BLE001 - reported by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(kv2._session._transport._idle) <= 2


def test_only_the_named_authority_is_trusted_and_no_key_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = _certificate(tmp_path)
    with inmem_bao(tls=(certificate, key)) as server:
        server.mount_kv("secret", 2)
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
        kv2 = opened(server, tmp_path, server.root_token, ca_file=certificate).kv2("secret")
        used = []
        for turn in (1, 2, 3):
            assert kv2.write("tls", {"k": b"1" * 100_000}).version == turn
            used += kv2._session._transport._idle
        assert len(used) == 3
        assert len(set(used)) == 1, "a kept connection was not used again"
        with pytest.raises(UnreachableError, match="not trusted"):
            opened(server, tmp_path, server.root_token).kv2("secret").read("tls")
        by_number = server.address.replace("localhost", "127.0.0.1")
        settings = VaultSettings(by_number, mounts=MOUNTS, ca_file=certificate)
        with pytest.raises(UnreachableError, match="not trusted"):
            client_of(settings, TokenFromFile(tmp_path / "token")).kv2("secret").read("tls")
        plain = VaultSettings(server.address.replace("https", "http"), mounts=MOUNTS)
        with pytest.raises(StoreError):
            client_of(plain, TokenFromFile(tmp_path / "token")).kv2("secret").read("tls")
    assert not (tmp_path / "keys.log").exists()
    ssl.create_default_context()
    assert (tmp_path / "keys.log").exists(), "the variable works, so its file would have shown"


def test_the_servers_audit_log_names_the_session_and_no_path_leaves_its_mount(
    tmp_path: Path,
) -> None:
    with persistent_bao(tmp_path / "bao") as server:
        server.mount_kv("secret", 2)
        server.api("POST", "sys/config/auditing/request-headers/x-agent-session", {"hmac": False})
        client = opened(server, tmp_path, server.root_token, agent_session="session-4711")
        client.kv2("secret").write("app/db", {"password": b"canary-in-audit"})
        client.kv2("secret").shape("app/db")
        client.kv2("secret").metadata("app/db")
        before = server.audit_file.read_text().count("\n")
        for path in ("../../auth/token/lookup-self", "../metadata/app", "app/../db"):
            with pytest.raises(SecretsError):
                client.kv2("secret").read(path)
        lines = server.audit_file.read_text().splitlines()
        assert len(lines) == before
    ours = [
        entry["request"]
        for entry in map(json.loads, lines)
        if entry["type"] == "request" and "x-agent-session" in entry["request"].get("headers", {})
    ]
    assert [(r["operation"], r["path"]) for r in ours] == [
        ("create", "secret/data/app/db"),
        ("read", "secret/subkeys/app/db"),
        ("read", "secret/metadata/app/db"),
    ]
    assert {r["headers"]["x-agent-session"][0] for r in ours} == {"session-4711"}
    assert "canary" not in "".join(lines)


def test_what_was_written_survives_a_restart_and_the_client_reconnects(tmp_path: Path) -> None:
    with persistent_bao(tmp_path / "bao") as server:
        server.mount_kv("secret", 2)
        client = opened(server, tmp_path, server.root_token)
        client.kv2("secret").write("app", {"k": b"1"}, cas=0)
    with pytest.raises(UnreachableError):
        client.kv2("secret").read("app")
    with persistent_bao(tmp_path / "bao"):
        assert client.kv2("secret").write("app", {"k": b"2"}, cas=1).version == 2


def test_an_ability_that_the_engine_lacks_is_unsupported(bao: Bao, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(bao.root_token)
    swapped = VaultSettings(bao.address, mounts={"cubbyhole": 2})
    client = client_of(swapped, TokenFromFile(tmp_path / "token"))
    with pytest.raises(UnsupportedError):
        client.kv2("cubbyhole").patch("app", {"k": b"1"})


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for ``localhost``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "server.pem", folder / "server.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths
