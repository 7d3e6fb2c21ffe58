"""The entropy floor: which values may take part in any comparison (promise P1b).

A fingerprint, a comparison, a known-value search and the egress guard each answer "is it this
value?". For a guessable value that answer is the value. So all of them ask here first.

The rule: a value counts as above the floor when whoever generated it vouches for 64 bits, or
when it has at least 12 characters and cannot be written as a few guessable pieces. Pieces are
words of the embedded list (also with the usual letter substitutions), dates and years, runs along
the alphabet or a keyboard row, repeated characters and repeated blocks. Each piece costs what
a guesser who tries pieces would pay; the rest costs by character. The sum must reach 32 bits, which
12 characters without such a piece do (12 digits: 40 bits), and four words do, but not three.

This is a floor, not a strength meter: it errs towards "too weak" for values made of words.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["above_floor", "common_words"]

MIN_GENERATED_BITS = 64
MIN_CHARACTERS = 12
MIN_BITS = 32.0
# Enough to recognise a long value; a longer text made of guessable pieces is refused unread.
MAX_EXAMINED = 4096

_WORD_BITS = 9.0
_DATE_BITS = 12.0
_RUN_BITS = 6.0
_SEEN_BITS = 0.5
_LETTER_BITS = 4.0
_DIGIT_BITS = 3.32
_OTHER_BITS = 4.0
_MIN_RUN = 4

_LEET = str.maketrans("@4301!57$8+", "aaeoiistsbt")
_DATE = re.compile(
    r"(?:19|20)\d\d[-./_]?(?:0[1-9]|1[0-2])[-./_]?(?:0[1-9]|[12]\d|3[01])"
    r"|(?:0[1-9]|[12]\d|3[01])[-./_]?(?:0[1-9]|1[0-2])[-./_]?(?:19|20)\d\d"
    r"|(?:19|20)\d\d"
)
_REPEAT = re.compile(r"(.)\1{2,}", re.DOTALL)
_ROWS = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiop",
    "qwertzuiop",
    "azertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "yxcvbnm",
    "!@#$%^&*()",
    '!"§$%&/()=',
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "1q2w3e4r5t6y7u8i9o0p",
)


@cache
def common_words() -> frozenset[str]:
    """The embedded word list: lower case, four letters or more. Read at first use."""
    text = files("mcp_server.core").joinpath("data/common_words.txt").read_text("ascii")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return frozenset(word for line in lines for word in line.split())


@cache
def _word_lengths() -> range:
    lengths = {len(word) for word in common_words()}
    return range(max(lengths), min(lengths) - 1, -1)


@cache
def _rows() -> tuple[str, ...]:
    return _ROWS + tuple(row[::-1] for row in _ROWS)


def above_floor(value: bytes, *, generated_bits: int | None = None) -> bool:
    """Whether an equality signal about this value is harmless.

    Args:
        value: The bytes of the value. Text is read as UTF-8, anything else byte by byte.
        generated_bits: Entropy in bits that our own generator put into this value, or None if
            the value came from elsewhere. A caller must never pass an estimate.

    Returns:
        True when the value may be fingerprinted, compared, searched for and guarded.
    """
    if generated_bits is not None and generated_bits >= MIN_GENERATED_BITS:
        return True
    text = _characters(value)
    if len(text) < MIN_CHARACTERS:
        return False
    return _reaches_floor(_one_period(text[:MAX_EXAMINED].casefold()))


def _characters(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _one_period(text: str) -> str:
    """The shortest block whose repetition gives the text (which may end inside a block)."""
    for size in range(1, min(len(text) // 2, 64) + 1):
        if text.startswith(text[size:]):
            return text[:size]
    return text


def _reaches_floor(text: str) -> bool:
    plain = text.translate(_LEET)
    seen: set[str] = set()
    bits, at = 0.0, 0
    while at < len(text):
        length, cost = _piece(text, plain, at)
        piece = plain[at : at + length]
        again = piece in seen and (length > 1 or not piece.isalnum())
        bits += _SEEN_BITS if again else cost
        if bits >= MIN_BITS:
            return True
        seen.add(piece)
        at += length
    return False


def _piece(text: str, plain: str, at: int) -> tuple[int, float]:
    """Length and cost in bits of the longest guessable piece at this place."""
    measures: tuple[tuple[Callable[[str, int], int], str, float], ...] = (
        (_word, plain, _WORD_BITS),
        (_date, text, _DATE_BITS),
        (_walk, text, _RUN_BITS),
        (_repeat, text, _RUN_BITS),
    )
    best = max(((measure(source, at), -cost) for measure, source, cost in measures))
    if best[0]:
        return best[0], -best[1]
    character = text[at]
    if character.isdigit():
        return 1, _DIGIT_BITS
    return 1, _LETTER_BITS if character.isalpha() else _OTHER_BITS


def _word(text: str, at: int) -> int:
    words = common_words()
    return next((n for n in _word_lengths() if text[at : at + n] in words), 0)


def _date(text: str, at: int) -> int:
    found = _DATE.match(text, at)
    return len(found.group()) if found else 0


def _repeat(text: str, at: int) -> int:
    found = _REPEAT.match(text, at)
    return len(found.group()) if found else 0


def _walk(text: str, at: int) -> int:
    """Length of the run along the alphabet, the digits or a keyboard row, 0 if under four."""
    start = text[at : at + _MIN_RUN]
    if len(start) < _MIN_RUN:
        return 0
    return max(
        (_shared(row, row.find(start), text, at) for row in _rows() if start in row), default=0
    )


def _shared(row: str, row_at: int, text: str, at: int) -> int:
    length = 0
    while (
        row_at + length < len(row)
        and at + length < len(text)
        and row[row_at + length] == text[at + length]
    ):
        length += 1
    return length
