"""A change on a real OpenBao whose request or reply is lost, or whose process is killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mcp_server.core.journal import Kind
from tests.live.harness.household import Household, words
from tests.live.harness.relay import Fate, Relay, relay
from tests.live.test_crash_points import JOURNAL, done, killed, killer, receipt_of
from tests.servers.openbao import Bao, inmem_bao

pytestmark = [pytest.mark.trace, pytest.mark.openbao]

OLD, NEW, NEWER = "canary-the-old-one", "canary-the-new-one", "canary-the-one-after"
TARGET = "vault://secret/app/db"
DATA = "/v1/secret/data/app/db"


@pytest.fixture(scope="module")
def server() -> Iterator[Bao]:
    with inmem_bao() as running:
        yield running


@pytest.fixture
def bao(server: Bao) -> Iterator[Bao]:
    server.mount_kv("secret", 2)
    yield server
    server.api("DELETE", "sys/mounts/secret")


@dataclass(frozen=True, slots=True)
class Scene:
    """A user, the server, the relay between them, and a change that waits for approval."""

    home: Household
    bao: Bao
    between: Relay
    plan: dict[str, Any]

    def versions(self) -> list[str]:
        """The value of every version."""
        found = self.bao.api("GET", "secret/metadata/app/db")["data"]
        return [
            self.bao.api("GET", f"secret/data/app/db?version={number}")["data"]["data"]["n"]
            for number in range(1, found["current_version"] + 1)
        ]

    def recovers(self) -> None:
        """From a new process: the change is known, cannot be done twice, and all goes on."""
        before = self.versions()
        self.between.decide = lambda _method, _path: "pass"
        assert self.home.journal.verify().intact
        with self.home.serve() as (pipes, _):
            assert _unfinished(receipt_of(pipes, "secrets_status")) == [f"update {TARGET}"]
            assert "PLAN_USED" in str(pipes.call("secrets_apply", **self.plan))
            done(pipes, "secrets_write", target=TARGET, from_file="newer.json")
        assert self.versions() == [*before, NEWER]
        assert self.home.journal.verify().intact


@pytest.fixture
def scene(tmp_path: Path, bao: Bao) -> Iterator[Scene]:
    """The old value is there, and a change was planned by a process that ended."""
    home = Household(tmp_path)
    token = tmp_path / "config" / "token"
    token.touch(mode=0o600)
    token.write_text(bao.root_token)
    for name, value in {"old": OLD, "new": NEW, "newer": NEWER}.items():
        home.keep(f"{name}.json", n=value)
    with relay(bao.address) as between:
        home.configure(
            f"stores: {{bao: {{backend: vault, address: '{between.address}', mounts: {{secret: 2}},"
            f" auth: {{method: token, file: '{token}'}}}}}}\n"
        )
        with home.serve() as (pipes, _):
            done(pipes, "secrets_write", target=TARGET, from_file="old.json")
            made = receipt_of(pipes, "secrets_write", target=TARGET, from_file="new.json")
        between.seen.clear()
        yield Scene(home, bao, between, words(made))


def _on_change(fate: Fate) -> Any:  # noqa: ANN401 - a function of two texts
    return lambda method, path: fate if method == "PATCH" and path == DATA else "pass"


def _unfinished(status: dict[str, Any]) -> list[str]:
    return [line.split(" ", 1)[1] for line in status["unfinished"]]


@pytest.mark.parametrize(
    ("fate", "kept"), [("lose the request", [OLD]), ("lose the reply", [OLD, NEW])]
)
def test_a_kill_while_it_waits_leaves_the_old_version_or_the_new_one(
    scene: Scene, fate: Fate, kept: list[str]
) -> None:
    with scene.home.serve() as (pipes, process):
        scene.between.decide, scene.between.meanwhile = _on_change(fate), process.kill
        with suppress(AssertionError, BrokenPipeError):
            pytest.fail(str(pipes.call("secrets_apply", **scene.plan)))
        killed(process)

    assert scene.versions() == kept
    scene.recovers()


@pytest.mark.parametrize(
    ("call", "when"), [("fsync", 2), ("write", 4)], ids=["intent on the disk", "outcome"]
)
def test_a_kill_before(scene: Scene, call: str, when: int) -> None:
    """Before the intent is on the disk nothing has left; before the outcome all has arrived."""
    with scene.home.serve(*killer(scene.home, call, JOURNAL, when)) as (pipes, process):
        with suppress(AssertionError, BrokenPipeError):
            pytest.fail(str(pipes.call("secrets_apply", **scene.plan)))
        killed(process)

    assert scene.between.seen
    assert scene.between.changes() == ([] if call == "fsync" else [("PATCH", DATA)])
    assert scene.versions() == ([OLD] if call == "fsync" else [OLD, NEW])
    scene.recovers()


@pytest.mark.parametrize(
    ("fate", "kept"), [("lose the request", [OLD]), ("lose the reply", [OLD, NEW])]
)
def test_a_lost_reply_is_an_unknown_outcome_that_a_description_settles(
    scene: Scene, fate: Fate, kept: list[str]
) -> None:
    """The change is not sent again, and what was stored is not lost."""
    scene.between.decide = _on_change(fate)
    with scene.home.serve() as (pipes, process):
        answer = pipes.call("secrets_apply", **scene.plan)
        assert answer["isError"]
        assert "OUTCOME_UNKNOWN" in str(answer)
        assert scene.between.changes() == [("PATCH", DATA)]
        assert receipt_of(pipes, "secrets_read", ref=TARGET)["version"] == str(len(kept))
        assert _unfinished(receipt_of(pipes, "secrets_status")) == [f"update {TARGET}"]
        process.kill()

    assert scene.versions() == kept
    last = [r.event for r in scene.home.records if r.event.kind is Kind.FAILED][-1]
    assert (last.verb, last.ref, last.code) == ("update", TARGET, "OUTCOME_UNKNOWN")
    scene.recovers()
