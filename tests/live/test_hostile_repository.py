"""The plugin in a repository that wants to be obeyed: nothing in it is run, believed or followed.

The server starts as the client starts it: the launcher, isolated, in the repository's folder.
strace shows which of its files were opened at all.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mcp_server import launch
from mcp_server.cli.failures import NEEDS_APPROVAL
from tests.live.harness.household import Household
from tests.live.harness.infested import ATTACKER, Scene, infest
from tests.live.harness.tracing import Call, connections, read, tracer
from tests.live.test_crash_points import done, receipt_of
from tests.servers.hostile import hostile_server, reply
from tests.wire.pipes import Pipes, ended

pytestmark = pytest.mark.trace

TOKEN = "s.canaryTokenOfTheOperator1"
ESC, BIDI = "\x1b[2J\x1b]52;c;eA==\x07", "\u202e\u2066"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an installed environment: this Python's own packages."""
    folder = tmp_path_factory.mktemp("data")
    environment = folder / launch.environment_name(launch.RUNTIME_LOCK)
    environment.mkdir(mode=0o700)
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        (environment / entry.name).symlink_to(entry)
    return folder


@pytest.fixture
def scene(tmp_path: Path, packages: Path) -> Iterator[Scene]:
    home = Household(tmp_path, {"SECRET_MANAGEMENT_DATA": str(packages)})
    home.keep("import.json", password="canary-imported")
    with hostile_server(reply("200 OK", b"{}")) as trap:
        infest(home.project, trap.address, tmp_path / "witness")
        yield Scene(home, trap, tmp_path / "witness")


OPENED = {"import.json", ".secrets.yaml"}


def test_nothing_of_it_is_run_read_or_believed(scene: Scene) -> None:
    """A whole session: the embedded store, under the tracer."""
    log = scene.home.root / "trace"
    with scene.serve(*tracer(log)) as (pipes, process):
        status = receipt_of(pipes, "secrets_status")
        assert [store["name"] for store in status["stores"]] == ["local"]
        assert status["discovered"] == []
        target = "local://app/db"
        done(pipes, "secrets_write", target=target, from_file="import.json")
        done(pipes, "secrets_write", target="runtime://x.json", copy_from=target)
        assert receipt_of(pipes, "secrets_read", ref=target)["keys"] == ["password"]
        ended(process)

    calls = read(log)
    assert _opened_below(calls, scene.home.project) <= OPENED
    assert connections(calls) == []
    assert ATTACKER.encode() not in scene.home.store.read_bytes()
    scene.assert_untouched()


def _opened_below(calls: list[Call], project: Path) -> set[str]:
    """The files of the repository that were opened, with success; the folder itself is none."""
    opened = [c for c in calls if c.name in {"open", "openat"} and not c.text.count(" = -1 ")]
    assert len(opened) > 100
    paths = [Path(os.path.normpath(path)) for call in opened for path in call.paths]
    return {
        str(path.relative_to(project))
        for path in paths
        if path.is_relative_to(project) and path != project
    }


def test_nor_by_the_command_line(scene: Scene) -> None:
    for arguments in (
        ("status",),
        ("write", "local://app/db", "--from-file", "import.json"),
        ("read", "local://app/db"),
        ("run", "--env", "P=local://app/db#password", "--", "true"),
    ):
        ran = scene.run(*arguments, command=True)
        assert ran.returncode in {0, NEEDS_APPROVAL}, ran
        assert b"Traceback" not in ran.stderr
    scene.assert_untouched()


def test_the_tokens_of_the_operator_go_to_the_operators_address_alone(scene: Scene) -> None:
    """With a Vault store of the operator, and a repository that names the trap for it."""
    file = scene.home.root / "token"
    file.touch(mode=0o600)
    file.write_text(TOKEN)
    with hostile_server(reply("403 Forbidden", b'{"errors":["no"]}')) as own:
        scene.home.configure(
            f"stores: {{x: {{backend: vault, address: '{own.address}', mounts: {{secret: 2}},"
            f" auth: {{method: token, file: '{file}'}}}}}}\n"
        )
        with scene.serve() as (pipes, _):
            receipt_of(pipes, "secrets_status")
            for ref in (
                "vault://secret/app",
                f"vault://secret/app?address={scene.trap.address}",
                "vault://secret/app?store=y",
                f"vault://127.0.0.1:{scene.trap.address.rpartition(':')[2]}/secret/app",
                "vault://secret/../../../sys/app",
            ):
                assert pipes.call("secrets_read", ref=ref)["isError"]
        assert own.requests
        assert all(TOKEN.encode() in request for request in own.requests)
    scene.assert_untouched()


# --- what its configuration file asks for ---------------------------------------------------

