"""The guard itself: register values, check what is about to leave."""

from __future__ import annotations

import enum
import hashlib
import secrets
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING

from mcp_server.core.guard._index import Index
from mcp_server.core.guard._layers import TooDeepError, layers
from mcp_server.core.guard._needles import Needles, needles
from mcp_server.core.guard._views import Views, folded_positions, packed_positions, views

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ahocorasick_rs import BytesAhoCorasick

__all__ = ["Guard", "Metrics", "Reason", "Verdict"]

_DEFAULT_BUDGET = 64 << 20
_DEFAULT_MAX_FRAME = 8 << 20
_MAX_PUBLIC = 256 << 10
_MAX_HEARD = 4 << 20


class Reason(enum.Enum):
    """Why something may not leave; each is a sentence that is safe to show."""

    MATCH = "Withheld: this output contained part of a secret value."
    TOO_LARGE = "Withheld: this output is too large to be searched for secret values."
    FAILED = "Withheld: this output could not be searched for secret values."


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer about one frame. It never says which value was found, nor where.

    Args:
        reason: Why the frame is blocked; None when it may leave.
    """

    reason: Reason | None = None

    @property
    def blocked(self) -> bool:
        """Whether the frame must not leave."""
        return self.reason is not None


_CLEAN = Verdict()


@dataclass(frozen=True, slots=True)
class Metrics:
    """What the guard did since it was made.

    Args:
        frames: Texts checked, blocked ones included.
        bytes: Bytes in them.
        blocked: Texts blocked, for whatever reason.
        nanoseconds: Time spent checking.
        values: Values guarded now.
        evicted: Values no longer guarded because the memory budget was reached.
        needle_bytes: Estimated bytes of memory the guarded values take.
    """

    frames: int
    bytes: int
    blocked: int
    nanoseconds: int
    values: int
    evicted: int
    needle_bytes: int


class Guard:
    """Searches texts for every registered value, in any encoding the package docstring lists.

    Safe to use from several threads. Fails closed: what cannot be searched is blocked, and once a
    value could not be registered, everything is.

    Args:
        budget: Bytes of memory for registered values. Values registered (or seen again) longest
            ago are given up first; ``Metrics.evicted`` counts them.
        max_frame: Bytes a text may have; a larger one is blocked.
    """

    def __init__(
        self, *, budget: int = _DEFAULT_BUDGET, max_frame: int = _DEFAULT_MAX_FRAME
    ) -> None:
        self._index = Index(budget)
        self._max_frame = max_frame
        self._key = secrets.token_bytes(32)
        self._public = Views(b"", b"")
        self._heard: deque[bytes] = deque()
        self._heard_bytes = 0
        self._broken = False
        self._lock = threading.Lock()
        self._frames = self._bytes = self._blocked = self._nanoseconds = 0

    def register(self, value: bytes, generated_bits: int | None = None) -> bool:
        """Search for this value from now on. Its signature fits ``sealed.on_seal``.

        Args:
            value: The value; it is not kept, only what it is searched by.
            generated_bits: Bits of entropy if this process generated it (``core.strength``).

        Returns:
            False when nothing was registered: the value is guessable (P1b), or nothing in it is
            secret, such as in a certificate. Never raises: when registering fails, every later
            check is blocked.
        """
        try:
            return self._register(value, generated_bits)
        except Exception:  # noqa: BLE001 - an unguarded value must stop the output, not the caller
            self._broken = True
            return False

    def _register(self, value: bytes, generated_bits: int | None) -> bool:
        key = hashlib.blake2b(value, key=self._key).digest()
        if self._index.refresh(key):
            return True
        public = self._public
        exact, folded = needles(value, generated_bits)
        found = Needles(
            frozenset(needle for needle in exact if needle not in public.exact),
            frozenset(needle for needle in folded if needle not in public.folded),
        )
        if not (found.exact or found.folded):
            return False
        self._index.add(key, found)
        return True

    def declare_public(self, material: bytes) -> None:
        """Let material through that a registered value contains, such as its public key.

        Only for what this process derived itself (a public key, a certificate) or what the
        operator declared public; text from a store or a repository must never come here. Whatever
        occurs in the material is no longer searched for. The latest 256 KiB are remembered.

        Raises:
            ValueError: The material alone is larger than that.
        """
        added = views(material)
        if len(added.exact) > _MAX_PUBLIC:
            raise ValueError("too much public material")
        with self._lock:
            # A line break occurs in no needle, so none spans two materials.
            exact = (self._public.exact + b"\n" + added.exact)[-_MAX_PUBLIC:]
            folded = (self._public.folded + b"\n" + added.folded)[-_MAX_PUBLIC:]
            self._public = Views(exact, folded)
            if len(self._index):
                self._index.remove(added)

    def check(self, frame: bytes) -> Verdict:
        """Whether this text may leave. Never raises."""
        start = perf_counter_ns()
        try:
            reason = self._search(frame)
        except TooDeepError:
            reason = Reason.TOO_LARGE
        except Exception:  # noqa: BLE001 - the boundary: any failure must block
            reason = Reason.FAILED
        with self._lock:
            self._frames += 1
            self._bytes += len(frame)
            self._blocked += reason is not None
            self._nanoseconds += perf_counter_ns() - start
        return _CLEAN if reason is None else Verdict(reason)

    def _search(self, frame: bytes) -> Reason | None:
        if self._broken:
            return Reason.FAILED
        if len(frame) > self._max_frame:
            return Reason.TOO_LARGE
        if not self._occurs(frame):
            return None
        self._index.forget(self._heard_views())
        return Reason.MATCH if self._occurs(frame) else None

    def _occurs(self, frame: bytes) -> bool:
        segments = self._index.segments()
        if not segments:
            return False
        texts = map(views, _with_layers(frame))
        return any(segment.hits(seen) for seen in texts for segment in segments)

    def hear(self, text: bytes) -> None:
        """Remember what the other side said; what it said itself is no leak when it comes back.

        Without this the guard answers guesses: text with a hundred thousand guesses in it comes
        back or is withheld, and only the hits would be counted (promise P1b). What was heard is
        no longer searched for. The latest 4 MiB are remembered.
        """
        with self._lock:
            self._heard.append(text[-_MAX_HEARD:])
            self._heard_bytes += len(self._heard[-1])
            while self._heard_bytes > _MAX_HEARD:
                self._heard_bytes -= len(self._heard.popleft())

    def _heard_views(self) -> Iterator[Views]:
        with self._lock:
            heard = tuple(self._heard)
        for text in heard:
            with suppress(TooDeepError):
                yield from map(views, _with_layers(text))

    def locate(self, text: bytes) -> list[tuple[int, int]]:
        """Where in the text registered values show, for ``StreamFilter`` alone.

        Searches both views but opens no layers. Where the search is impossible, the whole text is
        the answer.

        Returns:
            Start and end of each stretch, sorted, none touching the next.
        """
        try:
            return self._locate(text)
        except Exception:  # noqa: BLE001 - the boundary: any failure must block
            return [(0, len(text))]

    def _locate(self, text: bytes) -> list[tuple[int, int]]:
        if self._broken:
            return [(0, len(text))]
        segments = self._index.segments()
        seen = views(text)
        if not any(segment.hits(seen) for segment in segments):
            return []
        exact_at = packed_positions(text)
        folded_at = [exact_at[i] for i in folded_positions(seen.exact)]
        found: list[tuple[int, int]] = []
        for segment in segments:
            found += _spans(segment.exact, seen.exact, exact_at)
            found += _spans(segment.folded, seen.folded, folded_at)
        return _merged(found)

    def metrics(self) -> Metrics:
        """The figures so far."""
        with self._lock:
            return Metrics(
                frames=self._frames,
                bytes=self._bytes,
                blocked=self._blocked,
                nanoseconds=self._nanoseconds,
                values=len(self._index),
                evicted=self._index.evicted,
                needle_bytes=self._index.cost,
            )


def _with_layers(frame: bytes) -> Iterator[bytes]:
    yield frame
    yield from layers(frame)


def _spans(
    automaton: BytesAhoCorasick | None, text: bytes, places: list[int]
) -> Iterator[tuple[int, int]]:
    if automaton is None:
        return
    for _, start, end in automaton.find_matches_as_indexes(text, overlapping=True):
        yield places[start], places[end - 1] + 1


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
