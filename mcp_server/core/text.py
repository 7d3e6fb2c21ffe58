"""Text from a store, a log or a repository is data: capped, stripped, never an instruction.

Controls, bidirectional overrides, zero-width and tag characters are all in the Unicode
categories refused here (UAX #44: Cc, Cf, Cs, Co, Cn, Zl, Zp).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

__all__ = ["LABEL_CAP", "clean", "clean_labels", "is_plain"]

LABEL_CAP = 128
_MAX_LABELS = 32
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def is_plain(text: str) -> bool:
    """Whether every character is visible or an ordinary space."""
    return (text.isascii() and text.isprintable()) or not any(map(_hidden, text))


def clean(text: str, cap: int = LABEL_CAP) -> str:
    """The visible part of ``text``, at most ``cap`` characters, an ellipsis where cut."""
    visible = text if is_plain(text) else "".join(c for c in text if not _hidden(c))
    return visible if len(visible) <= cap else visible[: cap - 1] + "…"


def clean_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels fit to be shown: at most 32, names and texts cleaned, ordered by name."""
    chosen = sorted(labels.items())[:_MAX_LABELS]
    return {clean(name, 64): clean(text) for name, text in chosen}


def _hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN
