"""How receipts and plans look, and that no terminal obeys a foreign text."""

from __future__ import annotations

import pytest

from mcp_server.cli import show
from mcp_server.cli.consent import difference
from mcp_server.cli.paint import Paint
from mcp_server.core.model import Metadata, Verb
from mcp_server.core.plans import Operation, Step
from mcp_server.core.receipts import (
    ChangeReceipt,
    DescribeReceipt,
    ListedSecret,
    ListedVersion,
    ListReceipt,
    StatusReceipt,
    StoreStatus,
)

PLAIN = Paint()
HOSTILE = "a\x1b[2J\x1b]0;x\x07\u202eb\u200bc\nd"
CLEANED = "a[2J]0;xbcd"


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def _text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def test_a_change_that_was_done() -> None:
    receipt = ChangeReceipt(
        "done",
        "local://app/db",
        "create local://app/db; password = generated password of 32",
        "does not exist yet",
        "Describe it with secrets_read local://app/db.",
        version="1",
        channel="policy",
        fingerprints={"password": "a1b2c3d4e5f60718"},
        weak=("pin",),
    )
    assert _text(show.change(receipt, PLAIN)) == (
        "✓ done  local://app/db  version 1\n"
        "  change        create local://app/db; password = generated password of 32\n"
        "  allowed by    policy\n"
        "  fingerprints  password a1b2c3d4e5f60718\n"
        "  weak          pin (guessable: rotate)\n"
        "Next: Describe it with secrets read local://app/db.\n"
    )


def test_a_plan_that_waits() -> None:
    receipt = ChangeReceipt(
        "planned",
        "vault://secret/app/db",
        "update vault://secret/app/db; password = copy of local://app/db#password",
        "now version 4; declared consumers (untrusted): billing, checkout, payments, catalog",
        "A person runs `secrets apply p-0123456789abcdef` in a terminal.",
        plan="p-0123456789abcdef",
        expires="2026-05-04T10:20:30+00:00",
        version="4",
    )
    assert _text(show.change(receipt, PLAIN)) == (
        "… planned  vault://secret/app/db\n"
        "  change   update vault://secret/app/db; password = copy of\n"
        "           local://app/db#password\n"
        "  affects  now version 4; declared consumers (untrusted): billing, checkout,\n"
        "           payments, catalog\n"
        "  plan     p-0123456789abcdef\n"
        "  until    2026-05-04 10:20 UTC\n"
        "Next: A person runs `secrets apply p-0123456789abcdef` in a terminal.\n"
    )


def test_a_description() -> None:
    receipt = DescribeReceipt(
        "local://app/db",
        "live",
        "Use it.",
        version="3",
        keys=("password", "user"),
        updated="2026-05-04T10:20:30+00:00",
        age_days=12,
        versions=(ListedVersion("3", "live"), ListedVersion("2", "deleted")),
        untrusted_owner="platform",
    )
    assert _text(show.description(receipt, PLAIN)) == (
        "local://app/db  live  version 3\n"
        "  keys      password, user\n"
        "  updated   2026-05-04 10:20 UTC, 12 days ago\n"
        "  versions  3 live, 2 deleted\n"
        "  owner     platform\n"
        "Next: Use it.\n"
    )


def test_what_is_to_be_read_fits_the_terminal() -> None:
    long = "Add the mount to the store; " * 8 + "end."
    store = StoreStatus("team", "vault", "ready", (), "app", None, (long,), (long,), long)
    receipt = StatusReceipt("1.0", "s-1", (store,), (long,), (long,), (), (), (long,), "3", long)
    lines = _text(show.status(receipt, PLAIN)).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("end." in line for line in lines) == 7


def test_a_command_to_copy_stays_on_one_line() -> None:
    page = ListReceipt("local://app", (ListedSecret("db"),), cursor="c" * 90)
    assert show.listing(page, PLAIN)[-1].endswith(f"--cursor {'c' * 90}")


def test_a_listing_shows_the_columns_that_have_something() -> None:
    page = ListReceipt(
        "local://app",
        (ListedSecret("db", version="12"), ListedSecret("web", folder=True)),
        cursor="web/",
    )
    assert _text(show.listing(page, PLAIN)) == (
        "NAME  VERSION\ndb    12\nweb/\nMore: secrets list local://app --cursor web/\n"
    )
    assert show.listing(ListReceipt("local://", ()), PLAIN) == ["Nothing below local://."]


