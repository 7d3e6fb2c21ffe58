"""Policy: the most severe rule holds, production and critical are never unasked, grants end."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.core.broker import Channel
from mcp_server.core.errors import (
    ApprovalNeededError,
    NotFoundError,
    PolicyDeniedError,
    SecretsError,
    StoreTimeoutError,
)
from mcp_server.core.journal import Kind
from mcp_server.core.model import Verb
from mcp_server.core.policy import Decision, Grant, Policy, Rule, matches
from mcp_server.core.refs import Ref
from mcp_server.core.requests import KeyRequest
from tests.unit.core.rig import CANARY, SCENES, Rig, Scene, password

Make = Callable[[str], Rig]
EVERYTHING = frozenset(Verb)
ME = pwd.getpwuid(os.getuid()).pw_name


def decision(policy: Policy, verb: Verb, text: str) -> Decision:
    return policy.decide([(verb, Ref.parse(text))]).decision


# --- patterns ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "text", "covers"),
    [
        ("**", "vault://secret/a/b", True),
        ("vault://**", "vault://secret/a/b", True),
        ("vault://**", "local://secret/a", False),
        ("*://secret/**", "local://secret/a", True),
        ("vault://secret/*", "vault://secret/a", True),
        ("vault://secret/*", "vault://secret/a/b", False),
        ("vault://secret/**", "vault://secret/a/b", True),
        ("vault://secret/**", "vault://secrets/a", False),
        ("vault://secret/a", "vault://secret/a", True),
        ("vault://secret/a", "vault://secret/ab", False),
        ("vault://secret/a", "vault://secret/a/b", False),
        ("vault://secret/a", "vault://secret/A", False),
        ("vault://Secret/**", "vault://secret/a", False),
        ("vault://secret/*/db", "vault://secret/x/db", True),
        ("vault://secret/*/db", "vault://secret/x/y/db", False),
        ("vault://secret/**/db", "vault://secret/x/y/db", True),
        ("vault://secret/a.b", "vault://secret/a.b", True),
        ("vault://secret/a.b", "vault://secret/axb", False),
        ("vault://secret/(x|y)", "vault://secret/x", False),
        ("vault://secret/[ab]", "vault://secret/a", False),
        ("vault://secret/a b", "vault://secret/a%20b", True),
        ("vault://secret/ü*", "vault://secret/%C3%BCber", True),
        ("vault://secret/a?version=1", "vault://secret/a", False),
        ("vault://secret/***", "vault://secret/a/b", True),
    ],
)
def test_a_pattern_covers_what_it_says_and_nothing_else(
    pattern: str,
    text: str,
    covers: bool,  # noqa: FBT001 - a table
) -> None:
    assert matches(pattern, Ref.parse(text)) is covers


@given(st.from_regex(r"[a-z]{1,4}(/[a-zA-Z0-9._-]{1,6}){0,3}", fullmatch=True))
def test_every_reference_is_covered_by_itself_and_by_everything(path: str) -> None:
    if {".", ".."}.intersection(path.split("/")):
        return
    ref = Ref.parse(f"vault://{path}")
    assert matches(f"vault://{path}", ref)
    assert matches("vault://**", ref)
    assert not matches(f"vault://{path}/**", ref)
    assert not matches(f"local://{path}", ref)


@given(st.text("ab/*", max_size=10), st.text("ab/", max_size=8))
def test_a_pattern_means_what_its_wildcards_mean(pattern: str, path: str) -> None:
    wild = {"**": ".*", "*": "[^/]*"}
    parts = re.split(r"(\*\*|\*)", pattern)
    plain = re.compile("".join(wild.get(part, re.escape(part)) for part in parts), re.DOTALL)
    expected = plain.fullmatch(f"x://{path}") is not None
    assert matches(pattern, Ref("x", path)) is expected
    assert matches(f"x://{pattern}", Ref("x", path)) is (
        re.compile("x://" + plain.pattern, re.DOTALL).fullmatch(f"x://{path}") is not None
    )


@pytest.mark.parametrize("wild", ["**a", "*a", "*a**a", "**/*a"])
def test_no_pattern_of_a_repository_can_stall(wild: str) -> None:
    """With plain backtracking this takes longer than the test run may."""
    assert not matches("x://" + wild * 40 + "b", Ref("x", "a/a" * 300))


def test_key_version_and_store_of_a_reference_change_nothing_about_its_pattern() -> None:
    for end in ("", "#password", "?version=3", "?store=other", "?version=3&store=x#/a/b"):
        ref = Ref.parse(f"vault://secret/a{end}").secret
        assert matches("vault://secret/a", ref)


# --- the most severe rule ----------------------------------------------------------------------

effects = st.sampled_from(Decision)
patterns = st.sampled_from(["**", "vault://**", "vault://secret/**", "vault://secret/a", "x://y"])
verbs = st.frozensets(st.sampled_from(Verb))
rules = st.lists(st.builds(Rule, effects, patterns, verbs), max_size=6).map(tuple)
targets = st.sampled_from(["vault://secret/a", "vault://secret/prod/a", "local://a", "vault://b"])
one_verb = st.sampled_from(Verb)


@given(rules, one_verb, targets)
def test_a_denial_wins_wherever_it_stands(rules: tuple[Rule, ...], verb: Verb, text: str) -> None:
    deny = Rule(Decision.DENY, "**")
    for at in range(len(rules) + 1):
        policy = Policy((*rules[:at], deny, *rules[at:]), critical=("**",))
        assert decision(policy, verb, text) is Decision.DENY


@given(rules, rules, one_verb, targets)
def test_more_asking_and_denying_never_widens(
    rules: tuple[Rule, ...], more: tuple[Rule, ...], verb: Verb, text: str
) -> None:
    """What a repository adds is of this kind only."""
    narrowing = tuple(rule for rule in more if rule.effect is not Decision.ALLOW)
    assert decision(Policy((*rules, *narrowing)), verb, text) >= decision(Policy(rules), verb, text)


@given(rules, one_verb, targets, st.randoms())
def test_the_order_of_rules_does_not_matter(
    rules: tuple[Rule, ...], verb: Verb, text: str, chance: object
) -> None:
    shuffled = list(rules)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random
    assert decision(Policy(rules), verb, text) is decision(Policy(tuple(shuffled)), verb, text)


@given(rules, st.lists(st.tuples(one_verb, targets), min_size=1, max_size=4))
def test_an_operation_is_judged_by_its_worst_part(
    rules: tuple[Rule, ...], acts: list[tuple[Verb, str]]
) -> None:
    policy = Policy(rules)
    parsed = [(verb, Ref.parse(text)) for verb, text in acts]
    assert policy.decide(parsed).decision is max(decision(policy, v, t) for v, t in acts)


# --- defaults ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["local", "vault", "memory"])
@pytest.mark.parametrize("verb", Verb)
def test_unasked_by_default_is_only_looking_and_what_local_allows(scheme: str, verb: Verb) -> None:
    harmless = verb in {Verb.LIST, Verb.READ}
    local = scheme == "local" and verb in {Verb.CREATE, Verb.USE}
    expected = Decision.ALLOW if harmless or local else Decision.ASK
    assert decision(Policy(), verb, f"{scheme}://app/db") is expected


PRODUCTION = ["prod/db", "app/prod", "app/PROD/db", "app-prod", "x.production.y", "live_db", "live"]
OTHERS = ["product/db", "produce", "alive", "delivery", "nonprod/db", "reproduction", "app/db"]


@pytest.mark.parametrize("path", PRODUCTION)
@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.USE, Verb.UPDATE])
def test_production_is_asked_even_where_a_rule_allows(path: str, verb: Verb) -> None:
    allowing = Policy((Rule(Decision.ALLOW, "**"),))
    assert decision(allowing, verb, f"local://{path}") is Decision.ASK
    assert decision(Policy(), verb, f"local://{path}") is Decision.ASK


@pytest.mark.parametrize("path", OTHERS)
def test_what_only_looks_like_production_is_not(path: str) -> None:
    assert decision(Policy(), Verb.CREATE, f"local://{path}") is Decision.ALLOW


@pytest.mark.parametrize("text", ["vault://dev/a?store=eu-prod", "vault://dev/a"])
def test_a_store_named_production_is_production(text: str) -> None:
    policy = Policy((Rule(Decision.ALLOW, "**"),), defaults={"vault": "prod"})
    assert decision(policy, Verb.UPDATE, text) is Decision.ASK
    assert decision(policy, Verb.UPDATE, "vault://dev/a?store=test") is Decision.ALLOW


def test_patterns_of_the_operator_replace_the_built_in_production() -> None:
    policy = Policy((Rule(Decision.ALLOW, "**"),), production=("vault://crown/**",))
    assert decision(policy, Verb.UPDATE, "vault://crown/a") is Decision.ASK
    assert decision(policy, Verb.UPDATE, "vault://prod/a") is Decision.ALLOW


def test_critical_is_asked_and_said_even_where_a_rule_allows() -> None:
    policy = Policy((Rule(Decision.ALLOW, "**"),), critical=("vault://crown/**",))
    for verb in EVERYTHING - {Verb.LIST, Verb.READ}:
        verdict = policy.decide([(verb, Ref.parse("vault://crown/a"))])
        assert (verdict.decision, verdict.critical) == (Decision.ASK, True)
    looking = policy.decide([(Verb.READ, Ref.parse("vault://crown/a"))])
    assert (looking.decision, looking.critical) == (Decision.ALLOW, False)


def test_a_critical_source_makes_the_whole_operation_critical() -> None:
    policy = Policy((Rule(Decision.ALLOW, "**"),), critical=("vault://crown/**",))
    acts = [(Verb.CREATE, Ref.parse("local://a")), (Verb.USE, Ref.parse("vault://crown/a"))]
    assert policy.decide(acts).critical


# --- stores ------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["vault://secret/a", "vault://secret/a?store=team"])
def test_a_rule_about_the_default_store_holds_however_it_is_named(text: str) -> None:
    deny = Rule(Decision.DENY, "vault://**", store="team")
    policy = Policy((deny,), defaults={"vault": "team"})
    assert decision(policy, Verb.UPDATE, text) is Decision.DENY
    assert decision(policy, Verb.UPDATE, "vault://secret/a?store=x") is Decision.ASK


def test_a_rule_that_allows_one_store_allows_no_other() -> None:
    allow = Rule(Decision.ALLOW, "vault://**", store="dev")
    policy = Policy((allow,), defaults={"vault": "team"})
    assert decision(policy, Verb.UPDATE, "vault://secret/a?store=dev") is Decision.ALLOW
    assert decision(policy, Verb.UPDATE, "vault://secret/a") is Decision.ASK


# --- listing -----------------------------------------------------------------------------------

DENY_BELOW = 'policy: {rules: [{effect: deny, match: "memory://kept/**"}]}'


@pytest.mark.parametrize("prefix", ["memory://kept", "memory://kept/", "memory://kept/a"])
def test_a_denial_of_everything_below_a_folder_denies_listing_it(make: Make, prefix: str) -> None:
    rig = make(DENY_BELOW)
    rig.put("kept/a/b", x="1")
    with pytest.raises(PolicyDeniedError):
        rig.broker.list_names(prefix)
    assert [entry.name for entry in rig.broker.list_names("memory://").secrets] == ["kept"]


def test_a_listing_tells_only_the_name_of_what_may_not_be_read(make: Make) -> None:
    rig = make('policy: {rules: [{effect: deny, verbs: [read], match: "memory://app/kept"}]}')
    rig.put("app/kept", x="1")
    rig.put("app/open", x="1")
    page = rig.broker.list_names("memory://app", details=True)
    told = {entry.name: entry.version for entry in page.secrets}
    assert told == {"kept": None, "open": "1"}


def test_a_denial_is_said_before_the_store_is_asked(make: Make) -> None:
    """Otherwise the error would tell whether there is something."""
    rig = make(DENY_BELOW)
    rig.put("kept/here", x="1")
    attempts: list[Callable[[str], object]] = [
        rig.broker.read,
        lambda ref: rig.write(ref, password()),
        lambda ref: rig.delete(ref, "erase"),
        lambda ref: rig.write("memory://a", KeyRequest("x", copy=f"{ref}#x")),
        lambda ref: rig.write("memory://a", KeyRequest("x", copy=f"{ref}#y")),
        lambda ref: rig.write("memory://a", copy_from=ref),
        lambda ref: rig.plan_run(A=f"{ref}#x"),
    ]
    for attempt in attempts:
        said = set()
        for name in ("here", "absent"):
            with pytest.raises(PolicyDeniedError) as refused:
                attempt(f"memory://kept/{name}")
            said.add(str(refused.value))
        assert len(said) == 1
    touched = [e for e in rig.events() if "kept" in e.ref and e.session != "test"]
    assert touched == []


# --- grants ------------------------------------------------------------------------------------

NOON = datetime(2030, 5, 6, 12, tzinfo=UTC)
REF = Ref.parse("vault://secret/ci/a")
GRANT = Grant("g", Rule(Decision.ALLOW, "vault://secret/ci/**", frozenset({Verb.UPDATE})))


def covers(grant: Grant, *, verb: Verb = Verb.UPDATE, ref: Ref = REF, at: datetime = NOON) -> bool:
    return grant.covers(verb, ref, at, "ci")


def test_a_grant_covers_its_verbs_and_pattern_only() -> None:
    assert covers(GRANT)
    assert not covers(GRANT, verb=Verb.DELETE)
    assert not covers(GRANT, ref=Ref.parse("vault://secret/other"))


@pytest.mark.parametrize(
    ("start", "end", "inside", "outside"),
    [
        (time(1), time(5), [time(1), time(3), time(5)], [time(0, 59), time(5, 1), time(12)]),
        (time(22), time(4), [time(22), time(23, 59), time(0), time(4)], [time(12), time(4, 1)]),
    ],
    ids=["by day", "over midnight"],
)
def test_a_grant_holds_in_its_hours(
    start: time, end: time, inside: list[time], outside: list[time]
) -> None:
    grant = Grant("g", GRANT.rule, start, end)
    for moment in inside:
        assert covers(grant, at=datetime.combine(NOON.date(), moment, UTC)), moment
    for moment in outside:
        assert not covers(grant, at=datetime.combine(NOON.date(), moment, UTC)), moment


@given(st.times(), st.times(), st.times())
def test_the_hours_outside_are_those_of_the_other_way_round(
    start: time, end: time, moment: time
) -> None:
    at = datetime.combine(NOON.date(), moment, UTC)
    within = covers(Grant("g", GRANT.rule, start, end), at=at)
    turned = covers(Grant("g", GRANT.rule, end, start), at=at)
    if start != end:
        assert within or turned
        assert (within and turned) == (moment in {start, end})


def test_hours_are_of_universal_time() -> None:
    grant = Grant("g", GRANT.rule, time(1), time(5))
    east = timezone(timedelta(hours=9))
    assert covers(grant, at=datetime(2030, 5, 6, 11, tzinfo=east))
    assert not covers(grant, at=datetime(2030, 5, 6, 3, tzinfo=east))


def test_a_grant_ends() -> None:
    grant = Grant("g", GRANT.rule, expires=NOON)
    assert covers(grant, at=NOON - timedelta(microseconds=1))
    assert not covers(grant, at=NOON)


def test_a_grant_is_for_one_user() -> None:
    grant = Grant("g", GRANT.rule, identity="ci")
    assert grant.covers(Verb.UPDATE, REF, NOON, "ci")
    assert not grant.covers(Verb.UPDATE, REF, NOON, "root")


GRANTED = f"""
grants:
  - {{name: nightly, verbs: [create, update, use, run], match: "**", expires: 2099-01-01,
     failures: 2, identity: {ME}}}
