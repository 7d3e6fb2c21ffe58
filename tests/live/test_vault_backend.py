"""What the contract does not ask of a Vault store: mounts, types, what the server saw."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_server.backends.vault import VaultBackend
from mcp_server.core.errors import (
    AuthenticationError,
    BadReferenceError,
    ConfigError,
    ConflictError,
    InputError,
    NotFoundError,
    OutcomeUnknownError,
    SealedStoreError,
    SecretsError,
    UnreachableError,
    UnsupportedError,
)
from mcp_server.core.journal import Journal
from mcp_server.core.model import Act, Change, Entry, Metadata, Removal, RemovalMode, State
from mcp_server.core.ports import Session, StoreSettings
from mcp_server.core.refs import Ref
from mcp_server.core.sealed import _open, seal
from tests.servers.hostile import hostile_server, reply
from tests.servers.openbao import Bao, inmem_bao, persistent_bao

pytestmark = pytest.mark.openbao

ACT = Act("backend-test")
MOUNTS = {"secret": 2, "team/kv": 1, "team/new": 2}
_opened: list[VaultBackend] = []


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


@pytest.fixture(scope="module")
def bao() -> Iterator[Bao]:
    with inmem_bao() as server:
        for mount, version in MOUNTS.items():
            server.mount_kv(mount, version)
        yield server


def opened(address: str, token: str, folder: Path, **options: object) -> VaultBackend:
    (folder / "token").write_text(token)
    wish = {
        "address": address,
        "mounts": MOUNTS,
        "auth": {"method": "token", "file": str(folder / "token")},
        **options,
    }
    session = Session("session-4711", Journal(folder / "journal.jsonl"))
    _opened.append(VaultBackend(StoreSettings("team", "vault", wish), session))
    return _opened[-1]


@pytest.fixture
def vault(bao: Bao, tmp_path: Path) -> VaultBackend:
    return opened(bao.address, bao.root_token, tmp_path)


def change(values: dict[str, bytes], **options: object) -> Change:
    return Change({key: seal(value) for key, value in values.items()}, **options)


def fetched(vault: VaultBackend, ref: str) -> dict[str, bytes]:
    secret = vault.fetch(Ref.parse(ref), ACT)
    return {key: _open(value) for key, value in secret.values.items()}


def listed(vault: VaultBackend, prefix: str) -> list[Entry]:
    return list(vault.list_names(Ref.parse_prefix(prefix), ACT).entries)


def test_listing_starts_at_the_configured_mounts(bao: Bao, vault: VaultBackend) -> None:
    bao.api("POST", "team/new/data/listed", {"data": {}})
    folders = [Entry("secret", folder=True), Entry("team", folder=True)]
    assert listed(vault, "vault://") == folders
    assert listed(vault, "vault://team") == [Entry("kv", folder=True), Entry("new", folder=True)]
    assert listed(vault, "vault://team/new/") == [Entry("listed")]


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("vault://sys/mounts", ConfigError),
        ("vault://secrets/app", ConfigError),
        ("vault://team/other/app", ConfigError),
        ("vault://secret", BadReferenceError),
        ("vault://team/kv", BadReferenceError),
        ("vault://team", ConfigError),
        ("vault://secret/%252e%252e/x", BadReferenceError),
        ("vault:///secret/app", BadReferenceError),
        ("vault://secret/app?stage=AWSCURRENT", BadReferenceError),
    ],
)
def test_what_lies_in_no_configured_mount_is_refused_before_any_request(
    vault: VaultBackend, ref: str, expected: type[SecretsError]
) -> None:
    for use in (vault.describe, vault.fetch):
        with pytest.raises(expected):
            use(Ref.parse(ref), ACT)


def test_segments_that_lead_out_are_refused_even_when_no_reference_was_parsed(
    vault: VaultBackend,
) -> None:
    for path in ("secret/../sys/policies/acl/x", "secret/a//b", "secret/./a", "../secret/a"):
        for use in (vault.describe, vault.fetch):
            with pytest.raises(BadReferenceError):
                use(Ref("vault", path), ACT)
        with pytest.raises(BadReferenceError):
            vault.delete(Ref("vault", path), Removal(RemovalMode.ERASE), ACT)


def test_a_merge_leaves_numbers_and_objects_of_others_as_they_are(
    bao: Bao, vault: VaultBackend
) -> None:
    typed = {"n": 5, "o": {"a": [1]}, "old": "x"}
    bao.api("POST", "secret/data/typed", {"data": typed})
    bao.api("POST", "team/kv/typed", typed)
    for ref in ("vault://secret/typed", "vault://team/kv/typed"):
        vault.put(Ref.parse(ref), change({"new": b"1"}, remove=frozenset({"old"})), ACT)
    kept = {"n": 5, "o": {"a": [1]}, "new": "1"}
    assert bao.api("GET", "secret/data/typed")["data"]["data"] == kept
    assert bao.api("GET", "team/kv/typed")["data"] == kept
    assert fetched(vault, "vault://secret/typed#/o/a/0") == {"0": b"1"}


def test_a_blind_merge_starts_a_secret_and_goes_on_after_a_deletion(vault: VaultBackend) -> None:
    ref = Ref.parse("vault://secret/blind")
    assert vault.put(ref, change({"a": b"1"}), ACT).version == "1"
    vault.delete(ref, Removal(RemovalMode.DELETE), ACT)
    assert vault.put(ref, change({"b": b"2"}), ACT).version == "2"
    assert fetched(vault, str(ref)) == {"b": b"2"}


def test_metadata_can_be_declared_ahead_of_the_first_value(vault: VaultBackend) -> None:
    ref = Ref.parse("vault://secret/ahead")
    vault.put(ref, change({}, metadata=Metadata("team-a"), expected="0"), ACT)
    described = vault.describe(ref, ACT)
    assert (described.state, described.revision) == (State.ABSENT, "0")
    assert described.metadata.owner == "team-a"
    assert vault.put(ref, change({"k": b"1"}, expected="0"), ACT).version == "1"
    assert vault.describe(ref, ACT).metadata.owner == "team-a"


def test_labels_of_others_are_shown_and_left_alone(bao: Bao, vault: VaultBackend) -> None:
    ref = Ref.parse("vault://secret/labelled")
    bao.api("POST", "secret/metadata/labelled", {"custom_metadata": {"cost": "42", "owner": "x"}})
    vault.put(ref, change({"k": b"1"}, metadata=Metadata(schedule="30d")), ACT)
    described = vault.describe(ref, ACT)
    assert described.labels == {"cost": "42"}
    assert described.metadata == Metadata(schedule="30d")


def test_a_version_that_will_expire_is_live_until_then(bao: Bao, vault: VaultBackend) -> None:
    bao.api("POST", "secret/metadata/expiring", {"delete_version_after": "1h"})
    ref = Ref.parse("vault://secret/expiring")
    vault.put(ref, change({"k": b"1"}), ACT)
    described = vault.describe(ref, ACT)
    assert described.state is State.LIVE
    assert described.keys == ("k",)


def test_pruned_versions_are_neither_shown_nor_found(bao: Bao, vault: VaultBackend) -> None:
    bao.api("POST", "secret/metadata/pruned", {"max_versions": 2})
    ref = Ref.parse("vault://secret/pruned")
    for value in (b"1", b"2", b"3"):
        vault.put(ref, change({"k": value}), ACT)
    assert [v.version for v in vault.describe(ref, ACT).versions] == ["3", "2"]
    with pytest.raises(NotFoundError):
        fetched(vault, "vault://secret/pruned?version=1")
    with pytest.raises(NotFoundError):
        vault.delete(ref, Removal(RemovalMode.DELETE, ("1",)), ACT)


def test_a_deletion_does_not_touch_a_version_that_it_did_not_see(
    bao: Bao, vault: VaultBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = Ref.parse("vault://secret/raced")
    seen = vault.put(ref, change({"k": b"1"}), ACT).revision
    kv = vault._client.kv2("secret")
    look = type(kv).metadata

    def look_and_lose_a_race(self: object, path: str) -> object:
        found = look(self, path)
        bao.api("POST", "secret/data/raced", {"data": {"k": "2"}})
        return found

    monkeypatch.setattr(type(kv), "metadata", look_and_lose_a_race)
    vault.delete(ref, Removal(RemovalMode.DESTROY, expected=seen), ACT)
    monkeypatch.undo()
    states = [version.state for version in vault.describe(ref, ACT).versions]
    assert states == [State.LIVE, State.DESTROYED]
    assert fetched(vault, str(ref)) == {"k": b"2"}


def test_version_one_refuses_what_it_cannot_do_and_says_why(vault: VaultBackend) -> None:
    ref = Ref.parse("vault://team/kv/plain")
    vault.put(ref, change({"k": b"1"}), ACT)
    attempts = [
        lambda: vault.put(ref, change({"k": b"2"}, expected="1"), ACT),
        lambda: vault.put(ref, change({"k": b"2"}, metadata=Metadata("x")), ACT),
        lambda: vault.delete(ref, Removal(RemovalMode.DELETE), ACT),
        lambda: vault.delete(ref, Removal(RemovalMode.ERASE, ("1",)), ACT),
        lambda: vault.fetch(Ref.parse("vault://team/kv/plain?version=1"), ACT),
    ]
    for attempt in attempts:
        with pytest.raises(UnsupportedError, match="version 1"):
            attempt()
    assert fetched(vault, str(ref)) == {"k": b"1"}


def test_a_root_token_is_warned_about(vault: VaultBackend) -> None:
    identity = vault.identity()
    assert identity.who == "root"
    assert "root token" in identity.warnings[0]
    assert identity.missing == ()


def test_a_mount_of_the_other_version_is_noticed_before_anything_is_written(
    bao: Bao, tmp_path: Path
) -> None:
    swapped = opened(bao.address, bao.root_token, tmp_path, mounts={"secret": 1, "team/kv": 2})
    for mount in ("secret", "team/kv"):
        ref = Ref.parse(f"vault://{mount}/swapped")
        with pytest.raises(ConfigError, match="KV version"):
            swapped.put(ref, change({"k": b"1"}), ACT)
    for call in (
        lambda: swapped.fetch(Ref.parse("vault://secret/x"), ACT),
        lambda: swapped.describe(Ref.parse("vault://secret/x"), ACT),
        lambda: listed(swapped, "vault://secret"),
    ):
        with pytest.raises(ConfigError, match="KV version"):
            call()
    right = opened(bao.address, bao.root_token, tmp_path)
    names = {
        entry.name for mount in ("secret", "team/kv") for entry in listed(right, f"vault://{mount}")
    }
    assert not names & {"swapped", "data"}


def test_without_mounts_the_status_proposes_what_the_login_sees(bao: Bao, tmp_path: Path) -> None:
    policy = [
        'path "team/kv/x" { capabilities = ["read"] }',
        'path "secret/data/x" { capabilities = ["read"] }',
    ]
    token = bao.token("\n".join(policy), no_default_policy=False)
    identity = opened(bao.address, token, tmp_path, mounts={}).identity()
    assert identity.missing == ()
    assert any("`mounts: {secret: 2, team/kv: 1}`" in warning for warning in identity.warnings)


def test_a_login_that_may_not_look_itself_up_is_an_error_with_a_next_step(
    bao: Bao, tmp_path: Path
) -> None:
    token = bao.token('path "secret/data/*" { capabilities = ["read"] }')
    with pytest.raises(SecretsError) as caught:
        opened(bao.address, token, tmp_path).identity()
    assert caught.value.code == "PERMISSION_DENIED"
    assert "auth/token/lookup-self" in caught.value.next_step
    stranger = opened(bao.address, "s.nobodyknowsthistoken12345", tmp_path)
    for call in (stranger.identity, lambda: stranger.describe(Ref.parse("vault://secret/x"), ACT)):
        with pytest.raises(AuthenticationError):
            call()


def test_a_made_up_cursor_of_any_length_is_an_input_error(vault: VaultBackend) -> None:
    for cursor in ("x" * 513, "a\nb", "\u202e"):
        with pytest.raises(InputError):
            vault.list_names(Ref.parse_prefix("vault://secret"), ACT, cursor=cursor)


def test_describing_and_listing_never_read_a_value_and_the_log_names_the_session(
    tmp_path: Path,
) -> None:
    with persistent_bao(tmp_path / "bao") as server:
        server.mount_kv("secret", 2)
        server.mount_kv("team/kv", 1)
        server.api("POST", "sys/config/auditing/request-headers/x-agent-session", {"hmac": False})
        server.api("POST", "secret/data/app/db", {"data": {"password": "canary-audited"}})
        server.api("POST", "team/kv/app/db", {"password": "canary-audited"})
        vault = opened(server.address, server.root_token, tmp_path)
        for mount in ("secret", "team/kv"):
            vault.describe(Ref.parse(f"vault://{mount}/app/db"), ACT)
            vault.list_names(Ref.parse_prefix(f"vault://{mount}/app"), ACT, details=True)
        described = _ours(server)
        vault.fetch(Ref.parse("vault://secret/app/db"), ACT)
        read = _ours(server)[len(described) :]

    assert described == [
        ("read", "secret/metadata/app/db"),
        ("read", "secret/subkeys/app/db"),
        ("list", "secret/detailed-metadata/app/"),
        ("list", "team/kv/app/"),
        ("list", "team/kv/app/"),
    ]
    assert read == [("read", "secret/data/app/db")]


def _ours(server: Bao) -> list[tuple[str, str]]:
    """Operation and path of each request that carried our session, oldest first."""
    entries = [json.loads(line) for line in server.audit_file.read_text().splitlines()]
    requests = [entry["request"] for entry in entries if entry["type"] == "request"]
    return [
        (request["operation"], request["path"])
        for request in requests
        if request.get("headers", {}).get("x-agent-session") == ["session-4711"]
    ]


def test_a_sealed_or_stopped_server_is_an_error_and_not_an_absent_secret(tmp_path: Path) -> None:
    ref = Ref.parse("vault://secret/app")
    with inmem_bao() as server:
        server.mount_kv("secret", 2)
        vault = opened(server.address, server.root_token, tmp_path)
        server.api("PUT", "sys/seal")
        for call in (
            lambda: vault.describe(ref, ACT),
            lambda: vault.list_names(Ref.parse_prefix("vault://secret"), ACT, details=True),
            lambda: vault.put(ref, change({"k": b"1"}), ACT),
            vault.identity,
        ):
            with pytest.raises(SealedStoreError):
                call()
    with pytest.raises(UnreachableError):
        vault.describe(ref, ACT)


def test_a_lost_reply_is_told_and_the_journal_says_that_it_failed(tmp_path: Path) -> None:
    ref = Ref.parse("vault://secret/app")

    def lose_the_reply(connection: socket.socket, number: int) -> None:
        if number == 1:
            connection.sendall(reply("200 OK", b"{}"))  # the version of the mount
        else:
            connection.shutdown(socket.SHUT_RDWR)

    with hostile_server(lose_the_reply) as server:
        vault = opened(server.address, "s.token", tmp_path, timeout=2)
        for options in ({"replace": True}, {"expected": "3"}, {"expected": "0"}):
            with pytest.raises(OutcomeUnknownError):
                vault.put(ref, change({"k": b"canary-lost"}, **options), ACT)
    codes = [record.event.code for record in vault.session.journal.records()]
    assert codes == [None, "OUTCOME_UNKNOWN"] * 3


def test_values_that_were_written_are_not_called_unwritten_when_metadata_fails(
    tmp_path: Path,
) -> None:
    written = reply("200 OK", b'{"data":{"version":4,"created_time":""}}')
    denied = reply("403 Forbidden", b"{}")

    def deny_metadata(connection: socket.socket, number: int) -> None:
        connection.sendall({1: reply("200 OK", b"{}"), 2: written}.get(number, denied))

    with hostile_server(deny_metadata) as server:
        vault = opened(server.address, "s.token", tmp_path, timeout=2)
        with pytest.raises(OutcomeUnknownError, match="values were written"):
            vault.put(
                Ref.parse("vault://secret/app"),
                change({"k": b"1"}, metadata=Metadata("x"), expected="3"),
                ACT,
            )


def test_a_conflict_between_plan_and_write_leaves_both_values_and_metadata(
    bao: Bao, vault: VaultBackend
) -> None:
    ref = Ref.parse("vault://secret/both")
    seen = vault.put(ref, change({"k": b"1"}, metadata=Metadata("before")), ACT).revision
    bao.api("POST", "secret/data/both", {"data": {"k": "2"}})
    with pytest.raises(ConflictError):
        vault.put(ref, change({"k": b"3"}, metadata=Metadata("after"), expected=seen), ACT)
    assert fetched(vault, str(ref)) == {"k": b"2"}
    assert vault.describe(ref, ACT).metadata.owner == "before"
