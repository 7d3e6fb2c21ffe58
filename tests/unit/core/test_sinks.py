"""Runtime files: private, gone at the end or after a kill, and read back exactly."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dotenv
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mcp_server.core import places
from mcp_server.core.errors import BadReferenceError, InputError, SourceError
from mcp_server.core.exits import child_environment
from mcp_server.core.generate import Recipe
from mcp_server.core.requests import KeyRequest
from mcp_server.core.sealed import seal
from mcp_server.core.sinks import (
    RuntimeFolder,
    _as_env,
    _as_json,
    runtime_name,
)
from tests.unit.core.rig import CANARY, Rig

ROOT = Path(__file__).parents[3]
Make = Callable[[str], Rig]

DELIVER = """
import sys
from pathlib import Path
from mcp_server.core.exits import child_environment
from mcp_server.core.sealed import seal
from mcp_server.core.sinks import RuntimeFolder
folder = RuntimeFolder(Path(sys.argv[1]), "s-child")
print(folder.deliver("db.env", {"A": seal(b"canary-of-a-child-process")}), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def folder(tmp_path: Path) -> RuntimeFolder:
    return RuntimeFolder(tmp_path / "run", "s-test")


def _child(root: Path) -> tuple[subprocess.Popen[str], Path]:
    child = subprocess.Popen(
        [sys.executable, "-c", DELIVER, str(root)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    return child, Path(child.stdout.readline().strip())


def _end(child: subprocess.Popen[str]) -> None:
    child.communicate("\n", timeout=60)


# --- privacy and end ---------------------------------------------------------------------------


def test_folder_and_file_are_the_users_alone_whatever_the_umask(folder: RuntimeFolder) -> None:
    before = os.umask(0)
    try:
        path = folder.deliver("db.env", {"A": seal(b"x")})
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for parent in (path.parent, path.parent.parent):
        assert stat.S_IMODE(parent.stat().st_mode) == 0o700


def test_clearing_removes_everything(folder: RuntimeFolder) -> None:
    path = folder.deliver("db.env", {"A": seal(b"x")})
    folder.clear()
    assert not path.parent.exists()
    folder.clear()
    assert folder.deliver("db.env", {"A": seal(b"x")}).exists()


def test_nothing_is_made_before_the_first_delivery(folder: RuntimeFolder, tmp_path: Path) -> None:
    folder.clear()
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_whole_and_nothing_lies_beside_it(folder: RuntimeFolder) -> None:
    folder.deliver("db.env", {"A": seal(b"first")})
    path = folder.deliver("db.env", {"A": seal(b"second")})
    assert path.read_bytes() == b"A=second\n"
    assert list(path.parent.iterdir()) == [path]


def test_a_process_that_ends_takes_its_files_along(tmp_path: Path) -> None:
    child, path = _child(tmp_path / "run")
    assert path.exists()
    _end(child)
    assert not path.parent.exists()


def test_the_files_of_a_killed_process_go_with_the_next_delivery(tmp_path: Path) -> None:
    root = tmp_path / "run"
    killed, left = _child(root)
    living, kept = _child(root)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    assert b"canary-of-a-child-process" in left.read_bytes()
    RuntimeFolder(root, "s-next").deliver("x", {"A": seal(b"x")})
    assert not left.parent.exists()
    assert kept.exists()
    _end(living)


@pytest.mark.parametrize("name", ["x", "0-s", "99999999999999999999-s", "-1-s", "²-s", "living"])
def test_sweeping_leaves_what_is_no_folder_of_a_dead_session(
    folder: RuntimeFolder, tmp_path: Path, name: str
) -> None:
    root = tmp_path / "run"
    root.mkdir(mode=0o700)
    (root / (f"{os.getppid()}-s" if name == "living" else name)).mkdir()
    folder.deliver("x", {"A": seal(b"x")})
    assert len(list(root.iterdir())) == 2


# --- a hostile place ---------------------------------------------------------------------------


def _open_to_others(root: Path, _: pytest.MonkeyPatch) -> None:
    root.mkdir()
    root.chmod(0o755)


def _open_to_the_group(root: Path, _: pytest.MonkeyPatch) -> None:
    root.mkdir()
    root.chmod(0o710)


def _of_somebody_else(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(root, 65_534, -1)
    else:  # only root can give a folder away; so we become somebody else
        me = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: me + 1)


def _a_link(root: Path, _: pytest.MonkeyPatch) -> None:
    (root.parent / "elsewhere").mkdir(mode=0o700)
    root.symlink_to(root.parent / "elsewhere")


def _a_file(root: Path, _: pytest.MonkeyPatch) -> None:
    root.write_text("")


def _a_dangling_link(root: Path, _: pytest.MonkeyPatch) -> None:
    root.symlink_to(root.parent / "nothing")


@pytest.mark.parametrize(
    "prepare",
    [_open_to_others, _open_to_the_group, _of_somebody_else, _a_link, _a_file, _a_dangling_link],
)
def test_a_folder_that_is_not_private_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepare: Callable[..., None]
) -> None:
    root = tmp_path / "run"
    prepare(root, monkeypatch)
    folder = RuntimeFolder(root, "s-test")
    with pytest.raises(SourceError) as refused:
        folder.deliver("x", {"A": seal(CANARY.encode())})
    assert CANARY not in str(refused.value)
    monkeypatch.undo()
    assert not any(path.is_file() and path.stat().st_size for path in tmp_path.rglob("*"))


def test_a_session_folder_that_somebody_else_made_is_not_used(tmp_path: Path) -> None:
    root = tmp_path / "run"
    folder = RuntimeFolder(root, "s-test")
    root.mkdir(mode=0o700)
    (tmp_path / "elsewhere").mkdir()
    folder.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SourceError):
        folder.deliver("x", {"A": seal(b"x")})
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_private_folder_in_tmp_stands_in_where_there_is_no_runtime_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "absent"))
    assert places.runtime_root().name == f"secret-management-{os.getuid()}"


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["", ".env", "a/b", "../a", "a b", "a\n", "a\0", "ä", "x" * 65, "-a", "runtime://a", "."],
)
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(BadReferenceError):
        runtime_name(f"runtime://{name}")


