"""The person who decides: the one at the terminal, or a scripted one where there is none."""

from __future__ import annotations

import sys

import anyio
from mcp import types

from mcp_server.tour.telling import Telling

__all__ = ["Person"]


class Person:
    """Answers the server's yes/no forms.

    Args:
        telling: Shows the questions and answers.

    Attributes:
        followed: Every answer so far was the one that the tour asked for.
    """

    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self._present = sys.stdin.isatty() and sys.stdout.isatty()
        self._script: list[bool] = []
        self.followed = True

    def will_say(self, *, yes: bool) -> None:
        """What the scripted person answers next, and what the tour asks a present one to try."""
        self._script.append(yes)
        if self._present:
            self._telling.note(f"You decide. To follow the tour, say {'y' if yes else 'n'}.")

    async def __call__(
        self,
        context: object,
        params: types.ElicitRequestFormParams | types.ElicitRequestURLParams,
    ) -> types.ElicitResult:
        """One question of the server."""
        del context
        self._telling.asked("person?", params.message)
        yes = expected = self._script.pop(0)
        if self._present:
            yes = await _typed("           [y/N] ") in {"y", "yes"}
        self.followed &= yes == expected
        self._telling.said("person", "yes" if yes else "no")
        return types.ElicitResult(action="accept", content={"approve": yes})


async def _typed(question: str) -> str:
    """A line of the terminal; waited for in a way that Ctrl-C ends at once."""
    sys.stdout.write(question)
    sys.stdout.flush()
    await anyio.wait_readable(sys.stdin)  # a terminal is readable when a line is there
    return sys.stdin.readline().strip().lower()
