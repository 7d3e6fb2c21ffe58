"""Sources: regular files of the project and plain variables, read exactly, and nothing else."""

from __future__ import annotations

import io
import json
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import dotenv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.core.errors import InputError, LimitError, SecretsError, SourceError
from mcp_server.core.requests import KeyRequest
from mcp_server.core.sealed import Sealed, _open
from mcp_server.core.sources import (
    RAW_KEY,
    FileFormat,
    SourceRules,
    _read_env,
    format_of,
    read_file,
    read_variable,
)
from tests.unit.core.rig import Rig

CANARY = "canary-source-9k4j2h"
Make = Callable[[str], Rig]


def opened(values: Mapping[str, Sealed]) -> dict[str, bytes]:
    """What is inside, as a test may look."""
    return {key: _open(value) for key, value in values.items()}


@pytest.fixture
def rules(tmp_path: Path) -> SourceRules:
    (tmp_path / "project").mkdir()
    (tmp_path / "imports").mkdir()
    return SourceRules((tmp_path / "project").resolve(), ((tmp_path / "imports").resolve(),))


# --- which files -------------------------------------------------------------------------------


def test_files_of_the_project_and_of_the_operators_folders_are_sources(
    rules: SourceRules, tmp_path: Path
) -> None:
    (rules.project / "a.env").write_text("A=1")
    (tmp_path / "imports" / "b.env").write_text("A=1")
    assert rules.check("a.env") == rules.project / "a.env"
    (rules.project / "x").mkdir()
    assert rules.check("./x/../a.env") == rules.project / "a.env"
    assert rules.check(str(tmp_path / "imports" / "b.env")) == tmp_path / "imports" / "b.env"


def _outside(rules: SourceRules) -> Path:
    path = rules.project.parent / "outside.env"
    path.write_text(f"A={CANARY}")
    return path


def _walks_out(rules: SourceRules) -> str:
    return f"../{_outside(rules).name}"


def _absolute(rules: SourceRules) -> str:
    return str(_outside(rules))


def _sibling(rules: SourceRules) -> str:
    folder = rules.project.parent / "project-other"
    folder.mkdir()
    (folder / "a.env").write_text("A=1")
    return str(folder / "a.env")


def _link_out(rules: SourceRules) -> str:
    (rules.project / "link.env").symlink_to(_outside(rules))
    return "link.env"


def _folder_link_out(rules: SourceRules) -> str:
    _outside(rules)
    (rules.project / "up").symlink_to(rules.project.parent)
    return "up/outside.env"


def _folder(rules: SourceRules) -> str:
    (rules.project / "folder.env").mkdir()
    return "folder.env"


def _fifo(rules: SourceRules) -> str:
    os.mkfifo(rules.project / "fifo.env")
    return "fifo.env"


def _device(rules: SourceRules) -> str:
    (rules.project / "zero.env").symlink_to("/dev/zero")
    return "zero.env"


def _socket(rules: SourceRules) -> str:
    server = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(rules.project)  # the path of a socket is short
    try:
        server.bind("s.env")
    finally:
        os.chdir(here)
        server.close()
    return "s.env"


def _loop(rules: SourceRules) -> str:
    (rules.project / "loop.env").symlink_to("loop.env")
    return "loop.env"


def _odd_name(rules: SourceRules) -> str:
    (rules.project / "a\x1b[2J\u202e.env").write_text("A=1")
    return "a\x1b[2J\u202e.env"


@pytest.mark.parametrize(
    "path",
    [_walks_out, _absolute, _sibling, _link_out, _folder_link_out, _folder, _fifo, _device]
    + [_socket, _loop, _odd_name]
    + [lambda _, text=text: text for text in ("", ".", "absent", "a\0b", "~nobody-here/x", "/")]
    + [lambda _: "x" * 5000, lambda _: "/proc/self/environ"],
)
def test_no_other_file_is_a_source(rules: SourceRules, path: Callable[[SourceRules], str]) -> None:
    with pytest.raises(SourceError) as refused:
        rules.check(path(rules))
    assert CANARY not in str(refused.value)


KEY_MATERIAL = [
    ".ssh/id_ed25519",
    ".SSH/id_ed25519",
    ".gnupg/x",
    ".aws/credentials",
    ".Aws/Credentials",
    ".kube/config",
    ".docker/config.json",
    ".git/config",
    ".claude/settings.json",
    ".vault-token",
    ".netrc",
    ".pgpass",
    ".git-credentials",
    "gcloud/x.json",
    "age-key.txt",
    "secret-management/local.json",
    "deep/.ssh/config",
    ".claude.json",
    ".codex/auth.json",
    ".terraform.d/credentials.tfrc.json",
]


