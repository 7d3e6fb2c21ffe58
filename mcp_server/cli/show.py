"""Receipts as a person reads them: aligned, short, every foreign text cleaned.

Each function gives lines for ``Console``. Text of stores goes through ``core.text.clean`` here
again, since a terminal obeys control characters that a JSON receipt would carry as data.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from mcp_server.cli.paint import Paint
from mcp_server.core.receipts import (
    ChangeReceipt,
    DescribeReceipt,
    ListedSecret,
    ListReceipt,
    StatusReceipt,
    StoreStatus,
)
from mcp_server.core.text import clean

__all__ = [
    "beside",
    "change",
    "cut",
    "description",
    "facts",
    "in_verbs",
    "listing",
    "status",
    "table",
]

_WIDE: Final = 2_000
_NARROWEST: Final = 40
_TOOL: Final = re.compile(r"\bsecrets_([a-z]+)")
_MODE: Final = re.compile(r"\bmode=([a-z]+)")
_MARKS: Final = {"done": "✓", "approved": "✓", "planned": "…"}


def cut(text: str, cap: int = _WIDE) -> str:
    """Foreign text, fit for a terminal."""
    return clean(text, cap)


def table(rows: Sequence[Sequence[str]], paint: Paint) -> list[str]:
    """Columns as wide as their widest cell, under a dim heading (the first row)."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [paint.dim(lines[0]), *lines[1:]]


def facts(pairs: Iterable[tuple[str, str | None]], paint: Paint) -> list[str]:
    """Names and what they are, wrapped beside the names, those without anything left out."""
    present = [(name, text) for name, text in pairs if text]
    width = max((len(name) for name, _ in present), default=0)
    heads = [(f"  {paint.dim(name.ljust(width))}  ", text) for name, text in present]
    return [line for head, text in heads for line in beside(head, width + 4, text)]


def in_verbs(text: str) -> str:
    """A sentence that names tools, in the words of the command line."""
    return _MODE.sub(r"--mode \1", _TOOL.sub(r"secrets \1", text))


def _when(time: str | None) -> str:
    return time[:16].replace("T", " ") if time else ""


def _moment(time: str | None) -> str:
    return f"{_when(time)} UTC" if time else ""


def change(receipt: ChangeReceipt, paint: Paint) -> list[str]:
    """What was done, or what waits for approval."""
    waits = receipt.state == "planned"
    tint = paint.yellow if waits else paint.green
    state = tint(f"{_MARKS.get(receipt.state, '?')} {receipt.state}")
    version = f"  version {cut(receipt.version)}" if receipt.version and not waits else ""
    prints = ", ".join(f"{cut(key)} {text}" for key, text in receipt.fingerprints.items())
    return [
        f"{state}  {paint.cyan(cut(receipt.ref))}{version}",
        *facts(
            (
                ("change", cut(receipt.change)),
                ("affects", cut(receipt.affects) if waits else None),
                ("plan", receipt.plan if waits else None),
                ("until", _moment(receipt.expires) if waits else None),
                ("allowed by", receipt.channel),
                ("fingerprints", prints),
                ("weak", _weak(receipt, paint)),
                *((cut(key), cut(text)) for key, text in receipt.public.items()),
                ("skipped", "; ".join(cut(line) for line in receipt.skipped)),
            ),
            paint,
        ),
        _next(receipt.next_step, paint),
    ]


def _weak(receipt: ChangeReceipt, paint: Paint) -> str:
    names = ", ".join(cut(key) for key in receipt.weak)
    return paint.yellow(f"{names} (guessable: rotate)") if names else ""


