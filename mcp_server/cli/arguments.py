"""Command-line parsing that never repeats what was typed: it may be a value."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Final, NoReturn

from mcp_server.cli.failures import UsageError

__all__ = ["Parser", "whole_number"]

_OURS: Final = re.compile(
    r"the following arguments are required: .*|one of the arguments .* is required"
)
_NAMED: Final = re.compile(r"argument ([^:]+): (.*)", re.DOTALL)
_MAX_NUMBER: Final = 100_000
_NO_NUMBER: Final = f"it takes a whole number from 1 to {_MAX_NUMBER}"


class Parser(argparse.ArgumentParser):
    """A parser for one verb.

    Args:
        verb: Its name.
        description: What it does, for its help.
        epilog: Examples.
    """

    def __init__(self, verb: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=f"secrets {verb}",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument(
            "--json", action="store_true", help="print the receipt as JSON (the default in a pipe)"
        )

    def error(self, message: str) -> NoReturn:
        """Refuse, naming our own options only; ``argparse`` puts what was typed into its text."""
        raise UsageError(_safe(message, self._choices), next_step=f"See `{self.prog} --help`.")

    def _choices(self, name: str) -> str:
        """What the option takes, in our own words."""
        for action in self._actions:
            if name in action.option_strings and action.choices is not None:
                return f"it takes {', '.join(map(str, action.choices))}"
        return "that is not one of its choices"


def whole_number(text: str) -> int:
    """A positive number, for ``type=``."""
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:9]) <= _MAX_NUMBER:
        raise argparse.ArgumentTypeError(_NO_NUMBER)
    return int(text)


def _safe(message: str, choices: Callable[[str], str]) -> str:
    if _OURS.fullmatch(message):
        return f"{message[0].upper()}{message[1:]}."
    named = _NAMED.fullmatch(message)
    if named is None:
        return "There are arguments that this verb does not know."
    if named[2].startswith("expected"):
        return f"{named[1]}: {named[2]}."
    if named[2] == _NO_NUMBER:
        return f"{named[1]}: {_NO_NUMBER}."
    return f"{named[1]}: {choices(named[1])}."
