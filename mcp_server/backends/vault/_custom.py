"""Declared metadata as the custom metadata of KV v2: ``owner``, ``schedule``, ``consumers``.

``consumers`` is a JSON list; text that others wrote there is taken as names between commas.
Everything else in the custom metadata is a label that is shown and left alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from mcp_server.core.errors import LimitError
from mcp_server.core.model import Metadata

__all__ = ["from_custom", "labels", "to_custom"]

_NAMES = ("owner", "schedule", "consumers")
_MAX_BYTES = 512  # of one text, the server's limit


def to_custom(metadata: Metadata) -> dict[str, str | None]:
    """A merge patch that makes the declared metadata exactly this.

    Raises:
        LimitError: A text is longer than the server keeps; said before anything is written.
    """
    consumers = json.dumps(metadata.consumers, ensure_ascii=False) if metadata.consumers else None
    custom = dict(zip(_NAMES, (metadata.owner, metadata.schedule, consumers), strict=True))
    if any(len((text or "").encode()) > _MAX_BYTES for text in custom.values()):
        raise LimitError("Owner, schedule and all consumers together have 512 bytes each in Vault.")
    return custom


def from_custom(custom: Mapping[str, str]) -> Metadata:
    """Read what ``to_custom`` or a person wrote; untrusted text."""
    owner, schedule, consumers = (custom.get(name) or None for name in _NAMES)
    return Metadata(owner, schedule, _consumers(consumers) if consumers else ())


def labels(custom: Mapping[str, str]) -> dict[str, str]:
    """The rest."""
    return {name: text for name, text in custom.items() if name not in _NAMES}


def _consumers(text: str) -> tuple[str, ...]:
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        listed = None
    if isinstance(listed, list):
        return tuple(name for name in listed if isinstance(name, str))
    return tuple(name for part in text.split(",") if (name := part.strip()))