"""


def test_a_grant_lets_a_change_through_and_the_journal_says_by_which(make: Make) -> None:
    rig = make(GRANTED)
    receipt = rig.write("memory://app/db", password())
    assert (receipt.state, receipt.channel) == ("done", "grant:nightly")
    assert {e.channel for e in rig.events() if e.plan} == {None, "grant:nightly"}


def test_a_grant_covers_every_part_of_an_operation_or_none(make: Make) -> None:
    rig = make(GRANTED.replace(", use", ""))
    rig.put("app/source", a=CANARY)
    assert rig.write("memory://x", password()).state == "done"
    copy = KeyRequest("a", copy="memory://app/source#a")
    assert rig.write("memory://y", copy).state == "planned"


def test_the_user_of_a_grant_is_who_runs_and_not_what_a_variable_says(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "ci")
    rig = make(GRANTED.replace(ME, "ci"))
    assert rig.write("memory://app/db", password()).state == "planned"


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())
def test_a_grant_never_covers_critical(make: Make, scene: Scene) -> None:
    everything = ", ".join(Verb)
    rig = make(
        f'policy: {{critical: ["memory://**", "runtime://**"]}}\n{GRANTED}'.replace(
            "create, update, use, run", everything
        )
    )
    scene.before(rig)
    before = rig.holds()
    plan = scene.plan(rig)
    assert rig.broker.is_critical(plan)
    for channel in (Channel.FORM, Channel.PROMPT, Channel.POLICY, "grant:nightly", "profile:x"):
        with pytest.raises(ApprovalNeededError, match="critical"):
            rig.broker.allow(plan, channel)
        with pytest.raises(ApprovalNeededError):
            rig.broker.apply(plan, channel)
    assert rig.holds() == before
    rig.broker.apply(plan, Channel.TERMINAL)


def test_a_grant_of_one_store_is_for_no_other(make: Make) -> None:
    rig = make(GRANTED.replace('match: "**"', 'match: "memory://**", store: other'))
    assert rig.write("memory://app/db", password()).state == "planned"
    rig = make(GRANTED.replace('match: "**"', 'match: "memory://**", store: mem'))
    assert rig.write("memory://app/db", password()).state == "done"


def _fails_in_the_store(rig: Rig) -> None:
    rig.memory._put = lambda *_: (_ for _ in ()).throw(StoreTimeoutError())  # type: ignore[method-assign]  # the fault
    with pytest.raises(StoreTimeoutError):
        rig.write("memory://app/db", password())
    del rig.memory._put


def _fails_at_its_source(rig: Rig) -> None:
    rig.put("app/source", a=CANARY)
    with pytest.raises(NotFoundError):
        rig.write("memory://app/db", KeyRequest("a", copy="memory://app/source?version=9#a"))


def _fails_to_start(rig: Rig) -> None:
    rig.put("app/source", a=CANARY)
    plan = rig.plan_run(A="memory://app/source?version=9#a")
    with pytest.raises(NotFoundError):
        rig.broker.run(plan, rig.start)


@pytest.mark.parametrize("fail", [_fails_in_the_store, _fails_at_its_source, _fails_to_start])
def test_failures_use_a_grant_up_across_sessions(make: Make, fail: Callable[[Rig], None]) -> None:
    fail(make(GRANTED))
    rig = make(GRANTED)
    assert rig.write("memory://one", password()).state == "done"
    fail(make(GRANTED))
    rig = make(GRANTED)
    assert rig.write("memory://two", password()).state == "planned"
    assert sum(event.kind is Kind.FAILED for event in rig.events()) >= 2


def test_failures_under_another_channel_do_not_use_a_grant_up(make: Make) -> None:
    rig = make("")
    for _ in range(3):
        rig.put("app/source", a=CANARY)
        copy = KeyRequest("a", copy="memory://app/source?version=9#a")
        with pytest.raises(SecretsError):
            rig.agree(rig.write("memory://app/db", copy))
    assert make(GRANTED).write("memory://one", password()).state == "done"


@pytest.mark.parametrize("start", ["", GRANTED])
def test_a_variable_that_the_operator_did_not_list_is_asked_about(
    make: Make, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    """Neither an allow rule nor a grant lets it through."""
    monkeypatch.setenv("DB_PASSWORD", CANARY)
    allow = 'policy: {rules: [{effect: allow, match: "**"}]}\n'
    key = KeyRequest("a", env="DB_PASSWORD")
    assert make(allow + start).write("memory://a", key).state == "planned"
    listed = make(allow + start + "sources: {variables: [DB_PASSWORD]}")
    assert listed.write("memory://a", key).state == "done"


def test_copying_out_of_production_is_asked(make: Make) -> None:
    rig = make('policy: {rules: [{effect: allow, match: "**"}]}')
    rig.put("prod/db", a=CANARY)
    rig.put("dev/db", a=CANARY)
    from_prod = KeyRequest("a", copy="memory://prod/db#a")
    from_dev = KeyRequest("a", copy="memory://dev/db#a")
    assert rig.write("local://x", from_prod).state == "planned"
    assert rig.write("local://x", from_dev).state == "done"
    assert rig.write("local://y", copy_from="memory://prod/db").state == "planned"
