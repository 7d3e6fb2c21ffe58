"""The journal: whole lines or none, one chain for all processes, and honest about its limits."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.core.errors import JournalError
from mcp_server.core.journal import Event, Journal, Kind, Report

ROOT = Path(__file__).parents[3]
EVENT = Event(Kind.INTENT, "update", "local://app/db", "session-1", "plan-1", "policy")

WRITER = """
import sys
from pathlib import Path
from mcp_server.core.journal import Event, Journal, Kind
journal, name = Journal(Path(sys.argv[1])), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    journal.record(Event(Kind.DONE, "update", f"local://{name}/{number}", name), durable=True)
    print(number, flush=True)
"""

ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from mcp_server.core.errors import JournalError
from mcp_server.core.journal import Event, Journal, Kind
path, limit = Path(sys.argv[1]), int(sys.argv[2])
journal = Journal(path)
event = Event(Kind.DONE, "update", "local://app/db", "session-1")
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
written = 0
try:
    while True:
        journal.record(event, durable=True)
        written += 1
except JournalError as error:
    print(written, error.message, sep="|")
print(path.stat().st_size)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
journal.record(event, durable=True)
"""


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state" / "journal.jsonl")


def _fill(journal: Journal, count: int = 4) -> list[bytes]:
    for _ in range(count):
        journal.record(EVENT, durable=False)
    return journal.path.read_bytes().splitlines(keepends=True)


def _start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


# --- what is recorded --------------------------------------------------------------------------


def test_entries_come_back_in_order(journal: Journal) -> None:
    events = [EVENT, Event(Kind.FAILED, "use", "local://b", "s", code="NOT_FOUND", version="3")]
    for event in events:
        journal.record(event, durable=True)

    records = list(Journal(journal.path).records())

    assert [record.event for record in records] == events
    assert [record.number for record in records] == [1, 2]
    assert records[0].time <= records[1].time
    assert journal.verify() == Report(entries=2, torn=0, broken_at=None)


texts = st.text(max_size=60)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(Event, st.sampled_from(Kind), texts, texts, texts, st.none() | texts), max_size=5
    )
)
def test_any_text_survives_and_keeps_the_chain(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event]
) -> None:
    journal = Journal(tmp_path_factory.mktemp("journal") / "journal.jsonl")
    for event in events:
        journal.record(event, durable=False)

    assert [record.event for record in journal.records()] == events
    assert journal.verify() == Report(len(events), 0, None)


def test_an_entry_holds_the_known_fields_only(journal: Journal) -> None:
    journal.record(Event(Kind.DONE, "v", "r", "s", "p", "c", "1", "CODE"), durable=True)

    (line,) = journal.path.read_text().splitlines()
    fields = {"n", "time", "kind", "verb", "ref", "session", "plan", "channel", "version", "code"}
    assert set(json.loads(line)) == fields | {"prev", "hash"}


def test_only_the_owner_can_read_it(journal: Journal) -> None:
    before = os.umask(0)
    try:
        journal.record(EVENT, durable=True)
    finally:
        os.umask(before)

    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.path.parent.stat().st_mode) == 0o700


def test_a_missing_file_has_no_entries(journal: Journal) -> None:
    assert list(journal.records()) == []
    assert journal.verify() == Report(0, 0, None)
    assert not journal.path.parent.exists()


# --- when it cannot be written -----------------------------------------------------------------


