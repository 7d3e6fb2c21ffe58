"""The launcher installs for real: an empty home, no uv, no venv module, no ensurepip."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcp_server import launch

pytestmark = [pytest.mark.install, pytest.mark.timeout(300)]

BASE_PYTHON = str(Path(sys.executable).resolve())  # the one outside the test environment
LAUNCHER = str(launch.ROOT / "mcp_server" / "launch.py")
BLOCK = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("venv", "ensurepip"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
"""
INITIALIZE = (
    b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
    b'"capabilities":{},"clientInfo":{"name":"install-test","version":"1"}}}\n'
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def bare(home: Path) -> dict[str, str]:
    """The machine's own package index and certificates, and nothing else of this run."""
    (home / "block").mkdir()
    (home / "block" / "sitecustomize.py").write_text(BLOCK)
    kept = ("PIP_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    variables = {k: v for k, v in os.environ.items() if k.upper().startswith(kept)}
    return {**variables, "HOME": str(home), "PATH": "", "PYTHONPATH": str(home / "block")}


@pytest.fixture(scope="module")
def installed(bare: dict[str, str]) -> subprocess.CompletedProcess[str]:
    control = subprocess.run([BASE_PYTHON, "-c", "import venv"], env=bare, check=False)
    assert control.returncode != 0, "the venv module is still there"
    return subprocess.run(
        [BASE_PYTHON, LAUNCHER, "install"], env=bare, capture_output=True, text=True, check=False
    )


def test_pip_alone_installs_the_lock_into_one_private_folder(
    home: Path, installed: subprocess.CompletedProcess[str]
) -> None:
    assert installed.returncode == 0, installed.stderr
    data = home / ".local/share/secret-management"
    (environment,) = data.iterdir()
    assert environment.name == launch.environment_name(launch.RUNTIME_LOCK)
    assert environment.stat().st_mode & 0o777 == 0o700
    assert data.stat().st_mode & 0o777 == 0o700
    assert any((environment / "mcp" / "__pycache__").iterdir()), "bytecode is compiled"


@pytest.mark.usefixtures("installed")
def test_the_server_answers_from_what_was_installed(home: Path, bare: dict[str, str]) -> None:
    with subprocess.Popen(
        [BASE_PYTHON, "-I", "-S", LAUNCHER],
        env=bare,
        cwd=home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdin
        assert server.stdout
        server.stdin.write(INITIALIZE)
        server.stdin.flush()
        answer = server.stdout.readline()
        server.stdin.close()
        assert server.wait(20) == 0
    assert b'"serverInfo"' in answer


@pytest.mark.usefixtures("installed")
def test_the_command_line_without_a_verb_explains_itself(bare: dict[str, str]) -> None:
    done = subprocess.run(
        [BASE_PYTHON, LAUNCHER, "cli"],
        env=bare,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 2
    assert done.stdout.startswith("usage: secrets VERB")


@pytest.mark.usefixtures("installed")
def test_a_second_install_has_nothing_to_do(bare: dict[str, str]) -> None:
    offline = {**bare, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    again = subprocess.run([BASE_PYTHON, LAUNCHER, "install"], env=offline, check=False)
    assert again.returncode == 0


def test_an_install_that_fails_says_so_and_leaves_nothing(
    tmp_path: Path, bare: dict[str, str]
) -> None:
    offline = {**bare, "HOME": str(tmp_path), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    done = subprocess.run(
        [BASE_PYTHON, LAUNCHER, "install"],
        env=offline,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("The packages could not be installed.")
    assert list((tmp_path / ".local/share/secret-management").iterdir()) == []
