"""What all laws need: the fixtures that a store's subclass gives, and the marks."""

from __future__ import annotations

import secrets
from typing import ClassVar

import pytest

from mcp_server.backends.base import Backend
from mcp_server.core.model import Ability, Act, RemovalMode
from mcp_server.core.refs import Ref
from tests.contract.hand import Hand
from tests.contract.odd import ODD_KEYS, ODD_NAMES

__all__ = ["ACT", "Laws", "needs", "versioned", "writable"]

ACT = Act("contract")

needs = pytest.mark.needs
writable = needs(Ability.PUT, Ability.FETCH)
versioned = needs(Ability.PUT, Ability.FETCH, Ability.VERSIONS)


class Laws:
    """A subclass provides ``abilities`` and the fixture ``backend``."""

    abilities: ClassVar[frozenset[Ability]]
    text_only: ClassVar[bool] = False
    """The store holds text: other bytes are refused with ``UNSUPPORTED``."""
    largest: ClassVar[int] = 1_048_576
    """Bytes of the largest value that the store must hold."""
    odd_names: ClassVar[tuple[str, ...]] = ODD_NAMES
    odd_keys: ClassVar[tuple[str, ...]] = ODD_KEYS

    @pytest.fixture
    def backend(self) -> Backend:
        """The store, ready to be written to."""
        raise NotImplementedError

    @pytest.fixture
    def twin(self, backend: Backend) -> Backend:
        """A second way into the same store, as another process has it."""
        return backend

    @pytest.fixture
    def prefix(self, backend: Backend) -> Ref:
        """A folder that no other test uses."""
        return Ref(backend.scheme, f"contract-{secrets.token_hex(6)}")

    @pytest.fixture
    def hand(self, backend: Backend, prefix: Ref) -> Hand:
        return Hand(backend, prefix)

    def removals(self) -> set[RemovalMode]:
        """The ways to remove that the store declares."""
        return {mode for mode in RemovalMode if Ability(mode.value) in self.abilities}
