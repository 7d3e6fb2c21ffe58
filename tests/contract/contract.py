"""What every store does alike: the laws of the seam (docs/adr/0001-the-seam.md).

A store comes under contract with a subclass in a ``test_contract_*.py`` beside this file. It
names the abilities that hold where the tests write, and gives two fixtures::

    class TestMemory(BackendContract):
        abilities = MemoryBackend.abilities

        @pytest.fixture
        def backend(self, session: Session) -> Backend:
            return open_store(StoreSettings("memory", "memory"), session)

A law about an ability runs where the ability is declared; the others must raise.
"""

from __future__ import annotations

from tests.contract.laws_listing import ListingLaws
from tests.contract.laws_races import RaceLaws
from tests.contract.laws_silence import SilenceLaws
from tests.contract.laws_values import ValueLaws
from tests.contract.laws_versions import VersionLaws

__all__ = ["BackendContract"]


class BackendContract(ValueLaws, RaceLaws, VersionLaws, ListingLaws, SilenceLaws):
    """All laws. What a subclass provides is described at ``laws.Laws``."""
