"""How surprising a run of characters would be in ordinary tool output, in tenths of a bit."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from mcp_server.core.strength import common_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ahocorasick_rs import BytesAhoCorasick

__all__ = ["Rule", "Surprise"]

# Weights of characters: first of what is known, then of what stands for itself.
_WORD, _TOKEN, _PAIR = 7, 15, 15
_LETTER, _DIGIT, _HIGH, _RARE, _SEPARATOR = 47, 33, 25, 50, 15
_SEPARATORS = b"-_./:?=& \t\r\n"
_HEX = b"0123456789abcdefABCDEF"
_DECIMAL = b"0123456789"
_UPPER = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LOWERCASE = b"abcdefghijklmnopqrstuvwxyz"
_HEX_LEAST, _DECIMAL_LEAST = 8, 10

# Neighbouring letters that are common in English and in identifiers; composed for this project.
_PAIRS = frozenset(
    (pair[0] << 8) | pair[1]
    for pair in (
        b"th he in er an re nd at on nt ha es st en ed to it ou ea hi is or ti as te et ng of al "
        b"de se le sa si ar ve ra ld ur me ne wa ri no li ro il el la co ho ce so ta io ma us om "
        b"ca ch tr be ll ss ge ec ee na tt ac di ns mo lo ie pe rs su ut em un nc ai ul ol ur id "
        b"po pr op ad ot ad rt wi sh we wh ow ir am pa ni fo ct ck ke ay ly im ag ab up ev iv pl "
        b"ap ic ig gh ht os ov da do du cu cr cl br bl bo bu ba fi fe fr ga go gr hu ki lu mi mp "
        b"ob oc od oi ok oo ps pp qu ry ts tu ty ub uc ud ue ug ui um va vi vo ye yo ws rd rm rn "
        b"rk sc sp sk ef ep ex ey ff ft gi if ip ks ls lt mb nk nn pt rc rg rl rr rv xt db sq ql "
        b"wo sw tw kn sm sn sl pu by my gy hy ny dy cy fy au ax az ib if ij ja jo ju "
    ).split()
)

# Words of host names, paths and identifiers that are too short for the list of guessable words.
_TOKENS = (
    b"svc api app aws com org net www dev uid url arn iam sts sql ssh tls ssl cfg env lib usr var "
    b"etc opt bin tmp log get put key pem crt csr jwt dns tcp udp vpc eks ecs rds sns sqs kms ecr"
).split()

# Public openings of widespread formats, as they look in a view: they are the same in every
# instance. JWT headers (RFC 7515), PKCS#8 and SEC 1 (RFC 5958, RFC 5915), OpenSSH keys
# (PROTOCOL.key), age keys, prefixes of vendors' tokens.
_OPENINGS = (
    b"eyjhbgcioijiuzi1niisinr5cci6ikpxvcj9",
    b"eyjhbgcioijsuzi1niisinr5cci6ikpxvcj9",
    b"eyj0exaioijkv1qilcjhbgcioijiuzi1nij9",
    b"eyj0exaioijkv1qilcjhbgcioijsuzi1nij9",
    b"eyjhbgcioij",
    b"miieviabadanbgkqhkig9w0baqefaascb",
    b"miievgibadanbgkqhkig9w0baqefaascb",
    b"miievqibadanbgkqhkig9w0baqefaascb",
    b"miievwibadanbgkqhkig9w0baqefaascb",
    b"iibadanbgkqhkig9w0baqefaasc",
    b"mc4caqawbqydk2vwbciei",
    b"mhccaqeei",
    b"mighageambmgbyqgsm49agegccqgsm49awehbg0wawibaqqg",
    b"b3blbnnzac1rzxktdjeaaaaabg5vbmuaaaaebm9uzqaaaaaaaaabaaaa",
    b"aaaac3nzac1lzdi1nte5aaaai",
    b"aaaab3nzac1yc2eaaaadaqab",
    b"agesecretkey1",
    b"-----begin",
    b"privatekey-----",
    b"-----end",
    b"githubpat",
    b"github_pat_",
    b"ghp_",
    b"glpat-",
    b"xoxb-",
    b"akia",
    b"asia",
    b"hvs.",
    b"sk_live_",
    b"sk_test_",
)


def _class_weight(byte: int) -> int:
    if byte >= 0x80:  # noqa: PLR2004 - not ASCII
        return _HIGH
    character = chr(byte)
    if character.isalpha():
        return _LETTER
    if character.isdigit():
        return _DIGIT
    return _SEPARATOR if byte in _SEPARATORS else _RARE


_CLASS = bytes(_class_weight(byte) for byte in range(256))


def _is_expected(before: int, byte: int) -> bool:
    """Whether a lower-case byte often follows another: common pairs, repetition, 1 2 3, 3 2 1."""
    return (
        byte == before
        or (before << 8) | byte in _PAIRS
        or (byte in _DECIMAL and before in _DECIMAL and abs(byte - before) == 1)
    )


@cache
def _words() -> BytesAhoCorasick:
    from ahocorasick_rs import BytesAhoCorasick  # noqa: PLC0415 - start-up does not need it

    return BytesAhoCorasick([word.encode() for word in common_words()])


@cache
def _word_text() -> bytes:
    return "\n".join(sorted(common_words())).encode()


@cache
def _tokens() -> BytesAhoCorasick:
    from ahocorasick_rs import BytesAhoCorasick  # noqa: PLC0415 - start-up does not need it

    return BytesAhoCorasick(_TOKENS)


@cache
def _openings() -> BytesAhoCorasick:
    from ahocorasick_rs import BytesAhoCorasick  # noqa: PLC0415 - start-up does not need it

    return BytesAhoCorasick(_OPENINGS)


class Rule:
    """What a run must have to become a needle.

    Args:
        least: Fewest characters.
        tenths: Least surprise, in tenths of a bit.
        longest: Most characters; a run that needs more reads like ordinary words.
    """

    __slots__ = ("least", "longest", "tenths")

    def __init__(self, least: int, tenths: int, longest: int) -> None:
        self.least = least
        self.tenths = tenths
        self.longest = longest


class Surprise:
    """The surprise of runs of one text."""

    __slots__ = ("_known", "_lower", "_text")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._lower = text.lower()
        self._known = self._marks()

    def _marks(self) -> bytearray:
        marks = bytearray(b"\xff") * len(self._lower)
        for finder, weight in ((_tokens(), _TOKEN), (_words(), _WORD), (_openings(), 0)):
            for _, start, end in finder.find_matches_as_indexes(self._lower, overlapping=True):
                marks[start:end] = bytes((weight,)) * (end - start)
        return marks

    def _weight(self, at: int, before: int) -> int:
        if self._text[at] in _UPPER and before in _LOWERCASE:
            return _LETTER
        known = self._known[at]
        if known != 0xFF:  # noqa: PLR2004 - unmarked
            return known
        byte = self._lower[at]
        before = before | 0x20 if before in _UPPER else before
        return _PAIR if _is_expected(before, byte) else _CLASS[byte]

    def end(self, start: int, rule: Rule) -> int:
        """Where the shortest run from here that satisfies the rule ends.

        Returns:
            The end; 0 if the text ends first; -1 if the run would be too long.
        """
        total = before = 0
        for at in range(start, min(len(self._text), start + rule.longest)):
            total += self._weight(at, before)
            before = self._text[at]
            length = at + 1 - start
            if total >= rule.tenths and length >= rule.least and self._is_rare(start, at + 1):
                return at + 1
        return 0 if start + rule.longest >= len(self._text) else -1

    def total(self, start: int, end: int) -> int:
        """The surprise of one run, in tenths of a bit."""
        before = b"\0" + self._text[start:end]
        return sum(self._weight(start + i, before[i]) for i in range(end - start))

    def satisfies(self, rule: Rule) -> bool:
        """Whether the text as a whole would do as a run."""
        size = len(self._text)
        return size >= rule.least and self.total(0, size) >= rule.tenths and self._is_rare(0, size)

    def _is_rare(self, start: int, end: int) -> bool:
        """Digests, identifiers and times are everywhere, so digits need longer runs.

        A run inside a word of the list is as ordinary as the word.
        """
        run = self._lower[start:end].translate(None, _SEPARATORS)
        if run in _word_text():
            return False
        length = len(run)
        if length >= _DECIMAL_LEAST:
            return True
        if not run.translate(None, _DECIMAL):
            return False
        return length >= _HEX_LEAST or bool(run.translate(None, _HEX))

    def runs(self, rule: Rule, stride: int = 1) -> Iterator[bytes]:
        """The shortest run from every ``stride``-th place; the last one reaches the end."""
        last = -1
        for start in range(0, len(self._text), stride):
            end = self.end(start, rule)
            if end == 0:
                break
            if end > 0:
                last = start
                yield self._text[start:end]
        if last >= 0:
            yield self._text[last : last + 2 * rule.longest]

    def blocks(self, rule: Rule, stride: int) -> Iterator[bytes]:
        """Runs that do not overlap, their starts at least ``stride`` apart; then the last run."""
        at = 0
        while at < len(self._text):
            end = self.end(at, rule)
            if end == 0:
                break
            if end > 0:
                yield self._text[at:end]
            at = max(end, at + stride)
        size = len(self._text)
        for start in range(size - rule.least, max(size - rule.longest, 0), -1):
            if self.total(start, size) >= rule.tenths:
                yield self._text[start:]
                return
