"""``vault://`` under contract: on the real OpenBao, with exactly the documented policy."""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from mcp_server.backends import open_store
from mcp_server.backends.base import Backend
from mcp_server.backends.vault import VaultBackend
from mcp_server.core.journal import Journal
from mcp_server.core.model import Ability, Description, State, Written
from mcp_server.core.ports import Session, StoreSettings
from mcp_server.core.refs import Ref
from tests.contract.contract import BackendContract
from tests.contract.hand import Hand
from tests.contract.laws import ACT, writable
from tests.contract.machine import StoreMachine
from tests.contract.odd import ODD_NAMES
from tests.servers.openbao import Bao, inmem_bao

pytestmark = pytest.mark.openbao

_STANZA = re.compile(r'^ *path "(?P<path>[^"]+)" \{ capabilities = \[[^]]+\] \}$', re.MULTILINE)


def documented_policy() -> str:
    """The stanzas that the backend's docstring prints, nothing else."""
    stanzas = [match.group().strip() for match in _STANZA.finditer(VaultBackend.__doc__ or "")]
    assert len(stanzas) == 10
    return "\n".join(stanzas)


@pytest.fixture(scope="module")
def bao() -> Iterator[Bao]:
    with inmem_bao() as server:
        server.mount_kv("secret", 2)
        server.mount_kv("team/kv", 1)
        server.api("POST", "secret/config", {"max_versions": 50})
        yield server


@pytest.fixture(scope="module")
def token(bao: Bao) -> str:
    return bao.token(documented_policy())


def opened(bao: Bao, token: str, folder: Path, session: Session) -> Backend:
    (folder / "token").write_text(token)
    options = {
        "address": bao.address,
        "mounts": {"secret": 2, "team/kv": 1},
        "auth": {"method": "token", "file": str(folder / "token")},
    }
    return open_store(StoreSettings("team", "vault", options), session)


@pytest.fixture
def vault(bao: Bao, token: str, tmp_path: Path, session: Session) -> Iterator[Backend]:
    backend = opened(bao, token, tmp_path, session)
    yield backend
    backend.close()


class VaultContract(BackendContract):
    text_only = True
    # An encoded dot in a name is refused: a proxy that decodes twice would leave the mount.
    odd_names: ClassVar[tuple[str, ...]] = tuple(name for name in ODD_NAMES if "%2e" not in name)

    @pytest.fixture
    def backend(self, vault: Backend) -> Backend:
        return vault

    @pytest.fixture
    def twin(self, bao: Bao, token: str, tmp_path: Path, session: Session) -> Iterator[Backend]:
        backend = opened(bao, token, tmp_path, session)
        yield backend
        backend.close()


class TestVaultKv2(VaultContract):
    abilities = VaultBackend.abilities

    @pytest.fixture
    def prefix(self) -> Ref:
        return Ref("vault", f"secret/contract-{secrets.token_hex(6)}")


class TestVaultKv1(VaultContract):
    """A mount of version 1; where a law asks for key names, version 1 says that it cannot."""

    abilities = frozenset({Ability.FETCH, Ability.PUT, Ability.ERASE})

    @pytest.fixture
    def prefix(self) -> Ref:
        return Ref("vault", f"team/kv/contract-{secrets.token_hex(6)}")

    @writable
    def test_a_description_names_the_keys_and_shows_no_value(self, hand: Hand) -> None:
        hand.put("db", {"user": b"canary-user-1f2e"})
        assert hand.describe("db") == Description(hand.ref("db"), State.LIVE)

    @writable
    def test_a_reference_with_key_or_version_describes_the_whole_secret(self, hand: Hand) -> None:
        hand.put("db", {"user": b"u"})
        description = hand.backend.describe(hand.ref("db", key="user", version="7"), ACT)
        assert description.ref == hand.ref("db")

    @writable
    def test_odd_key_names_stay_as_they_are(self, hand: Hand) -> None:
        values = {key: f"canary-{number}".encode() for number, key in enumerate(self.odd_keys)}
        hand.put("odd", values)
        assert hand.values("odd") == values
        for key in self.odd_keys:
            assert list(hand.values("odd", key=key).values()) == [values[key]]


class LatinHand(Hand):
    """Makes text of any bytes, for a store that holds text."""

    def put(self, name: str, values: Mapping[str, bytes], **options: object) -> Written:
        text = {key: value.decode("latin-1").encode() for key, value in values.items()}
        return super().put(name, text, **options)

    def values(self, name: str, **options: object) -> dict[str, bytes]:
        found = super().values(name, **options)
        return {key: value.decode().encode("latin-1") for key, value in found.items()}


class VaultMachine(StoreMachine):
    bao: ClassVar[Bao]
    token: ClassVar[str]

    def open(self) -> Backend:
        self.folder = Path(tempfile.mkdtemp())
        session = Session("machine", Journal(self.folder / "journal.jsonl"))
        return opened(self.bao, self.token, self.folder, session)

    def take(self, backend: Backend) -> Hand:
        return LatinHand(backend, Ref("vault", f"secret/machine-{secrets.token_hex(6)}"))

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(getattr(self, "folder", ""), ignore_errors=True)


def test_any_history_of_changes_leaves_what_it_should(bao: Bao, token: str) -> None:
    VaultMachine.bao, VaultMachine.token = bao, token
    run_state_machine_as_test(
        VaultMachine, settings=settings(max_examples=12, stateful_step_count=15, deadline=None)
    )