def description(receipt: DescribeReceipt, paint: Paint) -> list[str]:
    """One secret."""
    tint = paint.green if receipt.state == "live" else paint.yellow
    version = f"  version {cut(receipt.version)}" if receipt.version else ""
    keys = "not told by this store" if receipt.keys is None else ", ".join(map(cut, receipt.keys))
    age = "" if not receipt.age_days else f", {receipt.age_days} days ago"
    versions = ", ".join(f"{cut(v.version)} {v.state}" for v in receipt.versions)
    return [
        f"{paint.cyan(cut(receipt.ref))}  {tint(receipt.state)}{version}",
        *facts(
            (
                ("keys", keys if receipt.state == "live" else None),
                ("created", _moment(receipt.created)),
                ("updated", receipt.updated and f"{_moment(receipt.updated)}{age}"),
                ("versions", versions),
                ("owner", _untrusted(receipt.untrusted_owner)),
                ("schedule", _untrusted(receipt.untrusted_schedule)),
                ("consumers", ", ".join(map(cut, receipt.untrusted_consumers))),
                *((cut(name), cut(text)) for name, text in receipt.untrusted_labels.items()),
            ),
            paint,
        ),
        _next(receipt.next_step, paint),
    ]


def _untrusted(text: str | None) -> str | None:
    return None if text is None else cut(text)


def listing(receipt: ListReceipt, paint: Paint) -> list[str]:
    """One page of names."""
    if not receipt.secrets:
        return [f"Nothing below {paint.cyan(cut(receipt.prefix))}."]
    columns: tuple[tuple[str, Callable[[ListedSecret], str]], ...] = (
        ("NAME", lambda each: cut(each.name) + ("/" if each.folder else "")),
        ("STATE", lambda each: each.state or ""),
        ("VERSION", lambda each: cut(each.version or "")),
        ("UPDATED (UTC)", lambda each: _when(each.updated)),
        ("OWNER", lambda each: cut(each.untrusted_owner or "")),
    )
    cells = [(name, [cell(each) for each in receipt.secrets]) for name, cell in columns]
    shown = [[name, *column] for name, column in cells if any(column)]
    lines = table(list(zip(*shown, strict=True)), paint)
    if receipt.cursor:
        more = f"secrets list {cut(receipt.prefix)} --cursor {cut(receipt.cursor)}"
        lines.append(f"{paint.dim('More:')} {more}")  # a command to copy, so on one line
    return lines


def status(receipt: StatusReceipt, paint: Paint) -> list[str]:
    """Stores, policy, what waits."""
    return [
        f"{paint.bold('secret-management')} {receipt.version}",
        *_block("Stores", [line for each in receipt.stores for line in _store(each, paint)], paint),
        *_block("Policy", _items(receipt.policy), paint),
        *_block("Plans that wait", _items(receipt.plans), paint),
        *_block("Begun, outcome unknown", _items(receipt.unfinished), paint),
        *_block("Changed since the start", _items(receipt.changed), paint),
        *_block("Discovered", _items(receipt.discovered), paint),
        *_block("Journal", _items((receipt.journal,)), paint),
        "",
        _next(receipt.next_step, paint),
    ]


def _block(title: str, lines: list[str], paint: Paint) -> list[str]:
    return ["", paint.bold(title), *lines] if lines else []


def _items(texts: Iterable[str]) -> list[str]:
    return [line for text in texts for line in beside("  ", 2, cut(text))]


def _store(store: StoreStatus, paint: Paint) -> list[str]:
    ready = store.state == "ready"
    state = paint.green("ready") if ready else paint.red(cut(store.state))
    who = f"  as {cut(store.untrusted_identity)}" if store.untrusted_identity else ""
    until = f" until {_moment(store.expires)}" if store.expires else ""
    below = [
        *(("warning", paint.yellow, line) for line in store.warnings),
        *(("missing", paint.yellow, line) for line in store.missing),
        *([("next", paint.dim, in_verbs(store.next_step))] if store.next_step else []),
    ]
    return [
        f"  {paint.cyan(f'{store.scheme}://')}  {cut(store.name)}  {state}{who}{until}",
        *(
            line
            for name, tint, text in below
            for line in beside(f"    {tint(name.ljust(7))}  ", 13, cut(text))
        ),
    ]


def _next(text: str, paint: Paint) -> str:
    return "\n".join(beside(f"{paint.dim('Next:')} ", 6, cut(in_verbs(text))))


def beside(head: str, width: int, text: str) -> list[str]:
    """Text wrapped to the terminal beside a head that is ``width`` wide, words left whole."""
    room = max(_NARROWEST, shutil.get_terminal_size().columns - width)
    lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
    return [f"{head}{lines[0]}", *(f"{' ' * width}{line}" for line in lines[1:])]
