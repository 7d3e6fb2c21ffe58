"""The policy that the Vault backend documents is enough, and nothing in it is too much."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mcp_server.backends.vault import VaultBackend
from mcp_server.core.errors import SecretsError
from mcp_server.core.journal import Journal
from mcp_server.core.model import Act, Change, Metadata, Removal, RemovalMode
from mcp_server.core.ports import Session, StoreSettings
from mcp_server.core.refs import Ref
from mcp_server.core.sealed import seal
from tests.servers.openbao import Bao, inmem_bao

pytestmark = pytest.mark.openbao

ACT = Act("policy-test")
_STANZA = re.compile(r'^ *path "([^"]+)" \{ capabilities = (\[[^]]+\]) \}$', re.MULTILINE)
Grants = tuple[tuple[str, str], ...]


def documented() -> Grants:
    """Each pair of path and capability that the docstring prints."""
    stanzas = _STANZA.findall(VaultBackend.__doc__ or "")
    return tuple((path, each) for path, listed in stanzas for each in json.loads(listed))


def policy(grants: Grants) -> str:
    paths = dict.fromkeys(path for path, _ in grants)
    listed = {path: [each for where, each in grants if where == path] for path in paths}
    return "\n".join(
        f'path "{path}" {{ capabilities = {json.dumps(capabilities)} }}'
        for path, capabilities in listed.items()
    )


@pytest.fixture(scope="module")
def bao() -> Iterator[Bao]:
    with inmem_bao() as server:
        server.mount_kv("secret", 2)
        server.mount_kv("team/kv", 1)
        yield server


class Probe:
    """Tries everything that the backend declares, on secrets that an administrator prepared."""

    def __init__(self, bao: Bao, folder: Path, grants: Grants, name: str) -> None:
        (folder / "token").write_text(bao.token(policy(grants)))
        options = {
            "address": bao.address,
            "mounts": {"secret": 2, "team/kv": 1},
            "auth": {"method": "token", "file": str(folder / "token")},
        }
        session = Session("policy-test", Journal(folder / "journal.jsonl"))
        self.backend = VaultBackend(StoreSettings("team", "vault", options), session)
        self.name = name
        for each in ("read", "replace", "patch", "label", "delete", "restore", "destroy", "erase"):
            bao.api("POST", f"secret/data/{name}/{each}", {"data": {"k": "1", "l": "2"}})
        for each in ("read", "replace", "merge", "erase"):
            bao.api("POST", f"team/kv/{name}/{each}", {"k": "1", "l": "2"})
        bao.api("POST", f"secret/delete/{name}/restore", {"versions": [1]})

    def failures(self) -> set[str]:
        return {name for name, probe in self._probes().items() if not _succeeds(probe)}

    def _probes(self) -> dict[str, Callable[[], bool]]:
        removals = (RemovalMode.DELETE, RemovalMode.RESTORE, RemovalMode.DESTROY, RemovalMode.ERASE)
        return {
            "describe": self._describes,
            "list": lambda: len(self._list(details=False)) == 8,
            "bulk": lambda: all(entry.description for entry in self._list(details=True)),
            "fetch": lambda: len(self._fetch("secret")) == 2,
            "create": lambda: self._put("secret", "new", {"k": b"1"}, expected="0"),
            "replace": lambda: self._put("secret", "replace", {"k": b"2"}, replace=True),
            "patch": lambda: self._put("secret", "patch", {"k": b"2"}, expected="1"),
            "label": lambda: self._put("secret", "label", {}, metadata=Metadata("team-a")),
            "label ahead": lambda: self._put("secret", "ahead", {}, metadata=Metadata("team-a")),
            **{mode.value: lambda mode=mode: self._remove("secret", mode) for mode in removals},
            "identity": self._knows_itself,
            "v1 list": lambda: len(self._list("team/kv", details=False)) >= 4,
            "v1 fetch": lambda: len(self._fetch("team/kv")) == 2,
            "v1 create": lambda: self._put("team/kv", "new", {"k": b"1"}, replace=True),
            "v1 replace": lambda: self._put("team/kv", "replace", {"k": b"1"}, replace=True),
            "v1 merge": lambda: self._put("team/kv", "merge", {"k": b"1"}),
            "v1 erase": lambda: self._remove("team/kv", RemovalMode.ERASE),
        }

    def _ref(self, mount: str, name: str = "") -> Ref:
        return Ref("vault", "/".join(filter(None, (mount, self.name, name))))

    def _describes(self) -> bool:
        found = self.backend.describe(self._ref("secret", "read"), ACT)
        whole = found.keys == ("k", "l") and found.created is not None
        return whole and self.backend.describe(self._ref("secret", "absent"), ACT).version is None

    def _list(self, mount: str = "secret", *, details: bool) -> list[object]:
        return list(self.backend._list(self._ref(mount), None, 8, details=details).entries)

    def _fetch(self, mount: str) -> dict[str, object]:
        return dict(self.backend.fetch(self._ref(mount, "read"), ACT).values)

    def _put(self, mount: str, name: str, values: dict[str, bytes], **options: object) -> bool:
        sealed = {key: seal(value) for key, value in values.items()}
        self.backend.put(self._ref(mount, name), Change(sealed, **options), ACT)
        return True

    def _remove(self, mount: str, mode: RemovalMode) -> bool:
        self.backend.delete(self._ref(mount, mode.value), Removal(mode), ACT)
        return True

    def _knows_itself(self) -> bool:
        identity = self.backend.identity()
        return bool(identity.who) and not identity.missing and not identity.warnings


def _succeeds(probe: Callable[[], bool]) -> bool:
    try:
        return probe()
    except SecretsError:
        return False


def test_the_documented_policy_is_enough_and_each_right_in_it_is_needed(
    bao: Bao, tmp_path: Path
) -> None:
    grants = documented()
    assert len(grants) > 15
    needed_by: dict[tuple[str, str], set[str]] = {}
    for number, left_out in enumerate((None, *grants)):
        kept = tuple(grant for grant in grants if grant != left_out)
        probe = Probe(bao, tmp_path, kept, f"run-{number}")
        failures = probe.failures()
        probes = set(probe._probes())
        probe.backend.close()
        if left_out is None:
            assert failures == set()
        else:
            needed_by[left_out] = failures

    assert [grant for grant, failures in needed_by.items() if not failures] == []
    assert set().union(*needed_by.values()) == probes, "a probe that no missing right disturbs"


def test_what_is_missing_is_named_and_what_remains_works(bao: Bao, tmp_path: Path) -> None:
    left_out = {("secret/subkeys/*", "read"), ("secret/destroy/*", "update")}
    grants = tuple(grant for grant in documented() if grant not in left_out)
    probe = Probe(bao, tmp_path, grants, "partly")

    assert probe.backend.identity().missing == (
        "read on secret/subkeys/* (describe)",
        "update on secret/destroy/* (destroy)",
    )
    described = probe.backend.describe(probe._ref("secret", "read"), ACT)
    assert described.version == "1"
    assert described.keys is None
    assert probe.failures() == {"describe", "destroy", "identity"}
    probe.backend.close()


def test_key_names_alone_are_enough_to_describe(bao: Bao, tmp_path: Path) -> None:
    probe = Probe(bao, tmp_path, (("secret/subkeys/*", "read"),), "keys-only")
    described = probe.backend.describe(probe._ref("secret", "read"), ACT)
    assert (described.version, described.keys) == ("1", ("k", "l"))
    assert probe.backend.describe(probe._ref("secret", "absent"), ACT).revision == "0"
    probe.backend.close()


def test_a_login_without_any_right_is_told_so(bao: Bao, tmp_path: Path) -> None:
    probe = Probe(bao, tmp_path, (("secret/data/elsewhere", "read"),), "nothing")
    probes = set(probe._probes())
    assert probe.failures() == probes
    probe.backend.close()
