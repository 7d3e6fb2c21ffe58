"""The planner: resolves everything, reads no value, and refuses what cannot work while a plan."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from mcp_server.core.errors import (
    BadReferenceError,
    InputError,
    NotFoundError,
    SecretsError,
    SourceError,
    UnknownStoreError,
    UnsupportedError,
)
from mcp_server.core.generate import Recipe
from mcp_server.core.model import Ability, Metadata, RemovalMode, Verb
from mcp_server.core.requests import STDIN, KeyRequest, RunRequest, WriteRequest
from tests.unit.core.rig import ACT, CANARY, Rig, password

Make = Callable[[str], Rig]
T = "memory://app/db"


@pytest.fixture
def stored(rig: Rig) -> Iterator[Rig]:
    """A secret with two versions; whatever is planned, no value may be read for it."""
    rig.put("app/db", a="one-" + CANARY)
    rig.put("app/db", a="two-" + CANARY, b="three-" + CANARY)
    rig.memory.fetched.clear()
    yield rig
    assert rig.memory.fetched == []


REFUSED = {
    "no source": lambda rig: rig.write(T, KeyRequest("a")),
    "two sources": lambda rig: rig.write(T, KeyRequest("a", generate=Recipe.HEX, env="HOME")),
    "a key twice": lambda rig: rig.write(T, password("a"), password("a")),
    "a key twice by import": lambda rig: rig.write(T, password("A"), from_file="a.env"),
    "nothing": lambda rig: rig.write(T),
    "replace by nothing": lambda rig: rig.write(T, replace=True),
    "written and removed": lambda rig: rig.write(T, password("a"), remove=("a",)),
    "an empty key": lambda rig: rig.write(T, password("")),
    "a long key": lambda rig: rig.write(T, password("x" * 257)),
    "a hidden key": lambda rig: rig.write(T, password("a\u200b")),
    "an escape in an owner": lambda rig: rig.write(T, owner="\x1b[2J"),
    "a line in a consumer": lambda rig: rig.write(T, consumers=("a\nb",)),
    "a hidden name to remove": lambda rig: rig.write(T, remove=("a\u202e",)),
    "600 keys": lambda rig: rig.write(T, *(password(f"k{n}") for n in range(600))),
    "a length out of bounds": lambda rig: rig.write(
        T, KeyRequest("a", generate=Recipe.HEX, length=1)
    ),
    "a target with a version": lambda rig: rig.write(f"{T}?version=1", password()),
    "another key than the target's": lambda rig: rig.write(f"{T}#a", password("b")),
    "more keys than the target's": lambda rig: rig.write(f"{T}#a", password("a"), password("b")),
    "a pointer as target": lambda rig: rig.write(f"{T}#/a/b", password("/a/b")),
    "an older version for a file": lambda rig: rig.write(
        "runtime://x", KeyRequest("a", version="1")
    ),
    "removing a key by delete": lambda rig: rig.delete(f"{T}#a"),
    "erasing one version": lambda rig: rig.delete(T, "erase", "1"),
    "erasing one version by reference": lambda rig: rig.delete(f"{T}?version=1", "erase"),
    "a hidden version": lambda rig: rig.delete(T, "destroy", "1\u200b"),
    "all keys of one key": lambda rig: rig.write("memory://x", copy_from=f"{T}#a"),
    "no command": lambda rig: rig.broker.plan_run(RunRequest((), (("A", f"{T}#a"),), "/")),
    "an unknown command": lambda rig: rig.broker.plan_run(
        RunRequest(("no-such-program",), (("A", f"{T}#a"),), "/")
    ),
    "a variable that steers": lambda rig: rig.plan_run(LD_PRELOAD=f"{T}#a"),
    "no variable": lambda rig: rig.plan_run(**{"A-B": f"{T}#a"}),
}


@pytest.mark.parametrize("ask", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_clear_request_is_refused_while_it_is_a_plan(
    stored: Rig, ask: Callable[[Rig], object]
) -> None:
    stored.file("a.env", "A=1")
    before = stored.holds()
    with pytest.raises((InputError, SourceError)) as refused:
        ask(stored)
    assert "\x1b" not in str(refused.value)
    assert not list(stored.plans.glob("p-*.json")) if stored.plans.exists() else True
    assert stored.holds() == before


MISSING = {
    "deleting nothing": lambda rig: rig.delete("memory://none"),
    "a version that never was": lambda rig: rig.delete(T, "destroy", "9"),
    "a copy of nothing": lambda rig: rig.write(T, KeyRequest("a", copy="memory://none#a")),
    "a copy of no such key": lambda rig: rig.write(T, KeyRequest("a", copy=f"{T}#none")),
    "a copy by the key's own name": lambda rig: rig.write(T, KeyRequest("none", copy=T)),
    "all keys of nothing": lambda rig: rig.write(T, copy_from="memory://none"),
    "running with nothing": lambda rig: rig.plan_run(A="memory://none#a"),
}


@pytest.mark.parametrize("ask", MISSING.values(), ids=MISSING.keys())
def test_what_is_not_there_is_said(stored: Rig, ask: Callable[[Rig], object]) -> None:
    with pytest.raises(NotFoundError):
        ask(stored)


@pytest.mark.parametrize("text", ["vault://a/b", f"{T}?store=other", "local://a?store=mem"])
def test_a_store_that_is_not_configured_is_refused(stored: Rig, text: str) -> None:
    with pytest.raises(UnknownStoreError):
        stored.write(text, password())


@pytest.mark.parametrize("text", ["memory://a/../b", "memory:///a", "memory://", "a", "@none", ""])
def test_a_bad_target_is_refused(stored: Rig, text: str) -> None:
    with pytest.raises((BadReferenceError, InputError)):
        stored.write(text, password())


DELIVERED = (
    "readable by everything that runs as this user, the assistant's tools included; "
    "removed when the session ends"
)
WORDS = {
    "create": (
        lambda rig: rig.write("memory://new/x", password()),
        "create memory://new/x; password = generated password of 32",
        "does not exist yet",
    ),
    "update": (
        lambda rig: rig.write(T, KeyRequest("a", generate=Recipe.SSH_ED25519), remove=("b",)),
        f"update {T}; a = generated ssh-ed25519, public half in a.pub; drop b",
        "now version 2",
    ),
    "replace": (
        lambda rig: rig.write(T, KeyRequest("a", version="1"), replace=True),
        f"update {T}; a = copy of {T}?version=1#a; drop all other keys",
        "now version 2",
    ),
    "copy": (
        lambda rig: rig.write("memory://y", copy_from=T),
        f"create memory://y; a = copy of {T}#a; b = copy of {T}#b",
        "does not exist yet",
    ),
    "metadata": (
        lambda rig: rig.write(T, owner="web team", consumers=("a", "b, c")),
        f'update {T}; owner web team; consumers a, "b, c"',
        "now version 2",
    ),
    "destroy": (
        lambda rig: rig.delete(f"{T}?version=1", "destroy"),
        f"destroy {T}; versions 1",
        "now version 2; cannot be undone",
    ),
    "erase": (
        lambda rig: rig.delete(T, "erase"),
        f"erase {T}",
        "now version 2; removes every version and all metadata; cannot be undone",
    ),
    "deliver": (
        lambda rig: rig.write("runtime://x.env", KeyRequest("A", copy=f"{T}#a")),
        f"deliver runtime://x.env; A = copy of {T}#a",
        DELIVERED,
    ),
}


@pytest.mark.parametrize(("ask", "change", "affects"), WORDS.values(), ids=WORDS.keys())
def test_a_plan_says_in_words_what_it_does(
    stored: Rig, ask: Callable[[Rig], object], change: str, affects: str
) -> None:
    receipt = ask(stored)
    assert (receipt.change, receipt.affects) == (change, affects)  # type: ignore[attr-defined]  # a receipt


def test_a_run_is_bound_to_program_arguments_and_folder(stored: Rig) -> None:
    program = stored.file("bin/tool", "#!/bin/sh\n")
    program.chmod(0o700)
    request = RunRequest(
        (str(program), "a b", '"; x\x1b'), (("A", f"{T}#a"), (STDIN, f"{T}#b")), str(stored.project)
    )
    plan = stored.broker.plan_run(request)
    words = plan.operation.change
    assert words.startswith(f'run child process; command ["{program}", "a b", "\\"; x\\u001b"]; ')
    assert f'in folder "{stored.project}"; A = copy of {T}#a; standard input = copy' in words
    assert any(seen.what == f"program:{program}" for seen in plan.operation.seen)


def test_a_relative_program_is_the_one_of_the_folder(
    stored: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = stored.file("tool", "#!/bin/sh\n")
    program.chmod(0o700)
    monkeypatch.chdir(stored.project)
    plan = stored.broker.plan_run(RunRequest(("./tool",), (("A", f"{T}#a"),), str(stored.project)))
    assert Path(plan.operation.command[0]).resolve() == program
    assert os.path.isabs(plan.operation.command[0])  # noqa: PTH117 - with its dot


@pytest.mark.parametrize("key", ["/a/b", "/a~b", "a/b", "~", "/"])
def test_a_key_that_looks_like_a_pointer_is_copied_as_a_key(make: Make, key: str) -> None:
    rig = make('policy: {rules: [{effect: allow, match: "**"}]}')
    rig.put("odd", **{key: CANARY, "plain": "x"})
    rig.write("memory://whole", copy_from="memory://odd")
    rig.write("memory://one", KeyRequest(key, copy="memory://odd"))
    rig.write("memory://odd", password(key))
    rig.write("memory://odd", KeyRequest(key, version="1"))
    assert rig.memory._held["whole"].versions[1].values[key] == CANARY.encode()
    assert rig.memory._held["one"].versions[1].values == {key: CANARY.encode()}
    assert rig.memory._held["odd"].versions[3].values[key] == CANARY.encode()


@pytest.mark.parametrize("key", ["a\x1b[31m", "a\u202eb", "x" * 300])
def test_a_key_of_a_store_that_cannot_be_shown_stops_a_copy_of_all(make: Make, key: str) -> None:
    rig = make('policy: {rules: [{effect: allow, match: "**"}]}')
    rig.put("odd", **{key: CANARY})
    with pytest.raises(SecretsError) as refused:
        rig.write("memory://whole", copy_from="memory://odd")
    assert key not in str(refused.value)


def test_a_soft_deleted_secret_is_updated_and_can_be_restored(rig: Rig) -> None:
    rig.put("app/db", a="1")
    rig.remove("app/db", RemovalMode.DELETE)
    assert rig.write(T, password()).change.startswith("update ")
    assert rig.delete(T, "restore").change.startswith("restore ")


class _Less:
    """The fake with fewer abilities, on one rig's instance."""

    lost: ClassVar[dict[str, tuple[Ability, Callable[[Rig], object]]]] = {
        "put": (Ability.PUT, lambda rig: rig.write(T, password())),
        "fetch": (Ability.FETCH, lambda rig: rig.write("memory://x", KeyRequest("a", copy=T))),
        "fetch all": (Ability.FETCH, lambda rig: rig.write("memory://x", copy_from=T)),
        "versions": (Ability.VERSIONS, lambda rig: rig.write(T, KeyRequest("a", version="1"))),
        "metadata": (Ability.METADATA, lambda rig: rig.write(T, owner="x")),
        **{
            mode.value: (Ability(mode.value), lambda rig, mode=mode: rig.delete(T, mode.value))
            for mode in RemovalMode
        },
    }


