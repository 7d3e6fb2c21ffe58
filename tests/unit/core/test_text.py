"""Text from elsewhere: what is visible stays, what hides goes."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.core.text import LABEL_CAP, clean, clean_labels, is_plain

HIDING = {
    "control": "\x1b",
    "newline": "\n",
    "C1 control": "\x9b",
    "override": "\u202e",
    "isolate": "\u2067",
    "mark": "\u200f",
    "zero width": "\u200b",
    "word joiner": "\u2060",
    "byte order mark": "\ufeff",
    "tag": "\U000e0061",
    "variation selector": "\ufe0f",
    "supplementary variation selector": "\U000e01ef",
    "grapheme joiner": "\u034f",
    "Hangul filler": "\u115f",
    "half-width filler": "\uffa0",
    "Khmer inherent vowel": "\u17b4",
    "Mongolian selector": "\u180b",
    "Braille blank": "\u2800",
    "no-break space": "\u00a0",
    "ideographic space": "\u3000",
    "line separator": "\u2028",
    "surrogate": "\udc80",
    "private use": "\U0010fffd",
    "unassigned": "\u0378",
    "interlinear": "\ufff9",
}


@pytest.mark.parametrize("character", HIDING.values(), ids=HIDING.keys())
def test_what_hides_is_not_plain_and_is_taken_out(character: str) -> None:
    assert not is_plain(f"a{character}b")
    assert clean(f"a{character}b") == "ab"


@pytest.mark.parametrize(
    "text", ["", "plain text", "päyments-密碼", "🔑", "e\u0301", "!\"#$%&'()*+"]
)
def test_what_is_visible_stays(text: str) -> None:
    assert is_plain(text)
    assert clean(text) == text


def test_no_character_that_moves_or_hides_text_is_plain() -> None:
    refused = {
        chr(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
        or unicodedata.bidirectional(chr(code)) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI"}
    }

    assert len(refused) > 900_000
    assert [character for character in refused if is_plain(character)] == []


@given(st.text(max_size=400), st.integers(1, 200))
def test_cleaned_text_is_plain_short_and_stays_clean(text: str, cap: int) -> None:
    cleaned = clean(text, cap)

    assert is_plain(cleaned)
    assert len(cleaned) <= cap
    assert clean(cleaned, cap) == cleaned


def test_a_cut_is_shown() -> None:
    assert clean("x" * 300) == "x" * (LABEL_CAP - 1) + "…"
    assert clean("x" * LABEL_CAP) == "x" * LABEL_CAP


@given(st.dictionaries(st.text(max_size=80), st.text(max_size=200), max_size=60))
def test_labels_are_few_ordered_and_plain(labels: dict[str, str]) -> None:
    cleaned = clean_labels(labels)

    assert len(cleaned) <= 32
    assert all(is_plain(name) and is_plain(text) for name, text in cleaned.items())
    assert all(len(name) <= 64 and len(text) <= LABEL_CAP for name, text in cleaned.items())
