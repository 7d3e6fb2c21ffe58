"""The two clients every test here runs on."""

from __future__ import annotations

import pytest

from tests.live.harness.client import OLDEST, Client, install, newest


@pytest.fixture(scope="session", params=["oldest", "newest"])
def client(request: pytest.FixtureRequest) -> Client:
    return install(OLDEST if request.param == "oldest" else newest())
