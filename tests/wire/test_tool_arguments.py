"""Wrong arguments: a clear refusal that does not repeat what was passed."""

from __future__ import annotations

import pytest

from tests.leaks.corpus import find
from tests.wire.conftest import ERAS, Connect, refusal

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("era", ERAS)]

CANARY = "canary-Zq7vR2mK9xLw4Tn8"
KEY = {"key": "password", "generate": "password"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("secrets_write", {"target": "local://a", "keys": [{**KEY, "value": CANARY}]}),
        ("secrets_write", {"target": "local://a", "keys": [KEY], "value": CANARY}),
        ("secrets_write", {"target": "local://a", "keys": CANARY}),
        ("secrets_write", {"target": "local://a", "keys": [CANARY]}),
        ("secrets_write", {"target": "local://a", "keys": [{"key": "k", "generate": CANARY}]}),
        ("secrets_write", {"target": "local://a", "keys": [{"key": "k", "length": CANARY}]}),
        ("secrets_write", {"target": f"{CANARY} {CANARY}", "keys": [KEY]}),
        ("secrets_write", {"target": f"none://{CANARY}", "keys": [KEY]}),
        ("secrets_write", {"target": f"local://../{CANARY}", "keys": [KEY]}),
        ("secrets_write", {"target": "local://a", "keys": [{"key": "k", "copy": f"a:{CANARY}"}]}),
        ("secrets_write", {"target": "local://a", "keys": [{"key": "k", "file": f"/{CANARY}"}]}),
        ("secrets_write", {"target": "local://a", "keys": [{"key": "k", "env": CANARY}]}),
        ("secrets_write", {"target": "local://a", "from_file": f"./{CANARY}"}),
        ("secrets_write", {"target": "local://a", "format": CANARY, "from_file": "x"}),
        ("secrets_write", {"target": f"runtime://../{CANARY}", "keys": [KEY]}),
        ("secrets_read", {"ref": f"{CANARY}\n"}),
        ("secrets_read", {"ref": f"local://x?address={CANARY}"}),
        ("secrets_read", {"ref": 7, "extra": CANARY}),
        ("secrets_read", {"ref": f"@{CANARY}"}),
        ("secrets_list", {"prefix": "local://", "limit": CANARY}),
        ("secrets_list", {"prefix": f"local://a//{CANARY}"}),
        ("secrets_delete", {"target": "local://a", "mode": CANARY}),
        ("secrets_delete", {"target": f"local://a#{CANARY}"}),
        ("secrets_apply", {"plan": CANARY, "change": "c", "affects": "a"}),
        ("secrets_apply", {"plan": "p-0123456789abcdef", "change": CANARY, "affects": CANARY}),
        ("secrets_status", {"verbose": CANARY}),
    ],
)
async def test_a_rejected_argument_is_not_repeated(
    connect: Connect, era: str, tool: str, arguments: dict[str, object]
) -> None:
    async with connect(era) as client:
        said = await refusal(client, tool, **arguments)
    assert len(said) > 20
    assert find(said.encode(), CANARY.encode()) == []


async def test_the_search_would_see_a_repeated_argument(era: str) -> None:
    del era
    assert find(f"1 validation error: input_value='{CANARY}'".encode(), CANARY.encode())


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("nosuch://a/b", "STORE_UNKNOWN"),
        ("local://a?store=nosuch", "STORE_UNKNOWN"),
        ("local://a/../b", "REF_INVALID"),
        ("local://a%2Fb", "REF_INVALID"),
        ("local://a?address=x", "REF_INVALID"),
        ("aws-sm://name", "STORE_UNKNOWN"),
        ("@nosuch", "INPUT_INVALID"),
    ],
)
async def test_a_wrong_reference_gets_its_code_and_a_next_step(
    connect: Connect, era: str, reference: str, code: str
) -> None:
    async with connect(era) as client:
        said = await refusal(client, "secrets_read", ref=reference)
    assert code in said
    assert "Next:" in said