@pytest.mark.parametrize(("ability", "ask"), _Less.lost.values(), ids=_Less.lost.keys())
def test_what_the_store_cannot_do_is_refused_while_it_is_a_plan(
    stored: Rig, monkeypatch: pytest.MonkeyPatch, ability: Ability, ask: Callable[[Rig], object]
) -> None:
    abilities = stored.memory.abilities - {ability}
    monkeypatch.setattr(type(stored.memory), "abilities", abilities)
    with pytest.raises(UnsupportedError):
        ask(stored)


def test_acts_name_every_use(stored: Rig) -> None:
    keys = (KeyRequest("a", copy=f"{T}#a"), KeyRequest("b", copy="memory://app/db#b"), password())
    operation, _ = stored.broker.planner.write(_request("memory://x", *keys), ACT)
    acts = [(verb, str(ref)) for verb, ref in stored.broker.planner.acts(operation)]
    assert acts == [(Verb.CREATE, "memory://x"), (Verb.USE, T), (Verb.USE, T)]


def _request(target: str, *keys: KeyRequest) -> WriteRequest:
    return WriteRequest(target, keys)


def test_hostile_metadata_of_a_store_is_cleaned_before_it_is_kept(rig: Rig) -> None:
    rig.put("app/db", Metadata("\x1b[31mteam\u202e", "x" * 10_000, ("a\nb",)), a="1")
    receipt = rig.write(T, consumers=("web",))
    assert "\x1b" not in receipt.change
    assert len(receipt.change) < 500
