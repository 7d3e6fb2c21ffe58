"""Command-line parsing that never repeats what was typed: it may be a value."""

from __future__ import annotations

import argparse
import re
from typing import Final, NoReturn

from mcp_server.cli.failures import UsageError

__all__ = ["Parser", "whole_number"]

_OURS: Final = re.compile(
    r"the following arguments are required: .*|one of the arguments .* is required"
)
_NAMED: Final = re.compile(r"argument ([^:]+): (.*)", re.DOTALL)
_MAX_NUMBER: Final = 100_000


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
        raise UsageError(_safe(message), next_step=f"See `{self.prog} --help`.")


def whole_number(text: str) -> int:
    """A positive number, for ``type=``."""
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:9]) <= _MAX_NUMBER:
        raise argparse.ArgumentTypeError("")
    return int(text)


def _safe(message: str) -> str:
    if _OURS.fullmatch(message):
        return f"{message[0].upper()}{message[1:]}."
    named = _NAMED.fullmatch(message)
    if named is None:
        return "There are arguments that this verb does not know."
    if named[2].startswith("expected"):
        return f"{named[1]}: {named[2]}."
    return f"{named[1]}: that is not one of its choices."
