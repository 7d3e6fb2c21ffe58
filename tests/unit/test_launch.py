"""The launcher: what starts where nothing is installed, and what it refuses to trust."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from mcp_server import launch

LAUNCHER = launch.ROOT / "mcp_server" / "launch.py"
LOCKS = sorted(launch.ROOT.glob("requirements*.txt"))
PIN = re.compile(r"^([\w.-]+)==([\w.!+-]+)", re.MULTILINE)


def start(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the launcher with an empty home, in a folder that is not ours."""
    return subprocess.run(
        [sys.executable, str(LAUNCHER), *arguments],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", **variables},
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def pins(lock: Path) -> dict[str, str]:
    return {name.lower(): version for name, version in PIN.findall(lock.read_text("utf-8"))}


def test_it_imports_the_standard_library_only() -> None:
    tree = ast.parse(LAUNCHER.read_text("utf-8"))
    at_import = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {
        name.partition(".")[0]
        for node in at_import
        for name in (
            [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
        )
        if name
    }
    assert names
    assert names <= sys.stdlib_module_names


def test_an_old_python_can_read_it_and_gets_a_sentence() -> None:
    ast.parse(LAUNCHER.read_text("utf-8"), feature_version=(3, 7))
    sentence = launch.refusal((3, 9), "linux")
    assert sentence
    assert "needs Python 3.11 or newer, and this is 3.9" in sentence


def test_windows_is_sent_to_wsl() -> None:
    assert "WSL" in (launch.refusal((3, 14), "win32") or "")


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_a_supported_system_is_not_refused(platform: str) -> None:
    assert launch.refusal((3, 11), platform) is None


def test_without_uv_nothing_is_installed_at_start_and_one_line_says_how(tmp_path: Path) -> None:
    done = start(tmp_path, PATH="")
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.rstrip().endswith(f"{LAUNCHER} install")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_command_is_a_usage_error(tmp_path: Path) -> None:
    done = start(tmp_path, "bogus")
    assert done.returncode == 2
    assert done.stderr.startswith("usage:")


def test_a_program_in_a_relative_path_entry_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = tmp_path / "uv"
    planted.write_text("#!/bin/sh\n")
    planted.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([".", ""]))
    assert launch.program("uv") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert launch.program("uv") == str(planted)


def test_a_relative_data_folder_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SECRET_MANAGEMENT_DATA", "${CLAUDE_PLUGIN_DATA}")
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    assert launch.data_folders() == [tmp_path / ".local/share/secret-management"]


def test_what_a_person_installed_is_found_beside_the_plugins_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_MANAGEMENT_DATA", str(tmp_path / "plugin"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    name = launch.environment_name(launch.RUNTIME_LOCK)
    installed = tmp_path / "secret-management" / name
    installed.mkdir(parents=True, mode=0o700)
    assert launch.find(launch.RUNTIME_LOCK) == installed


def test_an_environment_that_others_can_change_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_MANAGEMENT_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "none"))
    installed = tmp_path / launch.environment_name(launch.RUNTIME_LOCK)
    installed.mkdir(mode=0o700)
    assert launch.find(launch.RUNTIME_LOCK) == installed
    installed.chmod(0o777)
    assert launch.find(launch.RUNTIME_LOCK) is None
    installed.rmdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    installed.symlink_to(elsewhere)
    assert launch.find(launch.RUNTIME_LOCK) is None


