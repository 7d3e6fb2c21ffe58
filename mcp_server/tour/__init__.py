"""The tour: the main job in about a minute, on the real server and a real OpenBao.

It runs in a temporary home of its own and touches nothing of the user's. It plays the model's side
of the wire, lets a person decide (the one at the terminal, or a scripted one where there is none),
prints what the model saw, and searches that for every value that took part; the same search is
then shown to fail on a planted value.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import anyio

from mcp_server.tour.person import Person
from mcp_server.tour.scenes import play
from mcp_server.tour.stage import Stage
from mcp_server.tour.telling import Telling

__all__ = ["main"]


def main() -> int:
    """Give the tour; 0 when everything went as told and no value was seen."""
    telling = Telling(sys.stdout)
    with tempfile.TemporaryDirectory(prefix="secrets-tour-") as folder:
        stage = Stage(Path(folder))
        person = Person(telling)
        clean = anyio.run(play, stage, telling, person)
    telling.end(clean=clean, followed=person.followed)
    return 0 if clean else 1
