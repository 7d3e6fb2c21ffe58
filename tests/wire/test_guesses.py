"""Guesses of a value in arguments: the guard must not answer them (promise P1b)."""

from __future__ import annotations

import pytest

from mcp_server import engine
from mcp_server.core.sealed import seal
from tests.wire.conftest import ERAS, Connect, call

pytestmark = pytest.mark.anyio

VALUE = "cnrQ7pZxW2vK9tYm4b"
PIECE = VALUE[4:12]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("secrets_list", {"prefix": f"local://{PIECE}"}),
        ("secrets_list", {"prefix": f"local://%{ord(PIECE[0]):02x}{PIECE[1:]}"}),
        (
            "secrets_write",
            {
                "target": "local://made",
                "keys": [{"key": k, "generate": "uuid"} for k in (PIECE[:4], PIECE[4:])],
            },
        ),
        (
            "secrets_write",
            {"target": "local://made", "keys": [{"key": "k", "generate": "uuid"}], "owner": PIECE},
        ),
    ],
)
async def test_a_guess_in_an_argument_comes_back_whether_right_or_wrong(
    connect: Connect,
    running: engine.Engine,
    era: str,
    tool: str,
    arguments: dict[str, object],
) -> None:
    seal(VALUE.encode())
    assert running.guard.check(PIECE.encode()).blocked
    async with connect(era) as client:
        result = await call(client, tool, **arguments)
    assert not running.guard.check(str(result).encode()).blocked
    assert running.guard.check(VALUE.encode()).blocked
