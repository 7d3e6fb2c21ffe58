"""Status: every store in its line, whatever it answers; what waits, what changed, what is found."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from mcp_server.core import places
from mcp_server.core.errors import AuthenticationError, SecretsError, UnreachableError
from mcp_server.core.model import Identity
from mcp_server.core.receipts import StatusReceipt
from mcp_server.core.requests import KeyRequest
from mcp_server.core.status import discover, status
from mcp_server.core.text import is_plain
from tests.unit.core.rig import CANARY, Rig, password
from tests.unit.core.test_broker import texts

Make = Callable[[str], Rig]


def told(rig: Rig) -> StatusReceipt:
    return status(rig.broker, {})


def test_every_store_has_a_line_in_the_order_of_the_configuration(rig: Rig) -> None:
    found = told(rig)
    assert [(store.name, store.state) for store in found.stores] == [
        ("local", "ready"),
        ("mem", "ready"),
    ]
    assert "put" in found.stores[1].abilities
    assert rig.memory.fetched == []


@pytest.mark.parametrize("error", [UnreachableError(), AuthenticationError()])
def test_a_store_that_does_not_answer_says_so_in_its_line(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, error: SecretsError
) -> None:
    def fails() -> Identity:
        raise error

    monkeypatch.setattr(rig.memory, "_identity", fails)
    found = told(rig)
    line = found.stores[1]
    assert line.state == f"{error.code}: {error.message}"
    assert line.next_step == error.next_step
    assert found.next_step == f"mem: {error.next_step}"


def test_an_unexpected_fault_of_a_store_is_an_incident_without_its_text(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> Identity:
        raise ValueError(CANARY)

    monkeypatch.setattr(rig.memory, "_identity", fails)
    found = told(rig)
    assert found.stores[1].state.startswith("INTERNAL: ")
    assert CANARY not in "".join(texts(found))


def test_who_we_are_and_what_is_missing_is_cleaned(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = "\x1b[31mroot\u202e" + "x" * 10_000
    expires = datetime(2030, 1, 1, tzinfo=UTC)
    identity = Identity(hostile, expires, ("a root token",), (hostile,))
    monkeypatch.setattr(rig.memory, "_identity", lambda: identity)
    line = told(rig).stores[1]
    assert line.untrusted_identity is not None
    assert line.untrusted_identity.startswith("[31mroot")
    assert (line.expires, line.warnings) == ("2030-01-01T00:00:00+00:00", ("a root token",))
    for each in texts(line):
        assert is_plain(each)
        assert len(each) <= 200


def test_plans_that_wait_are_listed_capped(make: Make) -> None:
    rig = make("")
    short = rig.write("memory://a", password())
    rig.clock.forward(seconds=1)
    rig.write("memory://b", *(KeyRequest(f"k{n}", env="HOME") for n in range(500)))
    one, other = told(rig).plans
    assert "secrets_apply" in told(rig).next_step
    assert one == f"{short.plan}: {short.change}"
    assert len(other) <= 450
    rig.agree(short)
    assert len(told(rig).plans) == 1


def test_policy_in_force_is_told(make: Make) -> None:
    rig = make(
        """
policy:
  rules: [{effect: deny, verbs: [erase, destroy], match: "memory://kept/**"}]
  critical: ["memory://crown/**"]
  production: ["memory://live/**"]
grants: [{name: nightly, verbs: [update], match: "memory://ci/**", expires: 2099-01-01}]
"""
    )
    policy = told(rig).policy
    assert "deny destroy,erase on memory://kept/**" in policy
    assert "only a person at a terminal: memory://crown/**" in policy
    assert "always asked: memory://live/**" in policy
    assert "grant nightly on memory://ci/**" in policy


def test_a_changed_configuration_is_told_first(rig: Rig) -> None:
    places.config_file().write_text("stores: {}")
    found = told(rig)
    assert found.changed == (str(places.config_file()),)
    assert "after a restart" in found.next_step


def test_a_broken_journal_is_told(rig: Rig) -> None:
    rig.write("memory://a", password())
    assert told(rig).journal.endswith("chain intact")
    path = rig.broker.session.journal.path
    path.write_bytes(path.read_bytes().replace(b"memory://a", b"memory://b", 1))
    assert "BROKEN at entry 1" in told(rig).journal


def test_a_change_that_was_begun_and_never_ended_is_told(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill: the intent is on the disk, nothing follows."""
    receipt = rig.write("memory://app/db", password())

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rig.memory, "_put", dies)
    with pytest.raises(KeyboardInterrupt):
        rig.agree(receipt)
    (line,) = told(rig).unfinished
    assert line.endswith("create memory://app/db")


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({}, []),
        ({"VAULT_ADDR": "https://vault.test:8200"}, ["vault"]),
        ({"BAO_ADDR": "http://127.0.0.1:8200"}, ["vault"]),
        ({"VAULT_ADDR": "http://localhost/x"}, ["vault"]),
        ({"VAULT_ADDR": "http://vault.test:8200"}, []),
        ({"VAULT_ADDR": "http://127.0.0.1.evil.test"}, []),
        ({"VAULT_ADDR": "http://localhost.evil.test"}, []),
        ({"VAULT_ADDR": "http://localhost@evil.test"}, []),
        ({"VAULT_ADDR": "file:///etc/passwd"}, []),
    ],
)
def test_what_other_tools_are_set_up_for_is_proposed(
    home: object, environment: dict[str, str], names: list[str]
) -> None:
    assert home
    assert [found.settings.name for found in discover(environment)] == names


def test_a_server_that_is_found_gets_the_mount_that_servers_usually_have(rig: Rig) -> None:
    del rig
    (found,) = discover({"BAO_ADDR": "http://127.0.0.1:8200"})
    assert found.settings.options == {"address": "http://127.0.0.1:8200", "mounts": {"secret": 2}}


def test_a_login_that_is_found_is_proposed_with_its_server(rig: Rig) -> None:
    (rig.home / "home" / ".vault-token").write_text(CANARY)
    (found,) = discover({"VAULT_ADDR": "https://vault.test"})
    assert found.settings.options["auth"] == {"method": "token", "file": "~/.vault-token"}


def test_a_token_is_named_and_never_read(rig: Rig) -> None:
    token = rig.home / "home" / ".vault-token"
    token.write_text(CANARY)
    environment = {"VAULT_ADDR": f"https://vault.test/{'x' * 400}", "VAULT_TOKEN": CANARY}
    found = status(rig.broker, environment)
    assert found.discovered == ("vault: VAULT_ADDR is set, ~/.vault-token exists",)
    assert CANARY not in "".join(texts(found))
    assert "secrets init" in found.next_step
