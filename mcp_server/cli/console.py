"""Where a verb writes: tables for a person, JSON for everything else, all past the guard."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeVar

from mcp_server import engine as engines
from mcp_server.cli.paint import Paint
from mcp_server.core.errors import EgressBlockedError
from mcp_server.core.guard import Guard, guarded_text
from mcp_server.core.logs import configure
from mcp_server.engine import Engine

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["Console", "opened"]

Receipt = TypeVar("Receipt", bound="DataclassInstance")


@dataclass(frozen=True, slots=True)
class Console:
    """The standard output of one verb.

    Attributes:
        as_json: Receipts as JSON, one object a line.
        paint: Styles for text.
        guard: Searches everything before it is written.
    """

    as_json: bool
    paint: Paint
    guard: Guard

    @classmethod
    def for_options(cls, options: Namespace, guard: Guard) -> Console:
        """JSON where it was asked for or nobody looks."""
        as_json = bool(options.json) or not sys.stdout.isatty()
        return cls(as_json, Paint.for_stream(sys.stdout, os.environ), guard)

    def receipt(self, receipt: Receipt, render: Callable[[Receipt, Paint], Sequence[str]]) -> None:
        """Show a receipt."""
        if self.as_json:
            self.data(asdict(receipt))
        else:
            self.lines(render(receipt, self.paint))

    def data(self, body: Mapping[str, object]) -> None:
        """Write one JSON object, in ASCII."""
        self.lines([json.dumps(body)])

    def lines(self, lines: Sequence[str]) -> None:
        """Write lines, unless a value is among them.

        Raises:
            EgressBlockedError: One was, or it could not be searched for.
        """
        text = "\n".join(lines) + "\n"
        if self.guard.check(text.encode()).blocked:
            raise EgressBlockedError
        sys.stdout.write(text)


@contextmanager
def opened(options: Namespace) -> Iterator[tuple[Engine, Console]]:
    """An engine for one verb. Standard error is guarded from here on."""
    engine = engines.start()
    try:
        sys.stderr = guarded_text(engine.guard, os.fdopen(os.dup(2), "wb", buffering=0))
        configure(sys.stderr)
        yield engine, Console.for_options(options, engine.guard)
    except EgressBlockedError:
        engine.broker.note_withheld()
        raise
    finally:
        engine.stop()
