"""A local store in a folder of its own, for tests, and its file as JSON."""

# ruff: noqa: ANN401 - JSON, and the fields of a change

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mcp_server.backends import open_store
from mcp_server.backends.local import LocalBackend
from mcp_server.core.journal import Journal
from mcp_server.core.model import Act, Change, Description, Metadata, Removal, RemovalMode, Written
from mcp_server.core.ports import Session, StoreSettings
from mcp_server.core.refs import Ref
from mcp_server.core.sealed import _open, seal

__all__ = ["ACT", "Local"]

ACT = Act("test")


class Local:
    """One store; several may share a folder."""

    def __init__(
        self,
        folder: Path,
        options: Mapping[str, object] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.path = folder / "data" / "local.sops.json"
        self.key = folder / "config" / "age-key.txt"
        places = {"path": str(self.path), "key_file": str(self.key), "keyring": False}
        settings = StoreSettings("local", "local", {**places, **(options or {})})
        self.session = Session("test", Journal(folder / "state" / "journal.jsonl"), clock=clock)
        store = open_store(settings, self.session)
        assert isinstance(store, LocalBackend)
        self.store = store

    def put(self, name: str, values: Mapping[str, bytes], **change: Any) -> Written:
        sealed = {key: seal(value) for key, value in values.items()}
        return self.store.put(Ref("local", name), Change(sealed, **change), ACT)

    def declare(self, name: str, owner: str) -> Written:
        return self.put(name, {}, metadata=Metadata(owner=owner))

    def get(self, name: str, version: str | None = None) -> dict[str, bytes]:
        ref = replace(Ref("local", name), version=version)
        return {k: _open(v) for k, v in self.store.fetch(ref, ACT).values.items()}

    def describe(self, name: str) -> Description:
        return self.store.describe(Ref("local", name), ACT)

    def remove(self, name: str, mode: RemovalMode, *versions: str) -> Written:
        return self.store.delete(Ref("local", name), Removal(mode, versions), ACT)

    def names(self, folder: str = "") -> list[str]:
        return [entry.name for entry in self.store.list_names(Ref("local", folder), ACT).entries]

    @property
    def file(self) -> Any:
        """The file as JSON."""
        return json.loads(self.path.read_bytes())

    def alter(self, change: Callable[[Any], object]) -> bytes:
        """Change the file as somebody without the key can; its bytes afterwards."""
        tree = self.file
        change(tree)
        self.path.write_text(json.dumps(tree, indent="\t", ensure_ascii=False))
        return self.path.read_bytes()
