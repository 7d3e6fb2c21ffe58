"""The approval matrix: eras x clients x answers.

Exactly one question, and never on a plan that cannot be applied.
"""

from __future__ import annotations

import pytest
from mcp.types import ElicitRequestFormParams, ElicitResult

from mcp_server.engine import Engine
from tests.wire.conftest import ERAS, Connect, Person, agreed, call, refusal

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("era", ERAS)]

TARGET = "memory://app/db"
PASSWORD = {"key": "password", "generate": "password"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_change_that_policy_allows_is_done_without_a_question(
    connect: Connect, era: str
) -> None:
    person = Person()
    async with connect(era, person) as client:
        receipt = await call(client, "secrets_write", target="memory://dev/db", keys=[PASSWORD])
    assert (receipt["state"], receipt["channel"], person.asked) == ("done", "policy", [])


async def test_other_changes_wait_and_a_form_asks_once_with_the_words_of_the_plan(
    connect: Connect, era: str
) -> None:
    person = Person()
    async with connect(era, person) as client:
        planned = await call(client, "secrets_write", target=TARGET, keys=[PASSWORD])
        absent = await call(client, "secrets_read", ref=TARGET)
        done = await call(client, "secrets_apply", **agreed(planned))
    assert absent["state"] == "absent"
    assert (done["state"], done["channel"], done["version"]) == ("done", "form", "1")
    (question,) = person.asked
    assert planned["change"] in question
    assert planned["affects"] in question


@pytest.mark.parametrize(
    "person",
    [
        Person("decline", None),
        Person("accept", {"approve": False}),
        Person("accept", {}),
    ],
    ids=["declined", "unticked", "left empty"],
)
async def test_no_is_no_and_uses_the_plan_up(connect: Connect, era: str, person: Person) -> None:
    person.asked.clear()
    async with connect(era, person) as client:
        planned = await call(client, "secrets_write", target=TARGET, keys=[PASSWORD])
        said = await refusal(client, "secrets_apply", **agreed(planned))
        again = await refusal(client, "secrets_apply", **agreed(planned))
        state = await call(client, "secrets_read", ref=TARGET)
    assert "DECLINED" in said
    assert "PLAN_USED" in again
    assert len(person.asked) == 1
    assert state["state"] == "absent"


async def test_a_client_that_forces_its_own_prompt_is_not_asked_a_second_time(
    connect: Connect, era: str
) -> None:
    person = Person()
    async with connect(era, person, client="claude-code/2.1.331") as client:
        planned = await call(client, "secrets_write", target=TARGET, keys=[PASSWORD])
        done = await call(client, "secrets_apply", **agreed(planned))
    assert (done["channel"], person.asked) == ("prompt", [])


@pytest.mark.parametrize(
    "client_name",
    ["claude-code/2.1.197", "claude-code/2.0.300", "claude-code/x", "claude-code-2/9.9.9"],
)
async def test_a_client_that_does_not_force_a_prompt_gets_the_form(
    connect: Connect, era: str, client_name: str
) -> None:
    person = Person()
    async with connect(era, person, client=client_name) as client:
        planned = await call(client, "secrets_write", target=TARGET, keys=[PASSWORD])
        done = await call(client, "secrets_apply", **agreed(planned))
    assert (done["channel"], len(person.asked)) == ("form", 1)


async def test_where_nobody_can_be_asked_the_refusal_names_the_two_ways_on(
    connect: Connect, era: str
) -> None:
    async with connect(era) as client:
        planned = await call(client, "secrets_write", target=TARGET, keys=[PASSWORD])
        said = await refusal(client, "secrets_apply", **agreed(planned))
        state = await call(client, "secrets_read", ref=TARGET)
    assert "APPROVAL_NEEDED" in said
    assert f"secrets apply {planned['plan']}" in said
    assert "standing grant" in said
    assert state["state"] == "absent"


async def test_a_form_that_nobody_answered_leaves_the_plan_to_those_who_can(
    connect: Connect, era: str
) -> None:
    async with connect(era, Person("cancel", None)) as client:
        planned = await call(client, "secrets_write", target=TARGET, keys=[PASSWORD])
        said = await refusal(client, "secrets_apply", **agreed(planned))
        status = await call(client, "secrets_status")
    assert "APPROVAL_NEEDED" in said
    assert f"secrets apply {planned['plan']}" in said
    assert "standing grant" in said
    assert [line.partition(":")[0] for line in status["plans"]] == [planned["plan"]]


@pytest.mark.parametrize("client_name", ["claude-code/2.1.331", "other/1.0.0"])
async def test_a_critical_pattern_is_never_decided_by_a_click(
    connect: Connect, era: str, client_name: str
) -> None:
    person = Person()
    async with connect(era, person, client=client_name) as client:
        planned = await call(client, "secrets_write", target="memory://crown/x", keys=[PASSWORD])
        said = await refusal(client, "secrets_apply", **agreed(planned))
    assert "critical" in said
    assert person.asked == []


@pytest.mark.parametrize("field", ["change", "affects"])
async def test_other_words_than_the_plans_are_refused_before_anybody_is_asked(
    connect: Connect, era: str, field: str
) -> None:
    person = Person()
    async with connect(era, person) as client:
        planned = await call(client, "secrets_write", target=TARGET, keys=[PASSWORD])
        said = await refusal(client, "secrets_apply", **{**agreed(planned), field: "harmless"})
    assert "PLAN_MISMATCH" in said
    assert person.asked == []


async def test_a_replayed_approval_is_refused(connect: Connect, era: str) -> None:
    person = Person()
    async with connect(era, person) as client:
        planned = await call(client, "secrets_write", target=TARGET, keys=[PASSWORD])
        await call(client, "secrets_apply", **agreed(planned))
        again = await refusal(client, "secrets_apply", **agreed(planned))
        state = await call(client, "secrets_read", ref=TARGET)
    assert "PLAN_USED" in again
    assert (len(person.asked), state["version"]) == (1, "1")


async def test_a_plan_whose_target_changed_is_refused(connect: Connect, era: str) -> None:
    async with connect(era, Person()) as client:
        first = await call(client, "secrets_write", target=TARGET, keys=[PASSWORD])
        second = await call(client, "secrets_write", target=TARGET, keys=[PASSWORD])
        await call(client, "secrets_apply", **agreed(first))
        said = await refusal(client, "secrets_apply", **agreed(second))
    assert "PLAN_STALE" in said


async def test_policy_that_denies_is_final(connect: Connect, era: str) -> None:
    async with connect(era, Person()) as client:
        planned = await call(client, "secrets_write", target="memory://kept/a", keys=[PASSWORD])
        await call(client, "secrets_apply", **agreed(planned))
        said = await refusal(client, "secrets_delete", target="memory://kept/a", mode="erase")
    assert "POLICY_DENIED" in said


async def test_nothing_is_generated_before_the_answer(
    connect: Connect, era: str, running: Engine
) -> None:
    """The guard learns of every sealed value, so its meter tells whether one was made."""
    seen: list[int] = []

    class Watching(Person):
        async def __call__(self, context: object, params: ElicitRequestFormParams) -> ElicitResult:
            seen.append(running.guard.metrics().values)
            return await super().__call__(context, params)

    async with connect(era, Watching()) as client:
        planned = await call(client, "secrets_write", target=TARGET, keys=[PASSWORD])
        await call(client, "secrets_apply", **agreed(planned))
    assert seen == [0]
    assert running.guard.metrics().values == 1


async def test_the_journal_calls_a_creation_a_creation(
    connect: Connect, era: str, running: Engine
) -> None:
    async with connect(era) as client:
        await call(client, "secrets_write", target="memory://dev/db", keys=[PASSWORD])
    events = [record.event for record in running.broker.session.journal.records()]
    written = [event for event in events if event.ref == "memory://dev/db"]
    assert [(event.kind.value, event.verb) for event in written if event.plan] == [
        ("planned", "create"),
        ("read", "read"),
        ("decided", "create"),
        ("intent", "create"),
        ("done", "create"),
    ]


async def test_asking_for_another_version_says_which_one_is_described(
    connect: Connect, era: str
) -> None:
    target = "memory://dev/versioned"
    async with connect(era, Person()) as client:
        await call(client, "secrets_write", target=target, keys=[PASSWORD])
        again = await call(client, "secrets_write", target=target, keys=[PASSWORD])
        await call(client, "secrets_apply", **agreed(again))
        older = await call(client, "secrets_read", ref=f"{target}?version=1")
        absent = await call(client, "secrets_read", ref=f"{target}?version=99")
    assert older["version"] == absent["version"] == "2"
    assert "is among `versions`" in older["next_step"]
    assert "no such version" in absent["next_step"]