FORBIDDEN = {
    "a store": "stores: {{x: {{backend: vault, address: '{trap}', mounts: {{secret: 2}}}}}}",
    "another embedded store": "stores: {{local: {{backend: local, path: '{project}/s.json'}}}}",
    "a default": "defaults: {{vault: x}}",
    "an allowance": "policy: {{rules: [{{effect: allow, match: '**'}}]}}",
    "an allowance in capitals": "policy: {{rules: [{{effect: ALLOW, match: '**'}}]}}",
    "no production": "policy: {{production: ['none://**']}}",
    "critical patterns": "policy: {{critical: []}}",
    "a grant": "grants: [{{name: x, verbs: [update], match: '**', expires: 2099-01-01}}]",
    "source folders": "sources: {{folders: [/]}}",
    "source variables": "sources: {{variables: [VAULT_TOKEN]}}",
    "a run profile": "run: [{{name: x, match: '**', executable: /bin/sh, arguments: [-c, env]}}]",
    "recipients": "recipients: [{attacker}]",
    "a name with an address": "names: {{db: 'vault://secret/db?address={trap}'}}",
    "a name that runs": "names: {{db: 'ref+exec://touch {witness}'}}",
    "a name that walks": "names: {{db: 'vault://secret/../../sys/policy'}}",
    "a name to overlook": "names: {{'d\u202eb': 'local://app/db'}}",
    "an object": "!!python/object/apply:os.system ['touch {witness}']",
    "a name that is an object": "names: {{db: !!python/name:os.system }}",
    "twice the same": "names: {{}}\nnames: {{db: 'local://a'}}",
    "a bomb": "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b]",
    "a merge": "x: &x {{a: 1}}\nnames: {{<<: *x}}",
    "deep nesting": "names: " + "[" * 5000,
    "a list": "[]\n- x",
    "text": "policy",
    "control characters": "names: {{'\\x1b[2J': 'local://app/db'}}",
    "two documents": "names: {{}}\n---\nstores: {{}}",
}


@pytest.mark.parametrize("text", FORBIDDEN.values(), ids=FORBIDDEN)
def test_a_repository_cannot_ask_for(scene: Scene, text: str) -> None:
    content = text.format(
        trap=scene.trap.address,
        project=scene.home.project,
        witness=scene.witness,
        attacker=ATTACKER,
    )
    (scene.home.project / ".secrets.yaml").write_text(content)
    _assert_refused(scene, content)


def _assert_refused(scene: Scene, content: str = "") -> None:
    """The server ends with one line that names the file and repeats nothing from it."""
    ran = scene.run()
    said = ran.stderr.decode()
    assert ran.returncode == 2, (ran.returncode, said)
    assert ran.stdout == b""
    assert said.startswith("CONFIG_INVALID: ")
    assert "/.secrets.yaml" in said
    assert said.count("\n") == 1
    assert said.strip().isprintable()
    for line in content.splitlines():
        assert line not in said
    scene.assert_untouched()


def _link(target: str) -> Any:  # noqa: ANN401 - a function of a path
    return lambda path: path.symlink_to(target)


ODD_FILES = {
    "a link to a device": _link("/dev/zero"),
    "a link to a terminal": _link("/dev/tty"),
    "a link to nothing": _link("/nonexistent"),
    "a link to itself": _link(".secrets.yaml"),
    "a link to shadow": _link("/etc/shadow"),
    "a link to its environment": _link("/proc/self/environ"),
    "a pipe": os.mkfifo,
    "a folder": os.mkdir,
    "bytes": lambda path: path.write_bytes(b"\xff\xfe\x00names"),
    "many bytes": lambda path: path.write_bytes(b"names: {}\n" + b"# x\n" * 1_000_000),
}


@pytest.mark.parametrize("make", ODD_FILES.values(), ids=ODD_FILES)
def test_its_configuration_cannot_be(scene: Scene, make: Any) -> None:  # noqa: ANN401 - as above
    make(scene.home.project / ".secrets.yaml")
    _assert_refused(scene)


def test_it_can_name_and_narrow(scene: Scene) -> None:
    (scene.home.project / ".secrets.yaml").write_text(
        "names: {db: 'local://app/db#password'}\n"
        "policy: {rules: [{effect: deny, match: 'local://kept/**'},"
        " {effect: ask, verbs: [create], match: 'local://**'}]}\n"
    )
    with scene.serve() as (pipes, _):
        made = [{"key": "password", "generate": "password"}]
        plan = receipt_of(pipes, "secrets_write", target="@db", keys=made)
        assert plan["state"] == "planned"
        assert plan["ref"] == "local://app/db"
        assert "create local://app/db;" in plan["change"]
        assert "POLICY_DENIED" in _refusal(pipes, "secrets_read", ref="local://kept/x")
    scene.assert_untouched()


def test_what_it_changes_meanwhile_counts_after_a_restart(scene: Scene) -> None:
    file = scene.home.project / ".secrets.yaml"
    file.write_text("policy: {rules: [{effect: deny, match: 'local://kept/**'}]}\n")
    with scene.serve() as (pipes, _):
        assert receipt_of(pipes, "secrets_status")["changed"] == []
        file.write_text("names: {db: 'local://kept/x'}\n")
        assert "POLICY_DENIED" in _refusal(pipes, "secrets_read", ref="local://kept/x")
        assert _refusal(pipes, "secrets_read", ref="@db")
        assert receipt_of(pipes, "secrets_status")["changed"] == [str(file)]


