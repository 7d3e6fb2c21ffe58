"""A promise without a test, or without a control that shows the test can fail, fails the build."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROMISED = re.findall(r"^\| (P\d+b?) \|", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)
MANIFEST: dict[str, dict[str, list[str]]] = yaml.safe_load(
    (ROOT / "tests" / "promises.yaml").read_text()
)


@cache
def _tests_of(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, functions) and node.name.startswith("test_") and _asserts(node)
    )


def _asserts(node: ast.AST) -> bool:
    """Whether a test can fail by itself: it asserts, expects an exception or calls a checker."""
    return any(isinstance(inner, ast.Assert | ast.With | ast.Call) for inner in ast.walk(node))


def test_every_promise_is_in_the_manifest_and_nothing_else() -> None:
    assert len(PROMISED) == 8
    assert list(MANIFEST) == PROMISED


@pytest.mark.parametrize("promise", PROMISED)
@pytest.mark.parametrize("kind", ["tests", "controls"])
def test_each_promise_has_tests_and_controls_that_exist(promise: str, kind: str) -> None:
    named = MANIFEST[promise][kind]
    assert named
    for node in named:
        path, _, name = node.partition("::")
        assert name in _tests_of(path), node


def test_a_test_that_is_not_there_is_noticed() -> None:
    assert "test_of_a_promise_nobody_kept" not in _tests_of("tests/docs/test_promises.py")
    assert "test_a_test_that_is_not_there_is_noticed" in _tests_of("tests/docs/test_promises.py")