def test_the_status_of_a_store_that_does_not_answer() -> None:
    store = StoreStatus("team", "vault", "STORE_SEALED: It is sealed.", (), next_step="Unseal it.")
    receipt = StatusReceipt(
        "1.0", "s-1", (store,), ("deny all",), (), (), (), (), "3 entries", "team: Unseal it."
    )
    assert _text(show.status(receipt, PLAIN)) == (
        "secret-management 1.0\n\n"
        "Stores\n  vault://  team  STORE_SEALED: It is sealed.\n    next     Unseal it.\n\n"
        "Policy\n  deny all\n\n"
        "Journal\n  3 entries\n\n"
        "Next: team: Unseal it.\n"
    )


def test_a_plan_as_a_difference() -> None:
    operation = Operation(
        Verb.UPDATE,
        "local://app/db",
        (Step("password", "generate", "password", "32"), Step("user", "copy", "vault://s/db#user")),
        remove=("old",),
        metadata=Metadata(owner="platform"),
        version="3",
        notes=("declared consumers (untrusted): billing",),
    )
    assert _text(difference(operation, ("password", "old"), PLAIN)) == (
        "update  local://app/db  now version 3\n"
        "  ~ password  generated password of 32\n"
        "  + user  copy of vault://s/db#user\n"
        "  - old\n"
        "  = owner platform\n"
        "  ! declared consumers (untrusted): billing\n"
    )


def test_replacing_names_every_key_that_goes_or_says_so() -> None:
    step = Step("a", "env", "A")
    operation = Operation(Verb.UPDATE, "local://x", (step,), replace=True, version="1")
    assert difference(operation, ("a", "b", "c"), PLAIN)[-2:] == ["  - b", "  - c"]
    assert difference(operation, None, PLAIN)[-1] == "  - every other key"


def test_a_command_as_a_plan_quotes_what_hides() -> None:
    operation = Operation(
        Verb.RUN,
        "child process",
        (Step("PW", "copy", "local://app/db#password"),),
        command=("/bin/sh", "-c", "echo a; rm b", ""),
        folder="/srv/app",
    )
    assert _text(difference(operation, None, PLAIN)) == (
        "run\n  $ /bin/sh -c 'echo a; rm b' ''\n  in /srv/app\n"
        "  PW = copy of local://app/db#password\n"
    )


def test_a_command_is_shown_whole_and_what_hides_in_it_as_an_escape() -> None:
    command = ("/bin/sh", "-c", "x" * 5000 + "\u200bEND")
    shown = difference(Operation(Verb.RUN, "child process", command=command), None, PLAIN)[1]
    assert shown.endswith('\\u200bEND"')
    assert len(shown) > 5000


def test_no_terminal_obeys_a_foreign_text() -> None:
    step = Step(HOSTILE, "file", HOSTILE, HOSTILE)
    command = (f"/bin/{HOSTILE}", HOSTILE)
    operation = Operation(
        Verb.UPDATE, HOSTILE, (step,), (HOSTILE,), version=HOSTILE, notes=(HOSTILE,)
    )
    child = Operation(Verb.RUN, HOSTILE, (step,), command=command, folder=HOSTILE)
    described = DescribeReceipt(
        HOSTILE,
        "live",
        HOSTILE,
        HOSTILE,
        (HOSTILE,),
        untrusted_owner=HOSTILE,
        untrusted_consumers=(HOSTILE,),
        untrusted_labels={HOSTILE: HOSTILE},
    )
    listed = ListReceipt(HOSTILE, (ListedSecret(HOSTILE, untrusted_owner=HOSTILE),), HOSTILE)
    changed = ChangeReceipt(
        "planned", HOSTILE, HOSTILE, HOSTILE, HOSTILE, skipped=(HOSTILE,), weak=(HOSTILE,)
    )
    store = StoreStatus(HOSTILE, "vault", HOSTILE, (), HOSTILE, None, (HOSTILE,), (HOSTILE,))
    state = StatusReceipt("1", "s", (store,), (HOSTILE,), (HOSTILE,), (), (), (), "", HOSTILE)
    for lines in (
        difference(operation, (), PLAIN),
        difference(child, (), PLAIN),
        show.description(described, PLAIN),
        show.listing(listed, PLAIN),
        show.change(changed, PLAIN),
        show.status(state, PLAIN),
    ):
        shown = "".join(lines)
        assert CLEANED in shown or "\\u202e" in shown
        assert shown.isprintable(), lines


def test_colour_is_for_terminals_that_want_it() -> None:
    assert Paint.for_terminal({"TERM": "xterm"}).red("x") == "\x1b[31mx\x1b[0m"
    assert Paint.for_terminal({"TERM": "xterm", "NO_COLOR": "1"}).red("x") == "x"
    assert Paint.for_terminal({"TERM": "xterm", "NO_COLOR": ""}).on
    assert Paint.for_terminal({"TERM": "dumb"}).red("x") == "x"