@pytest.mark.parametrize("name", KEY_MATERIAL)
def test_key_material_of_programs_is_no_source_even_in_the_project(
    rules: SourceRules, name: str
) -> None:
    path = rules.project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("A=1")
    with pytest.raises(SourceError, match="never sources"):
        rules.check(name)


def test_key_material_behind_a_harmless_name_is_no_source(rules: SourceRules) -> None:
    (rules.project / ".ssh").mkdir()
    (rules.project / ".ssh" / "id").write_text("A=1")
    (rules.project / "notes.txt").symlink_to(".ssh/id")
    with pytest.raises(SourceError, match="never sources"):
        rules.check("notes.txt")


@pytest.mark.parametrize("path", ["/etc/{}", "../{}", "out/{}", "~root/{}"])
def test_a_refusal_does_not_tell_whether_a_file_elsewhere_exists(
    rules: SourceRules, path: str
) -> None:
    (rules.project / "out").symlink_to("/etc")
    for name in ("passwd", "absent-canary", ""):
        with pytest.raises(SourceError, match="outside"):
            rules.check(path.format(name))


def test_what_the_kernel_tells_is_no_source_though_the_project_is_the_root_folder() -> None:
    rules = SourceRules(Path("/"))
    assert rules.check("/etc/passwd")
    for path in ("/proc/self/environ", "/proc/self/cmdline", "/dev/null"):
        with pytest.raises(SourceError, match="outside"):
            rules.check(path)


def test_a_link_inside_the_project_is_followed_and_named_by_its_target(rules: SourceRules) -> None:
    (rules.project / "real.env").write_text("A=1")
    (rules.project / "link.env").symlink_to("real.env")
    assert rules.check("link.env") == rules.project / "real.env"


# --- between the check and the read ------------------------------------------------------------


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "gone"])
def test_what_takes_the_files_place_after_the_check_is_not_read(
    rules: SourceRules, kind: str
) -> None:
    (rules.project / "a.env").write_text("A=1")
    path = rules.check("a.env")
    path.unlink()
    match kind:
        case "link":
            path.symlink_to(_outside(rules))
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
    with pytest.raises(SourceError) as refused:
        read_file(path, FileFormat.AUTO)
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize("how", FileFormat)
def test_a_file_has_at_most_one_mebibyte(rules: SourceRules, how: FileFormat) -> None:
    path = rules.project / "large"
    path.write_bytes(b"x" * 1_048_577)
    with pytest.raises(LimitError):
        read_file(path, how)


def test_a_raw_file_of_exactly_one_mebibyte_is_read_whole(rules: SourceRules) -> None:
    content = os.urandom(1_048_576)
    path = rules.project / "key.bin"
    path.write_bytes(content)
    assert opened(read_file(path, FileFormat.AUTO).values) == {RAW_KEY: content}


# --- formats -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "how"),
    [
        (".env", "env"),
        (".env.local", "env"),
        ("a.env", "env"),
        ("a.json", "json"),
        ("a.yaml", "yaml"),
        ("a.yml", "yaml"),
        ("a.pem", "raw"),
        ("env", "raw"),
        ("a.JSON", "raw"),
    ],
)
def test_the_name_decides_the_format(rules: SourceRules, name: str, how: str) -> None:
    assert format_of(rules.project / name).value == how


ENV = """\
# a comment
PLAIN=value
export EXPORTED=yes
 SPACED = "with spaces"
SINGLE='a $b "c" #d'
DOUBLE="line one\\nline two \\"quoted\\""
MULTI="first
second"
HASH=a#b # comment
EMPTY=
URL=postgres://u:p@h/db?x=1&y=2
DOLLAR=${PLAIN}/$PLAIN
UNICODE=пароль
TWICE=first
NOVALUE
=nokey
TWICE=second
"""


def test_a_dotenv_file_is_read_as_dotenv_does_and_says_what_it_left_out(rules: SourceRules) -> None:
    path = rules.project / ".env"
    path.write_text(ENV)
    found = read_file(path, FileFormat.AUTO)
    values = {key: value.decode() for key, value in opened(found.values).items()}
    reference = dotenv.dotenv_values(stream=io.StringIO(ENV), interpolate=False)
    assert values == {key: text for key, text in reference.items() if text is not None}
    assert values["DOLLAR"] == "${PLAIN}/$PLAIN"
    assert values["MULTI"] == "first\nsecond"
    assert values["TWICE"] == "second"
    assert found.skipped == (
        "line 15: not NAME=VALUE",
        "line 16: not NAME=VALUE",
        "line 14: set again below",
    )


