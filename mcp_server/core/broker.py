"""The engine behind every tool and every command: plan, decide, agree, do, account for it.

Tools and the command line turn requests into calls here and show the receipts; they hold no
rules. A change goes: ``write``/``delete``/``plan_run`` plan it; where policy or a standing grant
allows it unasked it is done at once, else the receipt carries the plan; ``review`` checks the plan
somebody wants to apply; the caller asks a person by its channel; ``apply`` or ``decline`` ends it.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from mcp_server.core import exits
from mcp_server.core.config import Config, RunProfile
from mcp_server.core.errors import (
    ApprovalNeededError,
    EgressBlockedError,
    JournalError,
    PlanMismatchError,
    PlanStaleError,
    PolicyDeniedError,
    SecretsError,
    TooWeakError,
)
from mcp_server.core.executor import Done, Executor
from mcp_server.core.journal import Event, Kind
from mcp_server.core.model import Act, Verb
from mcp_server.core.planner import Planner
from mcp_server.core.plans import Operation, Plan, PlanStore
from mcp_server.core.policy import Decision, Verdict
from mcp_server.core.ports import Session, Stores
from mcp_server.core.receipts import ChangeReceipt, DescribeReceipt, ListReceipt
from mcp_server.core.refs import Ref
from mcp_server.core.requests import DeleteRequest, RunRequest, WriteRequest
from mcp_server.core.sealed import Sealed
from mcp_server.core.show import approved, carried_out, described, listed, place_of, waiting
from mcp_server.core.sinks import RuntimeFolder

__all__ = ["Broker", "Channel"]

Result = TypeVar("Result")
_MAX_COMPARED = 1024


class Channel(StrEnum):
    """How a change was allowed; standing grants add ``grant:NAME``."""

    POLICY = "policy"
    PROMPT = "prompt"  # the client's forced prompt on secrets_apply
    FORM = "form"  # a yes/no form from secrets_apply
    TERMINAL = "terminal"  # a person at a controlling terminal
    PROFILE = "profile"  # an operator's run profile; the journal says ``profile:NAME``


_STRONG_ENOUGH_FOR_CRITICAL = frozenset({Channel.TERMINAL.value})


@dataclass(frozen=True, slots=True)
class _Ruling:
    """What policy says about an operation, and the channel that follows when it is allowed."""

    verdict: Verdict
    channel: str | None


class Broker:
    """One session's engine.

    Args:
        config: What was configured.
        stores: The stores.
        session: Journal, id, limits.
        plans: Stored plans.
        runtime: The session's runtime folder.
    """

    def __init__(
        self,
        config: Config,
        stores: Stores,
        session: Session,
        plans: PlanStore,
        runtime: RuntimeFolder,
    ) -> None:
        self.config = config
        self.stores = stores
        self.session = session
        self.plans = plans
        self.planner = Planner(config, stores)
        self._executor = Executor(config, self.planner, runtime)
        self._clock = session.clock
        self._key = os.urandom(32)
        self._compared = 0

    # --- looking ------------------------------------------------------------------------

    def read(self, text: str) -> DescribeReceipt:
        """Describe one secret; reads no value."""
        store, ref = self.planner.resolve(text)
        self.planner.permit(ref, Verb.READ)
        return described(store.describe(ref, self._act()), ref, self._clock())

    def list_names(
        self, text: str, *, cursor: str | None = None, limit: int = 100, details: bool = False
    ) -> ListReceipt:
        """One page of names below a prefix."""
        store, prefix = self.planner.resolve_prefix(text)
        self.planner.permit(prefix, Verb.LIST)
        page = store.list_names(
            prefix, self._act(), cursor=place_of(cursor), limit=limit, details=details
        )
        return listed(prefix, page, self._may_describe)

    # --- planning -----------------------------------------------------------------------

    def write(self, request: WriteRequest) -> ChangeReceipt:
        """Plan a change or delivery, and do it where it is allowed unasked."""
        operation, skipped = self.planner.write(request, self._act())
        return replace(self._submit(operation), skipped=skipped[:50])

    def delete(self, request: DeleteRequest) -> ChangeReceipt:
        """Plan a removal or restoration, and do it where it is allowed unasked."""
        return self._submit(self.planner.delete(request, self._act()))

    def plan_run(self, request: RunRequest) -> Plan:
        """Plan a child process. Where policy or a grant allows it unasked, it is approved too."""
        operation = self.planner.run(request, self._act())
        found = self._decide(operation)
        plan = self._store(operation, found.verdict)
        if found.channel is not None:
            self.approve(plan, found.channel)
        return plan

    def profile_for(self, plan: Plan) -> RunProfile | None:
        """The operator's profile that covers this ``run`` plan, if any."""
        operation = plan.operation
        uses = {step.key: Ref.parse(step.origin) for step in operation.steps}
        covering = (each for each in self.config.run if each.covers(operation.command, uses))
        return next(covering, None)

    def waiting(self, plan: Plan) -> ChangeReceipt:
        """The receipt of a plan that nobody allowed yet."""
        return waiting(plan)

    # --- agreeing -----------------------------------------------------------------------

    def review(self, plan_id: str, change: str | None = None, affects: str | None = None) -> Plan:
        """The plan somebody wants to apply, if it still can be and is the one they mean.

        Args:
            plan_id: From a receipt.
            change: Must equal the stored plan's, so that what a prompt showed is the truth.
            affects: The same.

        Raises:
            PlanError: It cannot be applied, or the texts differ.
        """
        plan = self.plans.load(plan_id)
        operation = plan.operation
        if change is not None and (change, affects) != (operation.change, operation.affects):
            raise PlanMismatchError
        return plan

    def allow(self, plan: Plan, channel: str) -> None:
        """Check that this channel may allow this plan, before a person is asked.

        Raises:
            PolicyDeniedError: Nobody may.
            ApprovalNeededError: A critical pattern needs a stronger channel.
        """
        verdict = self._decide(plan.operation).verdict
        if verdict.critical and channel not in _STRONG_ENOUGH_FOR_CRITICAL:
            raise ApprovalNeededError(
                "The operator marked this as critical: only a person at a terminal may allow it.",
                next_step=f"A person runs `secrets apply {plan.id}` in a terminal.",
            )

    def is_critical(self, plan: Plan) -> bool:
        """Whether the operator marked anything that the plan touches as critical."""
        return self.config.policy.decide(self.planner.acts(plan.operation)).critical

    def asks_for_use(self, plan: Plan, names: Collection[str]) -> bool:
        """Whether policy asks about the use of a value that one of these keys is bound to."""
        uses = [
            (Verb.USE, Ref.parse(step.origin).secret)
            for step in plan.operation.steps
            if step.key in names
        ]
        return bool(uses) and self.config.policy.decide(uses).decision is Decision.ASK

    def decline(self, plan: Plan, channel: Channel) -> None:
        """A person said no: the plan is used up."""
        self.plans.claim(plan)
        self._record(Kind.DECIDED, plan, channel.value, code="DECLINED", durable=True)

    def apply(self, plan: Plan, channel: str) -> ChangeReceipt:
        """Do what a person, policy or a grant allowed, unless the target changed since.

        Raises:
            PolicyDeniedError, ApprovalNeededError: As ``allow``.
            PlanStaleError: It did; nothing was done.
            PlanUsedError: Somebody was faster.
        """
        operation = plan.operation
        self.allow(plan, channel)
        act = self._act(plan.id, channel)
        if self.planner.stale(operation, act):
            raise PlanStaleError
        if operation.verb is Verb.RUN:
            self.approve(plan, channel)
            return approved(plan, channel)
        self.plans.claim(plan)
        self._record(Kind.DECIDED, plan, channel, durable=True)
        return self._done(plan, self._carry_out(plan, act, channel), channel)

    def approve(self, plan: Plan, channel: str) -> None:
        """Note that a ``run`` plan was allowed, for the process that will carry it out.

        Raises:
            PolicyDeniedError, ApprovalNeededError: As ``allow``.
        """
        self.allow(plan, channel)
        self._record(Kind.DECIDED, plan, channel, durable=True)
        self.plans.approve(plan)

    def run(self, plan: Plan, start: Callable[[Mapping[str, bytes]], Result]) -> Result:
        """Use an approved ``run`` plan: gather its values and start the child with them.

        Args:
            plan: From ``plan_run`` or ``review``.
            start: Starts the child with these variables and waits; must not keep them.
        """
        if not self.plans.is_approved(plan):
            raise ApprovalNeededError(
                next_step="Call secrets_apply with the plan, or run it in a terminal."
            )
        self._decide(plan.operation)
        act = self._act(plan.id, "approved")
        if self.planner.stale(plan.operation, act):
            raise PlanStaleError
        self.plans.claim(plan)
        with self._journaled(plan, "approved"):
            gathered = self._executor.gather(plan.operation, act)
            return exits.child_environment(gathered.values, start)

    def note_withheld(self) -> None:
        """The guard withheld something that was about to leave: journal that it happened."""
        event = Event(Kind.FAILED, "answer", "-", self.session.id, code=EgressBlockedError.code)
        with suppress(JournalError):
            self.session.journal.record(event, durable=False)

    # --- inside -------------------------------------------------------------------------

    def _submit(self, operation: Operation) -> ChangeReceipt:
        found = self._decide(operation)
        plan = self._store(operation, found.verdict)
        if found.channel is None:
            return self.waiting(plan)
        return self.apply(plan, found.channel)

    def _store(self, operation: Operation, verdict: Verdict) -> Plan:
        plan = self.plans.add(operation, verdict.reason)
        self._record(Kind.PLANNED, plan, None, durable=False)
        return plan

    def _decide(self, operation: Operation) -> _Ruling:
        """What policy says, and the channel where it is allowed unasked.

        Raises:
            PolicyDeniedError: It denies.
        """
        acts = self.planner.acts(operation)
        verdict = self.config.policy.decide(acts)
        if verdict.decision is Decision.DENY:
            raise PolicyDeniedError(f"Policy denies this ({verdict.reason}).")
        if self.planner.asks_for_sources(operation):
            return _Ruling(verdict, None)
        if verdict.decision is Decision.ALLOW:
            return _Ruling(verdict, Channel.POLICY.value)
        return _Ruling(verdict, None if verdict.critical else self._grant(acts))

    def _grant(self, acts: list[tuple[Verb, Ref]]) -> str | None:
        policy = self.config.policy
        grant = policy.grant_for(acts, self._clock(), _user()) if policy.grants else None
        if grant is None:
            return None
        channel = f"grant:{grant.name}"
        events = [record.event for record in self.session.journal.records()]
        allowed = {event.plan for event in events if event.channel == channel}
        failed = {event.plan for event in events if event.kind is Kind.FAILED} & allowed
        return channel if len(failed) < grant.failures else None

    def _may_describe(self, ref: Ref) -> bool:
        decision = self.config.policy.decide([(Verb.READ, ref.secret)]).decision
        return decision is not Decision.DENY

    def _act(self, plan: str | None = None, channel: str | None = None) -> Act:
        return Act(self.session.id, plan, channel)

    def _carry_out(self, plan: Plan, act: Act, channel: str) -> Done:
        """Stores journal what is done to them; a delivery goes to none."""
        operation = plan.operation
        if operation.verb is Verb.DELIVER:
            with self._journaled(plan, channel):
                gathered = self._executor.gather(operation, act)
                return self._executor.carry_out(operation, gathered, act)
        try:
            gathered = self._executor.gather(operation, act)
        except SecretsError as error:
            self._outcome(Kind.FAILED, plan, channel, error.code)
            raise
        return self._executor.carry_out(operation, gathered, act)

    @contextmanager
    def _journaled(self, plan: Plan, channel: str) -> Iterator[None]:
        """Durable intent before values go out, outcome after."""
        self._record(Kind.INTENT, plan, channel, durable=True)
        try:
            yield
        except SecretsError as error:
            self._outcome(Kind.FAILED, plan, channel, error.code)
            raise
        self._outcome(Kind.DONE, plan, channel)

    def _outcome(self, kind: Kind, plan: Plan, channel: str, code: str | None = None) -> None:
        """Journal what became of it; a full disk now must not hide its result."""
        with suppress(JournalError):
            self._record(kind, plan, channel, durable=True, code=code)

    def _record(
        self,
        kind: Kind,
        plan: Plan,
        channel: str | None,
        *,
        durable: bool,
        code: str | None = None,
    ) -> None:
        operation = plan.operation
        event = Event(
            kind,
            operation.verb.value,
            operation.target,
            self.session.id,
            plan.id,
            channel,
            code=code,
        )
        self.session.journal.record(event, durable=durable)

    def _done(self, plan: Plan, done: Done, channel: str) -> ChangeReceipt:
        prints, weak = self._fingerprints(done)
        receipt = carried_out(plan, done, channel, self._clock())
        return replace(receipt, fingerprints=prints, weak=weak)

    def _fingerprints(self, done: Done) -> tuple[dict[str, str], tuple[str, ...]]:
        prints: dict[str, str] = {}
        weak: list[str] = []
        for key, value in done.gathered.values.items():
            if key in done.gathered.public or not self._may_compare(value):
                continue
            try:
                prints[key] = exits.fingerprint(value, self._key)
            except TooWeakError:
                weak.append(key)
        return prints, tuple(weak)

    def _may_compare(self, value: Sealed) -> bool:
        """Whether one more value that may be a guess gets a fingerprint in this run (P1b)."""
        if value.generated_bits is None:
            self._compared += 1
        return value.generated_bits is not None or self._compared <= _MAX_COMPARED


def _user() -> str:
    """Who runs this, by the kernel's word: ``USER`` says what its setter likes."""
    with suppress(KeyError):
        return pwd.getpwuid(os.getuid()).pw_name
    return str(os.getuid())
