"""An exception nobody expected: the client gets an id, and a file explains it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.leaks.corpus import find
from tests.wire.conftest import ERAS
from tests.wire.pipes import ended, serving

CANARY = b"canary-Zq7vR2mK9xLw4Tn8"
PLANT = (
    "from mcp_server.backends.memory import MemoryBackend",
    f"MemoryBackend._describe = lambda *a: int({CANARY!r})",
)


@pytest.mark.parametrize("era", ERAS)
def test_the_id_is_found_again_in_the_incident_log(home: Path, era: str) -> None:
    with serving(home, era, *PLANT) as (pipes, process):
        answer = pipes.call("secrets_read", ref="memory://a/b")
        ended(process)
    said = answer["content"][0]["text"]
    found = re.search(r"Incident ([0-9a-f]{8})", said)
    assert found is not None
    log = home / "state" / "secret-management" / "incidents.log"
    assert log.stat().st_mode & 0o777 == 0o600
    assert f"incident {found[1]}: ValueError at" in log.read_text()
    assert find(log.read_bytes() + said.encode(), CANARY) == []