@pytest.mark.parametrize(
    "line",
    [
        "postgres://app:cnrHunter22@db/app?sslmode=require",
        "cnrAAbb11CCdd22EEff33+gg/hh==",
        "cnrAAbb11CCdd22EEff33gghh44==",
        "cnrAAbb11CCdd22EEff33gghh4=",
        "0cnrbb11=x",
        "cnr/bb11=x",
    ],
)
def test_a_piece_of_a_value_before_an_equals_sign_is_no_name(rules: SourceRules, line: str) -> None:
    """Names are shown in plans and receipts."""
    path = rules.project / "key.pem"
    path.write_text(f"{line}\nEMPTY_DATABASE_PASSWORD=\nSPRING.datasource-url=x\n")
    found = read_file(path, FileFormat.ENV)
    assert set(found.values) == {"EMPTY_DATABASE_PASSWORD", "SPRING.datasource-url"}
    assert found.skipped == ("line 1: not NAME=VALUE",)


def test_a_byte_order_mark_and_windows_lines_are_no_part_of_a_name(rules: SourceRules) -> None:
    path = rules.project / ".env"
    path.write_bytes(b"\xef\xbb\xbfA=1\r\nB=2\r\n")
    assert opened(read_file(path, FileFormat.AUTO).values) == {"A": b"1", "B": b"2"}


@pytest.mark.parametrize("name", [".env", "a.json", "a.yaml"])
def test_text_formats_that_are_not_utf8_are_refused_and_not_echoed(
    rules: SourceRules, name: str
) -> None:
    path = rules.project / name
    path.write_bytes(b"A: " + CANARY.encode() + b"\xff\xfe\x00")
    with pytest.raises(SourceError) as refused:
        read_file(path, FileFormat.AUTO)
    assert CANARY not in str(refused.value)


TREE = {
    "plain": "text",
    "number": 5432,
    "real": 2.5,
    "truth": True,
    "nothing": None,
    "deep": {"list": ["zero", {"a/b": "slash", "t~t": "tilde"}], "": "empty"},
}


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_a_tree_gives_its_top_and_what_pointers_name(rules: SourceRules, name: str) -> None:
    path = rules.project / name
    path.write_text(json.dumps(TREE))
    pointers = frozenset({"/deep/list/0", "/deep/list/1/a~1b", "/deep/list/1/t~0t", "/deep/"})
    found = read_file(path, FileFormat.AUTO, pointers)
    values = opened(found.values)
    assert values["plain"] == b"text"
    assert (values["number"], values["real"], values["truth"]) == (b"5432", b"2.5", b"true")
    assert json.loads(values["deep"]) == TREE["deep"]
    assert values["/deep/list/0"] == b"zero"
    assert values["/deep/list/1/a~1b"] == b"slash"
    assert values["/deep/list/1/t~0t"] == b"tilde"
    assert values["/deep/"] == b"empty"
    assert found.skipped == ("entry 5: no name or no value",)


@pytest.mark.parametrize(
    "pointer",
    [
        "/absent",
        "/deep/list/9",
        "/deep/list/-1",
        "/deep/list/01",
        "/deep/list/ 0",
        "/deep/list/x",
        "/deep/list/1_0",
        "/plain/0",
        "/nothing",
        "/number/x",
    ],
)
def test_a_pointer_to_nothing_is_refused(rules: SourceRules, pointer: str) -> None:
    path = rules.project / "a.json"
    path.write_text(json.dumps(TREE))
    with pytest.raises(SourceError):
        read_file(path, FileFormat.AUTO, frozenset({pointer}))


@pytest.mark.parametrize("text", ['["a"]', '"text"', "5", '{"a": "\\ud800"}', '{"a": 1, "a": 2}'])
def test_a_tree_that_is_no_mapping_of_texts_is_refused(rules: SourceRules, text: str) -> None:
    path = rules.project / "a.json"
    path.write_text(text)
    with pytest.raises(SourceError):
        read_file(path, FileFormat.AUTO)


def test_yaml_does_not_change_a_value_on_its_way(rules: SourceRules) -> None:
    path = rules.project / "a.yaml"
    path.write_text("pin: 0123\nversion: 1.10\nanswer: yes\nday: 2024-01-01\nport: 5432\n")
    assert opened(read_file(path, FileFormat.AUTO).values) == {
        "pin": b"0123",
        "version": b"1.10",
        "answer": b"yes",
        "day": b"2024-01-01",
        "port": b"5432",
    }


@given(st.binary(max_size=80) | st.text("A=\"'$\\#\n export", max_size=40).map(str.encode))
def test_whatever_a_dotenv_file_holds_only_our_own_errors_come_out(content: bytes) -> None:
    try:
        _read_env(content)
    except SecretsError as error:
        assert type(error) is SourceError  # noqa: PT017 - no error is right too