def test_another_lock_or_python_has_another_environment(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a==1\n")
    two.write_text("a==2\n")
    names = {launch.environment_name(path) for path in (one, two)}
    assert len(names) == 2
    assert all(sys.implementation.cache_tag in name for name in names)


@pytest.mark.parametrize(("flags", "taken"), [(("-I", "-S"), False), ((), True)])
def test_neither_the_project_nor_pythonpath_supplies_a_module(
    tmp_path: Path, flags: tuple[str, ...], *, taken: bool
) -> None:
    """As the manifest starts it; without its flags the planted modules are seen to be taken."""
    project = tmp_path / "project"
    project.mkdir()
    for name in ("hashlib", "hvac", "mcp", "yaml"):
        (project / f"{name}.py").write_text("import os; os.write(2, b'PLANTED')\n")
    (tmp_path / launch.environment_name(launch.RUNTIME_LOCK)).mkdir(mode=0o700)
    done = subprocess.run(
        [sys.executable, *flags, str(LAUNCHER), "serve"],
        cwd=project,
        env={"HOME": str(tmp_path), "PYTHONPATH": ".", "SECRET_MANAGEMENT_DATA": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert (b"PLANTED" in done.stderr) is taken


def test_the_link_runs_this_checkout_and_touches_no_foreign_file(tmp_path: Path) -> None:
    assert start(tmp_path, "link").returncode == 0
    place = tmp_path / ".local/bin/secrets"
    assert os.access(place, os.X_OK)
    assert f"{LAUNCHER} cli " in place.read_text()
    assert start(tmp_path, "link").returncode == 0, "it replaces its own file"
    place.write_text("#!/bin/sh\nsomebody else's\n")
    refused = start(tmp_path, "link")
    assert refused.returncode == 1
    assert "stays as it is" in refused.stderr
    assert place.read_text() == "#!/bin/sh\nsomebody else's\n"
    assert [path.name for path in place.parent.iterdir()] == ["secrets"]


@pytest.mark.parametrize("kind", ["folder", "binary", "symbolic link"])
def test_the_link_replaces_nothing_else(tmp_path: Path, kind: str) -> None:
    place = tmp_path / ".local/bin/secrets"
    place.parent.mkdir(parents=True)
    if kind == "folder":
        place.mkdir()
    elif kind == "binary":
        place.write_bytes(b"\xff\x00")
    else:
        (tmp_path / "target").write_text(launch.MARK)
        place.symlink_to(tmp_path / "target")
    assert "stays as it is" in start(tmp_path, "link").stderr


UV = """#!/bin/sh
pwd > "$HOME/uv-ran"
cat >> "$HOME/uv-ran"
echo "$@" >> "$HOME/uv-ran"
exit 1
"""


@pytest.fixture
def with_uv(tmp_path: Path) -> Path:
    """A home whose ``PATH`` has a uv that notes where and how it was started, and fails."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uv").write_text(UV)
    (tmp_path / "bin" / "uv").chmod(0o755)
    return tmp_path


def test_uv_reads_no_configuration_of_the_project_and_none_of_the_protocol(with_uv: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(LAUNCHER)],
        env={"HOME": str(with_uv), "PATH": f"{with_uv / 'bin'}:/usr/bin:/bin"},
        cwd=with_uv,
        input="a frame of the client",
        capture_output=True,
        text=True,
        check=False,
    )
    folder, arguments = (with_uv / "uv-ran").read_text().splitlines()
    assert folder == str(launch.ROOT)
    for wanted in ("--require-hashes", "--no-deps", "--only-binary :all:", "--compile-bytecode"):
        assert wanted in arguments
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("The packages could not be installed. To see why, run: ")
    assert len(done.stderr.splitlines()) == 1
    assert list((with_uv / ".local/share/secret-management").iterdir()) == []


def test_a_data_folder_that_cannot_be_written_is_one_clear_line(with_uv: Path) -> None:
    (with_uv / ".local").write_text("a file where a folder should be")
    done = start(with_uv, "install", PATH=str(with_uv / "bin"))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert str(with_uv / ".local") in done.stderr


def test_the_python_of_an_environment_finds_its_packages_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "packed.py").write_text("word = 'found'\n")
    python = launch._python_of(tmp_path)
    script = "import importlib.util, packed; print(packed.word, importlib.util.find_spec('pip'))"
    for _ in range(2):
        done = subprocess.run(
            [python, "-c", script], env={}, cwd="/", capture_output=True, check=True
        )
        assert done.stdout == b"found None\n"
        assert launch._python_of(tmp_path) == python


def test_an_old_environment_goes_unless_a_process_runs_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, held, young = (tmp_path / f"env-{name}" for name in ("old", "held", "young"))
    for folder in (old, held, young):
        folder.mkdir()
    for folder in (old, held):
        os.utime(folder, (0, 0))
    enter = f"from mcp_server import launch; launch.enter([{str(held)!r}])"
    holder = f"{enter}; print(1, flush=True); input()"
    monkeypatch.setenv("PYTHONPATH", str(launch.ROOT))
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout
        assert child.stdout.readline() == b"1\n"
        launch._sweep(tmp_path, keep=young)
        assert sorted(tmp_path.iterdir()) == [held, young]
        child.communicate(b"\n")
    launch._sweep(tmp_path, keep=young)
    assert sorted(tmp_path.iterdir()) == [young]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_names_hashes_and_no_index(lock: Path) -> None:
    text = lock.read_text("utf-8")
    assert pins(lock)
    assert "://" not in text
    assert "--index" not in text
    for entry in re.split(r"\n(?=\w)", text.split("\n", 2)[2]):
        assert "--hash=sha256:" in entry


def test_the_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((launch.ROOT / "pyproject.toml").read_text("utf-8"))
    groups = project["dependency-groups"]
    for lock, asked in [
        (launch.RUNTIME_LOCK, project["project"]["dependencies"]),
        (launch.TEST_LOCK, [*project["project"]["dependencies"], *groups["dev"]]),
        (launch.ROOT / "requirements-tour.txt", groups["tour"]),
    ]:
        locked = pins(lock)
        for requirement in map(Requirement, asked):
            name = requirement.name.lower().replace("_", "-")
            assert requirement.specifier.contains(locked[name]), f"{lock.name}: {requirement}"


def test_tests_run_on_the_versions_that_users_get() -> None:
    tested = pins(launch.TEST_LOCK)
    assert {name: tested[name] for name in pins(launch.RUNTIME_LOCK)} == pins(launch.RUNTIME_LOCK)
    toured = pins(launch.ROOT / "requirements-tour.txt")
    assert {name: tested[name] for name in toured} == toured
    assert importlib.metadata.version("mcp") == tested["mcp"]
