"""What seal.sh hands to kubeseal, seen by a program of that name that writes down what it gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from templates import ASSETS

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = ASSETS / "sealed-secrets" / "seal.sh"
# Quotes, a dollar, a percent sign and a trailing backslash: what a shell or printf might change.
VALUE = "canary-\"7391\" $HOME %s 'x' \\"

RECORDER = f"""#!{sys.executable}
import json, os, sys
with open("/proc/self/cmdline", "rb") as argv:
    seen = {{"argv": argv.read().decode(), "env": dict(os.environ), "stdin": sys.stdin.read()}}
with open(os.environ["RECORD"], "w") as record:
    json.dump(seen, record)
print("AgCIPHERTEXT")
"""


@pytest.fixture
def recorder(tmp_path: Path) -> Path:
    program = tmp_path / "bin" / "kubeseal"
    program.parent.mkdir()
    program.write_text(RECORDER, encoding="utf-8")
    program.chmod(0o755)
    return program


def _seal(recorder: Path, record: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    path = f"{recorder.parent}{os.pathsep}/usr/bin{os.pathsep}/bin"
    return subprocess.run(
        [str(SCRIPT), "production", "myapp-secrets", "cert.pem"],
        env={"PATH": path, "RECORD": str(record)} | extra,
        text=True,
        capture_output=True,
        timeout=30,
        check=False,
    )


def test_the_value_arrives_by_pipe_alone(recorder: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    outcome = _seal(recorder, record, SECRET_VALUE=VALUE)
    seen = json.loads(record.read_text(encoding="utf-8"))

    assert seen["stdin"] == VALUE
    assert VALUE not in seen["argv"]
    assert VALUE not in seen["env"].values()
    assert VALUE not in outcome.stdout + outcome.stderr
    assert outcome.stdout == "AgCIPHERTEXT\n"


def test_the_place_is_always_named(recorder: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    _seal(recorder, record, SECRET_VALUE=VALUE)
    argv = json.loads(record.read_text(encoding="utf-8"))["argv"].split("\0")
    for option, value in {
        "--namespace": "production",
        "--name": "myapp-secrets",
        "--scope": "strict",
        "--cert": "cert.pem",
    }.items():
        assert argv[argv.index(option) + 1] == value


def test_the_recorder_would_see_a_value_in_an_argument(recorder: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    subprocess.run(
        [str(recorder), VALUE],
        env={"RECORD": str(record), "SECRET_VALUE": VALUE},
        stdin=subprocess.DEVNULL,
        check=True,
        capture_output=True,
    )
    seen = json.loads(record.read_text(encoding="utf-8"))
    assert VALUE in seen["argv"]
    assert VALUE in seen["env"].values()


def test_without_a_value_nothing_is_sealed(recorder: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    outcome = _seal(recorder, record)
    assert outcome.returncode != 0
    assert "secrets run --env SECRET_VALUE=REFERENCE" in outcome.stderr
    assert not record.exists()
