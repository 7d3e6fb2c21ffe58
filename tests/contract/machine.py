"""A store of versions against a dictionary that says what it must hold.

Hypothesis makes up histories of writes and removals; after each step everything that can be seen
of the store must be what the dictionary says. A subclass provides ``open``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mcp_server.backends.base import Backend
from mcp_server.core.errors import ConflictError, NotFoundError
from mcp_server.core.model import RemovalMode, State
from mcp_server.core.refs import Ref
from tests.contract.hand import Hand

__all__ = ["StoreMachine"]

NAMES = ("a", "a/b", "b", "c_unencrypted")
KEYS = ("k", "l", "m_unencrypted", "values")

names = st.sampled_from(NAMES)
keys = st.sampled_from(KEYS)
values = st.dictionaries(
    keys, st.binary(max_size=8) | st.text(max_size=4).map(str.encode), max_size=3
)


@dataclass
class Version:
    values: dict[str, bytes]
    state: State = State.LIVE


@dataclass
class Expected:
    """What the dictionary holds of one secret; versions count from 1."""

    versions: list[Version] = field(default_factory=list)

    @property
    def current(self) -> Version:
        return self.versions[-1] if self.versions else Version({}, State.ABSENT)

    def put(self, new: dict[str, bytes], remove: frozenset[str], *, replace: bool) -> None:
        keep = self.current.state is State.LIVE and not replace
        kept = {k: v for k, v in self.current.values.items() if keep and k not in remove}
        self.versions.append(Version(kept | new))


class StoreMachine(RuleBasedStateMachine):
    """The rules; ``open`` gives a store that keeps at least 30 versions."""

    def open(self) -> Backend:
        raise NotImplementedError

    def take(self, backend: Backend) -> Hand:
        """A hand on an empty folder of the store; here, on all of it."""
        return Hand(backend, Ref(backend.scheme, ""))

    @initialize()
    def start(self) -> None:
        self.hand = self.take(self.open())
        self.expected: dict[str, Expected] = {}

    def teardown(self) -> None:
        if hasattr(self, "hand"):
            self.hand.backend.close()

    @rule(name=names, new=values, remove=st.frozensets(keys), replace=st.booleans())
    def put(
        self, name: str, new: dict[str, bytes], remove: frozenset[str], *, replace: bool
    ) -> None:
        if not (new or remove or replace):
            return
        seen = self.hand.describe(name).revision
        self.hand.put(name, new, remove=remove, replace=replace, expected=seen)
        self.expected.setdefault(name, Expected()).put(new, remove, replace=replace)

    @rule(name=names, new=values.filter(bool))
    def lose_a_race(self, name: str, new: dict[str, bytes]) -> None:
        stale = self.hand.describe(name).revision
        self.put(name, {"k": b"winner"}, frozenset(), replace=False)
        with pytest.raises(ConflictError):
            self.hand.put(name, new, expected=stale)

    @rule(name=names, mode=st.sampled_from(RemovalMode))
    def remove(self, name: str, mode: RemovalMode) -> None:
        if name not in self.expected:
            with pytest.raises(NotFoundError):
                self.hand.remove(name, mode)
        elif mode is RemovalMode.ERASE:
            self.hand.remove(name, mode)
            del self.expected[name]
        else:
            self._change_state(name, mode, [len(self.expected[name].versions)], whole=True)

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), mode=st.sampled_from(RemovalMode))
    def remove_versions(self, data: st.DataObject, mode: RemovalMode) -> None:
        name = data.draw(st.sampled_from(sorted(self.expected)))
        count = len(self.expected[name].versions)
        chosen = data.draw(st.lists(st.integers(1, count), min_size=1, max_size=3))
        if mode is not RemovalMode.ERASE:
            self._change_state(name, mode, chosen, whole=False)

    def _change_state(
        self, name: str, mode: RemovalMode, numbers: list[int], *, whole: bool
    ) -> None:
        named = () if whole else tuple(map(str, numbers))
        chosen = [self.expected[name].versions[number - 1] for number in numbers]
        if mode is RemovalMode.RESTORE and any(v.state is State.DESTROYED for v in chosen):
            with pytest.raises(NotFoundError):
                self.hand.remove(name, mode, *named)
            return
        self.hand.remove(name, mode, *named)
        for version in chosen:
            _move(version, mode)

    @invariant()
    def everything_is_as_expected(self) -> None:
        for name in NAMES if hasattr(self, "hand") else ():
            self._check(name, self.expected.get(name, Expected()))

    @invariant()
    def the_listing_names_exactly_these(self) -> None:
        if hasattr(self, "hand"):
            top = {(name.partition("/")[0], "/" in name) for name in self.expected}
            assert sorted(self.hand.names(limit=2)) == sorted(top)

    def _check(self, name: str, expected: Expected) -> None:
        description = self.hand.describe(name)
        current = expected.current
        live = current.state is State.LIVE
        assert description.state is current.state
        assert description.keys == (tuple(sorted(current.values)) if live else None)
        states = [version.state for version in reversed(expected.versions)]
        assert [version.state for version in description.versions] == states[:20]
        for number, version in enumerate(expected.versions, 1):
            if version.state is State.LIVE:
                assert self.hand.values(name, version=str(number)) == version.values
            else:
                with pytest.raises(NotFoundError):
                    self.hand.fetch(name, version=str(number))


def _move(version: Version, mode: RemovalMode) -> None:
    if mode is RemovalMode.DESTROY:
        version.values, version.state = {}, State.DESTROYED
    elif version.state is not State.DESTROYED:
        version.state = State.DELETED if mode is RemovalMode.DELETE else State.LIVE
