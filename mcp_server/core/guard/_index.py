"""The registered needles in a few automata, under a memory budget.

An automaton cannot grow, so needles live in segments of falling size, as in a log-structured
merge tree: a new value gets its own small segment, and a segment is merged into the one before
it once it is an eighth of its size. A search thus looks at three or four segments at most, and a
value is rebuilt a few dozen times however many follow it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from mcp_server.core.guard._needles import Needles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ahocorasick_rs import BytesAhoCorasick

    from mcp_server.core.guard._views import Views

    _Test = Callable[[bytes], bool]

__all__ = ["Index", "Segment"]

_GROWTH = 8
_MAX_PENDING = 16
# Measured with 1,000 values: the automata, the stored needles and what building them fragments.
_COST_PER_BYTE = 36
_COST_PER_VALUE = 512


class _Entry:
    """The needles of one value, packed; neither view contains a line break."""

    __slots__ = ("cost", "exact", "folded")

    def __init__(self, needles: Needles) -> None:
        self.exact = b"\n".join(needles.exact)
        self.folded = b"\n".join(needles.folded)
        self.cost = _COST_PER_BYTE * (len(self.exact) + len(self.folded)) + _COST_PER_VALUE


class Segment(NamedTuple):
    """Some entries and the automata over their needles."""

    entries: tuple[_Entry, ...]
    exact: BytesAhoCorasick | None
    folded: BytesAhoCorasick | None

    def __repr__(self) -> str:
        return "<segment>"

    def hits(self, text: Views) -> bool:
        """Whether any needle occurs."""
        return (
            self.folded is not None and bool(self.folded.find_matches_as_indexes(text.folded))
        ) or (self.exact is not None and bool(self.exact.find_matches_as_indexes(text.exact)))


def _automaton(needles: Iterable[bytes]) -> BytesAhoCorasick | None:
    from ahocorasick_rs import BytesAhoCorasick, Implementation  # noqa: PLC0415 - not at start-up

    patterns = [needle for needle in needles if needle]
    if not patterns:
        return None
    return BytesAhoCorasick(patterns, implementation=Implementation.ContiguousNFA)


def _segment(entries: Sequence[_Entry]) -> Segment:
    exact = {needle for entry in entries for needle in entry.exact.split(b"\n")}
    folded = {needle for entry in entries for needle in entry.folded.split(b"\n")}
    return Segment(tuple(entries), _automaton(exact), _automaton(folded))


class Index:
    """Needles by value; safe to use from several threads.

    Args:
        budget: Bytes the needles may take. When more are registered, the values registered (or
            seen again) longest ago go first; the newest value always stays.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self._entries: dict[bytes, _Entry] = {}
        self._pending: list[_Entry] = []
        self._segments: tuple[Segment, ...] = ()
        self._cost = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def cost(self) -> int:
        """Estimated bytes in use."""
        return self._cost

    def refresh(self, key: bytes) -> bool:
        """Whether the key is known; if so, its value becomes the newest."""
        with self._lock:
            entry = self._entries.pop(key, None)
            if entry is None:
                return False
            self._entries[key] = entry
            return True

    def add(self, key: bytes, needles: Needles) -> None:
        """Register the needles of one value; they are searched for from now on."""
        entry = _Entry(needles)
        with self._lock:
            if key in self._entries:
                return
            self._entries[key] = entry
            self._cost += entry.cost
            self._pending.append(entry)
            if self._cost > self._budget:
                self._evict()
            if len(self._pending) > _MAX_PENDING:
                self._absorb()

    def segments(self) -> tuple[Segment, ...]:
        """Everything to search, oldest and largest first."""
        if self._pending:
            with self._lock:
                self._absorb()
        return self._segments

    def remove(self, public: Views) -> None:
        """Forget every needle that occurs in a public text."""
        with self._lock:
            self._absorb()
            self._keep(lambda n: n not in public.exact, lambda n: n not in public.folded)

    def forget(self, texts: Iterable[Views]) -> None:
        """Forget every needle that occurs in one of many texts; costs by their length."""
        with self._lock:
            self._absorb()
            exact: set[bytes] = set()
            folded: set[bytes] = set()
            for text in texts:
                for segment in self._segments:
                    exact |= _found(segment.exact, text.exact)
                    folded |= _found(segment.folded, text.folded)
            if exact or folded:
                self._keep(lambda n: n not in exact, lambda n: n not in folded)

    def _keep(self, exact: _Test, folded: _Test) -> None:
        entries = self._entries.items()
        self._entries = {key: _filtered(entry, exact, folded) for key, entry in entries}
        self._cost = sum(entry.cost for entry in self._entries.values())
        kept = tuple(self._entries.values())
        self._segments = (_segment(kept),) if kept else ()

    def _evict(self) -> None:
        """Down to seven eighths of the budget, so that the next value does not evict again."""
        self._absorb()
        gone: set[int] = set()
        for key in list(self._entries)[:-1]:
            if self._cost <= self._budget * 7 // 8:
                break
            entry = self._entries.pop(key)
            self._cost -= entry.cost
            gone.add(id(entry))
        self.evicted += len(gone)
        kept = (
            (segment, [entry for entry in segment.entries if id(entry) not in gone])
            for segment in self._segments
        )
        self._segments = tuple(
            segment if len(entries) == len(segment.entries) else _segment(entries)
            for segment, entries in kept
            if entries
        )

    def _absorb(self) -> None:
        if not self._pending:
            return
        done, fresh = list(self._segments), list(self._pending)
        while done and len(fresh) * _GROWTH > len(done[-1].entries):
            fresh = [*done.pop().entries, *fresh]
        self._segments = (*done, _segment(fresh))
        self._pending = []


def _filtered(entry: _Entry, exact: _Test, folded: _Test) -> _Entry:
    return _Entry(
        Needles(
            frozenset(filter(exact, entry.exact.split(b"\n"))),
            frozenset(filter(folded, entry.folded.split(b"\n"))),
        )
    )


def _found(automaton: BytesAhoCorasick | None, text: bytes) -> set[bytes]:
    if automaton is None:
        return set()
    matches = automaton.find_matches_as_indexes(text, overlapping=True)
    return {text[start:end] for _, start, end in matches}
