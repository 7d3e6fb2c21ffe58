"""The environment of children, and a process that cannot be looked into."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mcp_server.core.process import (
    ASSISTANT_MARKS,
    inherited,
    is_variable,
    minimal,
    steers,
    unsteered,
)

ENVIRONMENT = {
    "PATH": "/opt/bin",
    "HOME": "/somewhere",
    "LANG": "C.UTF-8",
    "PGHOST": "db",
    "LDAP_PASSWORD": "x",
    "VAULT_ADDR": "https://vault.example",
    "VAULT_TOKEN": "x",
    "BAO_TOKEN": "x",
    "AWS_PROFILE": "dev",
    "AWS_SESSION_TOKEN": "x",
    "ANTHROPIC_API_KEY": "x",
    "CLAUDE_CODE_OAUTH_TOKEN": "x",
    "SOPS_AGE_KEY": "x",
    "SECRET_MANAGEMENT_PROJECT": "/p",
    "LD_PRELOAD": "x",
    "NODE_OPTIONS": "x",
    "npm_config_script_shell": "x",
    "CLAUDECODE": "1",
}
LOGINS = {
    "VAULT_TOKEN",
    "BAO_TOKEN",
    "AWS_SESSION_TOKEN",
    "ANTHROPIC_API_KEY",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "SOPS_AGE_KEY",
    "SECRET_MANAGEMENT_PROJECT",
}
STEERING = {"LD_PRELOAD", "NODE_OPTIONS", "npm_config_script_shell"}


def test_a_persons_child_inherits_everything_but_logins() -> None:
    assert set(ENVIRONMENT) - set(inherited(ENVIRONMENT)) == LOGINS


def test_a_child_that_somebody_else_starts_is_not_steered_either() -> None:
    given = unsteered("/opt/tool/bin/tool", ENVIRONMENT)
    assert set(ENVIRONMENT) - set(given) == LOGINS | STEERING | {"PGHOST", "VAULT_ADDR"}
    assert given["PATH"].split(":")[:2] == ["/opt/tool/bin", "/usr/local/bin"]
    assert given["HOME"] != ENVIRONMENT["HOME"]


def test_the_child_of_a_profile_gets_next_to_nothing() -> None:
    given = minimal(ENVIRONMENT)
    assert set(given) == {"PATH", "HOME", "USER", "LANG", "CLAUDECODE"}
    assert given["PATH"].startswith("/usr/local/bin:/usr/bin")
    assert given["HOME"] != ENVIRONMENT["HOME"]


@pytest.mark.parametrize("mark", sorted(ASSISTANT_MARKS))
def test_the_mark_of_an_assistant_reaches_every_descendant(mark: str) -> None:
    for given in (inherited({mark: "1"}), unsteered("/bin/x", {mark: "1"}), minimal({mark: "1"})):
        assert given[mark] == "1"


@pytest.mark.parametrize("name", ["PASSWORD", "LDAP_HOST", "ENV", "GIT_TOKEN", "PATHOLOGY", "LD"])
def test_ordinary_names_do_not_steer(name: str) -> None:
    assert is_variable(name)
    assert not steers(name)


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "Ä", "standard input", "A" * 129])
def test_what_is_no_variable(name: str) -> None:
    assert not is_variable(name)


def test_a_hardened_process_leaves_no_core_and_is_not_dumpable() -> None:
    script = (
        "import ctypes, resource; from mcp_server.core.process import harden\n"
        "get = lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)\n"
        "before = get(); harden(); print(before, get(), resource.getrlimit(resource.RLIMIT_CORE))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 0 (0, 0)\n"
