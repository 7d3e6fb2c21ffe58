"""Text from a store, a log or a repository is data: capped, stripped, never an instruction.

Controls, bidirectional overrides, zero-width and tag characters are all in the Unicode
categories refused here (UAX #44: Cc, Cf, Cs, Co, Cn, Zl, Zp), and so are spaces but the ordinary
one (Zs). Letters and marks that show nothing, variation selectors among them, are the other
``Default_Ignorable_Code_Point`` of DerivedCoreProperties.txt, and the blank Braille pattern.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

__all__ = ["LABEL_CAP", "clean", "clean_labels", "is_plain"]

LABEL_CAP = 128
_MAX_LABELS = 32
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)


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
    if character == " ":
        return False
    return unicodedata.category(character) in _HIDDEN or _IGNORABLE.match(character) is not None