@pytest.mark.parametrize("name", ["db.env", "a", "A-1_b.json", "x" * 64])
def test_a_plain_name_is_one(name: str) -> None:
    assert runtime_name(f"runtime://{name}") == name


@pytest.mark.parametrize("keys", [("A", "B"), ()])
def test_a_plain_file_holds_one_key(rig: Rig, keys: tuple[str, ...]) -> None:
    requests = [KeyRequest(key, generate=Recipe.HEX) for key in keys]
    with pytest.raises((SourceError, InputError)):
        rig.write("runtime://token", *requests)
    assert rig.sealed == []


@pytest.mark.parametrize("key", ["a b", "x=$(id); y", "a.b", "1a", "", "a-b", "ä"])
def test_a_name_that_is_no_variable_never_gets_into_an_env_file(rig: Rig, key: str) -> None:
    with pytest.raises((SourceError, InputError)):
        rig.write("runtime://x.env", KeyRequest(key, generate=Recipe.HEX))
    with pytest.raises(SourceError):
        rig.runtime.deliver("x.env", {key: seal(b"x")})
    assert not rig.runtime.path.exists()


@pytest.mark.parametrize(
    "more",
    [
        {"owner": "a"},
        {"schedule": "a"},
        {"consumers": ("a",)},
        {"replace": True},
        {"remove": ("a",)},
    ],
)
def test_a_runtime_file_takes_no_words_of_a_stored_secret(
    rig: Rig, more: dict[str, object]
) -> None:
    with pytest.raises(InputError):
        rig.write("runtime://x.env", KeyRequest("A", generate=Recipe.HEX), **more)


def test_a_generated_key_goes_alone_into_a_plain_file(rig: Rig) -> None:
    receipt = rig.agree(rig.write("runtime://id", KeyRequest("key", generate=Recipe.AGE)))
    assert receipt.path is not None
    assert Path(receipt.path).read_bytes().startswith(b"AGE-SECRET-KEY-1")
    assert receipt.public["key.pub"].startswith("age1")


def test_a_delivery_is_journaled_before_and_after(rig: Rig) -> None:
    rig.agree(rig.write("runtime://x.env", KeyRequest("A", generate=Recipe.HEX)))
    kinds = [event.kind.value for event in rig.events() if event.plan]
    assert kinds == ["planned", "decided", "intent", "done"]


# --- formats: what is read back ----------------------------------------------------------------


TRICKY = [
    "plain",
    "",
    "two words",
    "a$HOME/$(touch pwned)/`touch pwned`",
    "it's",
    '"quoted"',
    'it\'s "both" $HOME `x` \\',
    "back\\slash",
    "two\\\\slashes",
    "ends in \\",
    "\\n is no line",
    "line one\nline two\n",
    "#no comment",
    " leading and trailing ",
    "a=b&c;d|e<f>g",
    "*?[a]~",
    "пароль ✓ 😀",
    "!history",
    "tab\there",
    "'",
    "\\'",
    "$",
    "${x:-y}",
    "-----BEGIN KEY-----\nMIIB+/==\n-----END KEY-----\n",
]


def test_a_shell_that_reads_the_env_file_gets_exactly_the_values(tmp_path: Path) -> None:
    """All at once, since each start of a shell costs; nothing in a value is carried out."""
    values = {f"V{at}": text.encode() for at, text in enumerate(TRICKY)}
    path = tmp_path / "all.env"
    path.write_bytes(_as_env(values))
    show = "".join(f'printf "%s\\0" "${name}"; ' for name in values)
    out = subprocess.run(
        ["sh", "-euc", f". ./all.env; {show}"], cwd=tmp_path, capture_output=True, check=True
    ).stdout
    assert out.split(b"\0")[:-1] == list(values.values())
    assert [path.name for path in tmp_path.iterdir()] == ["all.env"]


@settings(max_examples=20)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=40))
def test_a_shell_reads_whatever_the_value(texts: list[str]) -> None:
    values = {f"V{at}": text.encode() for at, text in enumerate(texts)}
    show = "".join(f'printf "%s\\0" "${name}"; ' for name in values)
    script = _as_env(values).decode() + show
    out = subprocess.run(["sh", "-eu"], input=script.encode(), capture_output=True, check=True)
    assert out.stdout.split(b"\0")[:-1] == list(values.values())


def _dotenv_can(text: str) -> bool:
    """What no quoting of python-dotenv can express together with a shell's; see ``deliver``."""
    awkward = "'" in text or "\\\\" in text or "\\'" in text or text.endswith("\\")
    return "${" not in text and "\r" not in text and not (awkward and set("$`") & set(text))


@given(st.text(st.characters(codec="utf-8")) | st.text("a'\"\\$`#= \n"))
def test_dotenv_reads_whatever_it_can_express(text: str) -> None:
    assume(_dotenv_can(text))
    content = _as_env({"NAME": text.encode(), "NEXT": b"x"}).decode()
    assert dotenv.dotenv_values(stream=io.StringIO(content)) == {"NAME": text, "NEXT": "x"}


@given(st.dictionaries(st.text(min_size=1), st.text(st.characters(codec="utf-8")), max_size=4))
def test_json_and_yaml_read_whatever_the_value(texts: dict[str, str]) -> None:
    try:
        content = _as_json({name: text.encode() for name, text in texts.items()})
    except UnicodeEncodeError:
        assume(False)  # noqa: FBT003 - a name that is no text cannot be asked for
    assert json.loads(content) == texts
    if all(len(json.dumps(name)) < 1000 for name in texts):  # a plain YAML key has a bound
        assert yaml.safe_load(content) == texts


@pytest.mark.parametrize("name", ["x.env", "x.json", "x.yaml", "x.yml"])
def test_bytes_that_are_no_text_become_base64(folder: RuntimeFolder, name: str) -> None:
    path = folder.deliver(name, {"A": seal(b"\xff\x00\xfe")})
    assert b"/wD+" in path.read_bytes()


def test_a_plain_file_holds_the_bytes_as_they_are(folder: RuntimeFolder) -> None:
    content = os.urandom(100_000)
    assert folder.deliver("key.bin", {"A": seal(content)}).read_bytes() == content


# --- a child's environment ---------------------------------------------------------------------


def test_a_child_gets_the_value_and_nobody_else_does() -> None:
    def start(values: object) -> bytes:
        assert isinstance(values, dict)
        show = [sys.executable, "-c", "import os; print(os.environ['A'])"]
        return subprocess.run(show, env=values, capture_output=True, check=True).stdout

    assert child_environment({"A": seal(CANARY.encode())}, start) == CANARY.encode() + b"\n"
    assert CANARY not in str(os.environ)