# --- what its files lead to -----------------------------------------------------------------

CANARY = "canary-outside-the-repository"


def _refusal(pipes: Pipes, tool: str, **arguments: object) -> str:
    answer = pipes.call(tool, **arguments)
    assert answer.get("isError"), answer
    return str(answer["content"][0]["text"])


def test_no_file_in_it_leads_out_of_it(scene: Scene) -> None:
    project, outside = scene.home.project, scene.home.root / "home"
    (outside / ".ssh").mkdir(mode=0o700)
    (outside / ".ssh" / "id_ed25519").write_text(CANARY)
    (outside / "other.json").write_text(f'{{"n": "{CANARY}"}}')
    places = {
        "key": outside / ".ssh" / "id_ed25519",
        "other.json": outside / "other.json",
        "shadow": Path("/etc/shadow"),
        "environ": Path("/proc/self/environ"),
        "zero": Path("/dev/zero"),
        "loop": project / "loop",
        "gone": Path("/nonexistent"),
        "ours": scene.home.root / "config" / "secret-management" / "config.yaml",
    }
    for name, place in places.items():
        (project / name).symlink_to(place)
    (project / "out").symlink_to(outside)
    os.mkfifo(project / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        with suppress(OSError):  # the path may be too long for one
            listener.bind(str(project / "socket"))
        names = [*places, "out/other.json", "pipe", "socket", "../home/other.json", ".", "mcp"]
        names += [str(outside / "other.json"), ".git/config", ".vault-token", "~/other.json"]
        with scene.serve() as (pipes, _):
            for name in names:
                begun = time.monotonic()
                said = _refusal(pipes, "secrets_write", target="local://a/b", from_file=name)
                assert "SOURCE_INVALID" in said, name
                made = [{"key": "n", "file": name}]
                said += _refusal(pipes, "secrets_write", target="local://a/b", keys=made)
                assert time.monotonic() - begun < 10
                assert CANARY not in said
    assert not scene.home.store.exists()
    scene.assert_untouched()


def test_a_file_that_becomes_a_link_after_the_plan_is_not_followed(scene: Scene) -> None:
    (scene.home.root / "home" / "other.json").write_text(f'{{"password": "{CANARY}"}}')
    with scene.serve() as (pipes, _):
        done(pipes, "secrets_write", target="local://a/b", from_file="import.json")
        plan = receipt_of(pipes, "secrets_write", target="local://a/b", from_file="import.json")
        (scene.home.project / "import.json").unlink()
        (scene.home.project / "import.json").symlink_to(scene.home.root / "home" / "other.json")
        words = {name: plan[name] for name in ("plan", "change", "affects")}
        said = _refusal(pipes, "secrets_apply", **words)
        assert "SOURCE_INVALID" in said or "PLAN_STALE" in said
    assert CANARY not in str(scene.home.opened())


@pytest.mark.parametrize(
    "name", [f"a{ESC}.json", f"a{BIDI}nosj.json", "a\nok.json", "a\u200b.json"]
)
def test_names_that_play_tricks_are_never_shown_as_they_are(scene: Scene, name: str) -> None:
    shutil.copy(scene.home.project / "import.json", scene.home.project / name)
    (scene.home.project / "keys.json").write_text(f'{{"k{BIDI}": "canary-x"}}')
    with scene.serve() as (pipes, process):
        answers = [
            pipes.call("secrets_write", target="local://a/b", from_file=name),
            pipes.call("secrets_write", target="local://a/b", from_file="keys.json"),
            pipes.call("secrets_write", target=f"local://a/{name}", from_file="import.json"),
            pipes.call("secrets_status"),
        ]
        said = ended(process).decode()
    texts = [said, *(block["text"] for answer in answers for block in answer["content"])]
    assert len(texts) == 5
    for text in texts:
        # Results are indented JSON; what is inside it counts.
        inside = json.dumps(json.loads(text), ensure_ascii=False) if text[:1] == "{" else text
        inside = inside.replace("\n", " ")
        assert inside.isprintable(), ascii(inside)
        assert all(mark not in text for mark in ("\\u001b", "\\u202e", "\\u2066", "\\u200b"))


def test_the_witness_and_the_trap_can_tell(scene: Scene) -> None:
    """A Python that is not isolated imports from the folder; a client that believes it connects."""
    subprocess.run(
        [sys.executable, "-c", "import secrets"],
        cwd=scene.home.project,
        env={"PYTHONPATH": str(scene.home.project)},
        capture_output=True,
        check=False,
    )
    assert scene.witness.exists()
    with socket.create_connection(
        ("127.0.0.1", int(scene.trap.address.rpartition(":")[2]))
    ) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
        peer.recv(1)
    assert len(scene.trap.requests) == 1