def test_a_link_in_its_place_is_refused(journal: Journal, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("")
    journal.path.parent.mkdir()
    journal.path.symlink_to(target)

    with pytest.raises(JournalError):
        journal.record(EVENT, durable=False)
    assert target.read_text() == ""


def test_a_full_device_is_named_as_the_reason() -> None:
    with pytest.raises(JournalError, match="full") as refusal:
        Journal(Path("/dev/full")).record(EVENT, durable=False)

    assert os.strerror(errno.ENOSPC) not in str(refusal.value)


@pytest.mark.parametrize("limit", [1, 100, 700, 1024])
def test_a_short_write_leaves_whole_lines_only(journal: Journal, limit: int) -> None:
    """The kernel writes up to the limit and fails then: a real short write."""
    child = _start(ON_A_FULL_DISK, journal.path, limit)
    told, size = child.communicate(timeout=60)[0].splitlines()
    written, message = told.split("|")

    assert child.returncode == 0
    assert "full" in message
    assert int(size) <= limit
    assert journal.verify() == Report(int(written) + 1, 0, None)


def test_an_entry_too_long_to_read_back_is_refused(journal: Journal) -> None:
    before = _fill(journal)

    with pytest.raises(JournalError):
        journal.record(Event(Kind.DONE, "v", "r" * 20_000, "s"), durable=True)
    assert journal.path.read_bytes() == b"".join(before)


# --- torn tails --------------------------------------------------------------------------------


def test_a_line_torn_anywhere_is_accepted_and_said(journal: Journal) -> None:
    lines = _fill(journal)
    whole = b"".join(lines[:-1])

    for cut in range(len(lines[-1])):
        journal.path.write_bytes(whole + lines[-1][:cut])
        Journal(journal.path).record(EVENT, durable=True)

        readable = cut == len(lines[-1]) - 1
        torn = 0 if cut == 0 or readable else 1
        assert journal.verify() == Report(5 if readable else 4, torn, None), cut


def test_a_second_crash_right_after_the_first_is_accepted_as_well(journal: Journal) -> None:
    lines = _fill(journal)
    torn_once = b"".join(lines[:-1]) + lines[-1][:50]
    journal.path.write_bytes(torn_once)
    Journal(journal.path).record(EVENT, durable=True)
    next_line = journal.path.read_bytes()[len(torn_once) :]

    for cut in range(1, len(next_line) - 1):
        journal.path.write_bytes(torn_once + next_line[:cut])
        Journal(journal.path).record(EVENT, durable=True)
        assert journal.verify() == Report(4, 1 if cut == 1 else 2, None), cut


def test_a_tear_that_nobody_announced_breaks_the_chain(journal: Journal) -> None:
    lines = _fill(journal)
    journal.path.write_bytes(lines[0] + b'{"torn": tr\n' + b"".join(lines[1:]))

    assert journal.verify() == Report(4, 1, broken_at=2)


# --- what verify finds, and what it cannot -----------------------------------------------------


def test_every_altered_byte_shows(journal: Journal) -> None:
    lines = _fill(journal, 3)
    clean, last = b"".join(lines), len(lines[-1])
    intact = Report(3, 0, None)
    assert journal.verify() == intact

    for position in range(len(clean)):
        altered = bytearray(clean)
        altered[position] ^= 0x01
        journal.path.write_bytes(altered)
        report = journal.verify()
        assert report != intact, position
        assert not report.intact or position >= len(clean) - last - 1, position


ALTERATIONS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "removed first": lambda lines: lines[1:],
    "removed middle": lambda lines: lines[:1] + lines[2:],
    "repeated": lambda lines: [*lines[:2], lines[1], *lines[2:]],
    "repeated at the end": lambda lines: [*lines, lines[-1]],
    "swapped": lambda lines: [lines[1], lines[0], *lines[2:]],
    "renamed": lambda lines: [lines[0], lines[1].replace(b"app/db", b"app/xx"), *lines[2:]],
    "spaced": lambda lines: [lines[0], lines[1].replace(b",", b", ", 1), *lines[2:]],
    "doubled field": lambda lines: [
        lines[0],
        lines[1].replace(b'{"n"', b'{"verb":"read","n"'),
        *lines[2:],
    ],
    "new line": lambda lines: [lines[0], b'{"n":2,"hash":"0"}\n', *lines[1:]],
    "half a character for a hash": lambda lines: [
        lines[0],
        lines[1][: lines[1].rindex(b":")] + b':"\\ud800"}\n',
        *lines[2:],
    ],
    "blank line": lambda lines: [lines[0], b"\n", *lines[1:]],
    "deep line": lambda lines: [lines[0], b"[" * 10_000 + b"\n", *lines[1:]],
    "long line": lambda lines: [lines[0], b"x" * 100_000 + b"\n", *lines[1:]],
    "not UTF-8": lambda lines: [lines[0], b"\xff\xfe\n", *lines[1:]],
    "huge number": lambda lines: [
        lines[0],
        b'{"n":' + b"9" * 9_000 + b',"hash":"0"}\n',
        *lines[1:],
    ],
}


@pytest.mark.parametrize("alter", ALTERATIONS.values(), ids=ALTERATIONS.keys())
def test_an_altered_inserted_or_removed_line_is_found(
    journal: Journal, alter: Callable[[list[bytes]], list[bytes]]
) -> None:
    lines = _fill(journal)
    assert journal.verify().intact

    journal.path.write_bytes(b"".join(alter(lines)))

    assert not journal.verify().intact
    list(journal.records())


def test_lines_cut_off_the_end_are_not_found(journal: Journal) -> None:
    lines = _fill(journal)
    journal.path.write_bytes(b"".join(lines[:2]))

    assert journal.verify() == Report(2, 0, None)


def test_a_chain_computed_anew_is_not_found(journal: Journal, tmp_path: Path) -> None:
    """Whoever may write the file may write another one: the chain has no key."""
    _fill(journal)
    other = Journal(tmp_path / "other.jsonl")
    other.record(Event(Kind.DONE, "read", "local://innocent", "session-1"), durable=False)
    journal.path.write_bytes(other.path.read_bytes())

    assert journal.verify().intact


def test_unreadable_and_foreign_lines_do_not_stop_reading(journal: Journal) -> None:
    lines = _fill(journal, 2)
    foreign = b'{"kind":"other","n":"x","ref":7,"hash":"0"}\n'
    journal.path.write_bytes(lines[0] + b"torn\n" + foreign + lines[1])

    kinds = [(record.number, record.event.kind, record.event.ref) for record in journal.records()]
    assert kinds == [
        (1, Kind.INTENT, "local://app/db"),
        (0, Kind.FAILED, ""),
        (2, Kind.INTENT, "local://app/db"),
    ]


# --- several processes -------------------------------------------------------------------------


def test_several_processes_write_one_chain(journal: Journal) -> None:
    names = ["one", "two", "three"]
    writers = [_start(WRITER, journal.path, name, 25) for name in names]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.communicate("go\n", timeout=60)

    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert journal.verify() == Report(75, 0, None)
    told = [record.event.ref for record in journal.records()]
    for name in names:
        assert [ref for ref in told if f"/{name}/" in ref] == [
            f"local://{name}/{n}" for n in range(25)
        ]


def test_what_was_confirmed_before_a_kill_is_there(journal: Journal) -> None:
    for round_ in range(3):
        writer = _start(WRITER, journal.path, f"round{round_}", 100_000)
        assert writer.stdout is not None
        assert writer.stdin is not None
        assert writer.stdout.readline() == "ready\n"
        writer.stdin.write("go\n")
        writer.stdin.flush()
        confirmed = [int(writer.stdout.readline()) for _ in range(20 + round_)]
        writer.kill()
        writer.communicate(timeout=60)

        refs = {record.event.ref for record in journal.records()}
        assert {f"local://round{round_}/{number}" for number in confirmed} <= refs
    journal.record(EVENT, durable=True)
    assert journal.verify().intact
