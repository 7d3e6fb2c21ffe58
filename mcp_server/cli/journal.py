"""``secrets journal``."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict

from mcp_server.cli import show
from mcp_server.cli.arguments import Parser, whole_number
from mcp_server.cli.console import Console, opened
from mcp_server.cli.failures import FAILED
from mcp_server.core.journal import Journal, Record

__all__ = ["run"]


def run(arguments: list[str]) -> int:
    """Show the latest entries, or follow the chain of all of them."""
    parser = Parser("journal", "Show what was done here: verbs, names, versions, never values.")
    parser.add_argument("-n", type=whole_number, default=20, help="how many of the latest entries")
    parser.add_argument("--verify", action="store_true", help="check that no entry was altered")
    options = parser.parse_args(arguments)
    with opened(options) as (engine, console):
        journal = engine.broker.session.journal
        if options.verify:
            return _verify(journal, console)
        _latest(deque(journal.records(), maxlen=options.n), console)
    return 0


def _latest(records: deque[Record], console: Console) -> None:
    if console.as_json:
        for record in records:
            body = {"number": record.number, "time": record.time, **asdict(record.event)}
            console.data({name: value for name, value in body.items() if value is not None})
    elif records:
        heading = ("TIME (UTC)", "WHAT", "VERB", "VERSION", "BY", "SECRET")
        console.lines(show.table([heading, *map(_row, records)], console.paint))
    else:
        console.lines(["The journal is empty."])


def _row(record: Record) -> tuple[str, ...]:
    event = record.event
    what = f"{event.kind.value} {event.code}" if event.code else event.kind.value
    cells = (record.time[:19], what, event.verb, event.version, event.channel, event.ref)
    return tuple(show.cut(cell or "") for cell in cells)


def _verify(journal: Journal, console: Console) -> int:
    report = journal.verify()
    if console.as_json:
        console.data({**asdict(report), "intact": report.intact})
        return 0 if report.intact else FAILED
    paint = console.paint
    state = paint.green("intact") if report.intact else paint.red(f"broken at {report.broken_at}")
    torn = f", {report.torn} torn" if report.torn else ""
    console.lines([f"{report.entries} entries{torn}, chain {state}"])
    if report.intact:
        console.lines([paint.dim("Entries cut off the end would not be noticed.")])
    return 0 if report.intact else FAILED