# --- variables ---------------------------------------------------------------------------------

OWN = [
    "ANTHROPIC_API_KEY",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDECODE",
    "OPENAI_API_KEY",
    "CODEX_HOME",
    "GEMINI_API_KEY",
    "MCP_TOKEN",
    "SECRET_MANAGEMENT_PROJECT",
    "SOPS_AGE_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "VAULT_TOKEN",
    "BAO_TOKEN",
    "LD_PRELOAD",
    "DYLD_INSERT_LIBRARIES",
    "PYTHONPATH",
]


@pytest.mark.parametrize("name", OWN)
def test_variables_of_the_assistant_and_of_logins_are_no_sources(
    rules: SourceRules, name: str
) -> None:
    with pytest.raises(SourceError, match="never sources"):
        rules.check_variable(name)
    listed = SourceRules(rules.project, variables=frozenset({name}))
    assert listed.check_variable(name) == name


@pytest.mark.parametrize(
    "name", ["DB_PASSWORD", "LDAP_PASSWORD", "MCPHERSON_KEY", "BAOBAB", "VAULTWARDEN_KEY", "_x"]
)
def test_other_variables_are(rules: SourceRules, name: str) -> None:
    assert rules.check_variable(name) == name


@pytest.mark.parametrize("name", ["", "A-B", "1A", "A=B", "A\n", "Ä", "A" * 200, "$A", "A B"])
def test_what_cannot_be_a_variable_is_refused(rules: SourceRules, name: str) -> None:
    with pytest.raises(SourceError):
        rules.check_variable(name)


def test_a_variable_is_read_as_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environb, b"DB_PASSWORD", b"\xff\x01 x")
    assert opened({"a": read_variable("DB_PASSWORD")}) == {"a": b"\xff\x01 x"}


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_without_a_value_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("DB_PASSWORD", raising=False)
    if value is not None:
        monkeypatch.setenv("DB_PASSWORD", value)
    with pytest.raises(SourceError, match="not set"):
        read_variable("DB_PASSWORD")


# --- through the broker ------------------------------------------------------------------------


@pytest.fixture
def open_rig(make: Make) -> Rig:
    return make('policy: {rules: [{effect: allow, match: "**"}]}')


def test_an_import_writes_every_key_and_says_what_it_skipped(open_rig: Rig) -> None:
    open_rig.file(".env", "A=1\nB=2\nbroken\n")
    receipt = open_rig.write("memory://app/db", from_file=".env")
    assert receipt.state == "done"
    assert receipt.skipped == ("line 3: not NAME=VALUE",)
    assert "1 entries of the file are skipped" in receipt.affects
    assert open_rig.memory._held["app/db"].versions[1].values == {"A": b"1", "B": b"2"}


def test_one_key_comes_from_a_part_of_a_file(open_rig: Rig) -> None:
    open_rig.file("a.json", json.dumps(TREE))
    keys = (
        KeyRequest("a", file="a.json", part="/deep/list/0"),
        KeyRequest("b", file="a.json", part="plain"),
        KeyRequest("number", file="a.json"),
    )
    open_rig.write("memory://app/db", *keys)
    values = open_rig.memory._held["app/db"].versions[1].values
    assert values == {"a": b"zero", "b": b"text", "number": b"5432"}


@pytest.mark.parametrize("part", ["x\x1b[31m", "x\u202ey", "a\nb", ""])
def test_a_part_that_would_hide_something_in_a_plan_is_refused(open_rig: Rig, part: str) -> None:
    open_rig.file("a.json", json.dumps({part: "x"}))
    if part:
        with pytest.raises(InputError):
            open_rig.write("memory://app/db", KeyRequest("a", file="a.json", part=part))
    with pytest.raises(InputError):
        open_rig.write("memory://app/db", from_file="a.json")


def test_a_file_without_the_key_is_refused_and_nothing_is_written(open_rig: Rig) -> None:
    open_rig.file("a.json", '{"x": 1}')
    with pytest.raises(SourceError):
        open_rig.write("memory://app/db", KeyRequest("a", file="a.json"))
    with pytest.raises(SourceError):
        open_rig.write("memory://app/db", KeyRequest("a", file="a.json", part="/x/y"))
    assert open_rig.memory._held == {}


@pytest.mark.parametrize("name", [".env", "a.json", "a.yaml"])
def test_an_import_of_nothing_is_refused(open_rig: Rig, name: str) -> None:
    open_rig.file(name, "{}" if "." in name[1:] else "# nothing")
    with pytest.raises(SourceError):
        open_rig.write("memory://app/db", from_file=name)
