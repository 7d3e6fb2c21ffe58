"""What is shown of a local store without its values: descriptions and pages of names."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from mcp_server.backends.local._contents import Contents, Record
from mcp_server.core.model import TOLD_VERSIONS, Description, Entry, Listing, State, VersionInfo
from mcp_server.core.refs import Ref

__all__ = ["describe", "detailed", "page"]

_AFTER_SLASH: Final = chr(ord("/") + 1)


def describe(ref: Ref, record: Record, contents: Contents) -> Description:
    """Everything about a secret that the clear index says."""
    current = record.current
    live = current.state is State.LIVE
    keys = contents.secrets[record.name][str(current.number)] if live else {}
    history = (VersionInfo(str(v.number), v.state, v.created) for v in reversed(record.versions))
    return Description(
        ref,
        current.state,
        revision=record.revision,
        version=str(current.number),
        keys=tuple(sorted(keys)) if live else None,
        created=record.created,
        updated=current.created,
        versions=tuple(history)[:TOLD_VERSIONS],
        metadata=record.metadata,
    )


def detailed(entry: Entry, prefix: Ref, contents: Contents) -> Entry:
    """The entry with its description, unless it is a folder."""
    if entry.folder:
        return entry
    ref = prefix.child(entry.name)
    return replace(entry, description=describe(ref, contents.records[ref.path], contents))


def page(names: Sequence[str], folder: str, cursor: str | None, limit: int) -> Listing:
    """One page of what is directly below ``folder``.

    Costs by the size of the page, not of the store: a folder is passed over in one step.

    Args:
        names: All names, sorted.
        folder: Without a slash at its end; empty for the top.
        cursor: The place of the last entry before the page.
        limit: Entries at most.
    """
    start = f"{folder}/" if folder else ""
    entries: list[Entry] = []
    for entry in _below(names, start, cursor):
        if len(entries) == limit:
            return Listing(tuple(entries), _place(entries[-1]))
        entries.append(entry)
    return Listing(tuple(entries))


def _below(names: Sequence[str], start: str, cursor: str | None) -> Iterator[Entry]:
    at = bisect_left(names, start) if cursor is None else _after(names, start + cursor)
    while at < len(names) and names[at].startswith(start):
        name, slash, _ = names[at].removeprefix(start).partition("/")
        entry = Entry(name, folder=bool(slash))
        yield entry
        at = _after(names, start + _place(entry))


def _after(names: Sequence[str], place: str) -> int:
    """Where the entry after ``place`` begins: all names below a folder are one entry."""
    if place.endswith("/"):
        return bisect_left(names, place.removesuffix("/") + _AFTER_SLASH)
    return bisect_right(names, place)


def _place(entry: Entry) -> str:
    return f"{entry.name}/" if entry.folder else entry.name
