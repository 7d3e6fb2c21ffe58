"""Who may do what unasked: deny wins, then ask, then allow, then the defaults.

A rule has verbs and a pattern over the canonical ``scheme://path`` of a reference (``*`` within a
segment, ``**`` across segments; letters count as written, percent signs are decoded) and, when
given, the name of one configured store. A rule about everything below a folder speaks about
listing that folder too. Rules come from
the system policy, the operator's configuration and the repository (which can only deny and ask);
the most severe one that matches holds, so no layer widens another.

Defaults: describing and listing are allowed. Creating is allowed in ``local://`` and using values
of ``local://`` is. Everything else is asked, and so is every change to a production pattern and
every use of a value from one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time
from enum import IntEnum
from functools import lru_cache
from typing import Final

from mcp_server.core.model import Verb
from mcp_server.core.refs import Ref

__all__ = ["Decision", "Grant", "Policy", "Rule", "Verdict", "matches"]

DEFAULT_PRODUCTION: Final = re.compile(
    r"(?:^|[/._-])(?:prod|production|live)(?:[/._-]|$)", re.IGNORECASE
)
_HARMLESS: Final = frozenset({Verb.LIST, Verb.READ})
_LOCAL_DEFAULTS: Final = frozenset({Verb.CREATE, Verb.USE})


class Decision(IntEnum):
    """Ordered by severity: of several decisions the greatest holds."""

    ALLOW = 0
    ASK = 1
    DENY = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a policy; empty ``verbs`` means all."""

    effect: Decision
    pattern: str
    verbs: frozenset[Verb] = frozenset()
    store: str | None = None

    def matches(self, verb: Verb, ref: Ref) -> bool:
        """Whether this rule speaks about ``verb`` on ``ref``."""
        if self.verbs and verb not in self.verbs:
            return False
        if self.store is not None and self.store != ref.store:
            return False
        below = replace(ref, path=f"{ref.path}/")
        return matches(self.pattern, ref) or (verb is Verb.LIST and matches(self.pattern, below))


@dataclass(frozen=True, slots=True)
class Grant:
    """A standing permission for changes that would be asked, given by the operator.

    Attributes:
        name: Shown in the journal as ``grant:NAME``.
        rule: What it covers.
        start: Time of day, UTC, from which it holds; with ``end`` before ``start`` over midnight.
        end: Time of day until which it holds.
        expires: The day after which it is void.
        failures: Failed changes under it after which it is void.
        identity: Name of the operating-system user it is for.
    """

    name: str
    rule: Rule
    start: time = time.min
    end: time = time.max
    expires: datetime | None = None
    failures: int = 3
    identity: str | None = None

    def covers(self, verb: Verb, ref: Ref, now: datetime, identity: str) -> bool:
        """Whether it allows ``verb`` on ``ref`` at ``now`` for ``identity``."""
        return (
            self.rule.matches(verb, ref)
            and (self.identity is None or self.identity == identity)
            and (self.expires is None or now < self.expires)
            and self._within_hours(now.astimezone(UTC).time())
        )

    def _within_hours(self, moment: time) -> bool:
        if self.start <= self.end:
            return self.start <= moment <= self.end
        return moment >= self.start or moment <= self.end


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision and the rule behind it, in words safe to show."""

    decision: Decision
    reason: str
    critical: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules in force.

    Attributes:
        rules: Of all layers; their order does not matter.
        production: Patterns never changed unasked; empty means the built-in one, which looks for
            ``prod``, ``production`` or ``live`` as a word of the path or of the store's name.
        critical: Patterns that need the strongest channel.
        grants: Standing grants.
        defaults: Which store a scheme means without ``?store=``, so that a rule about a store
            holds however the reference names it.
    """

    rules: tuple[Rule, ...] = ()
    production: tuple[str, ...] = ()
    critical: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)

    def decide(self, acts: Iterable[tuple[Verb, Ref]]) -> Verdict:
        """One verdict over everything that an operation does: the most severe one."""
        verdicts = [self._decide_one(verb, ref) for verb, ref in acts]
        worst = max(verdicts, key=lambda verdict: verdict.decision)
        critical = any(verdict.critical for verdict in verdicts)
        return Verdict(worst.decision, worst.reason, critical)

    def grant_for(
        self, acts: Iterable[tuple[Verb, Ref]], now: datetime, identity: str
    ) -> Grant | None:
        """The grant that covers every act that would be asked."""
        asked = [
            (verb, self._placed(ref))
            for verb, ref in acts
            if self._decide_one(verb, ref).decision is Decision.ASK
        ]
        for grant in self.grants:
            if asked and all(grant.covers(verb, ref, now, identity) for verb, ref in asked):
                return grant
        return None

    def is_production(self, ref: Ref) -> bool:
        """Whether the reference lies in a production pattern."""
        if not self.production:
            place = f"{self._placed(ref).store or ''}/{ref.path}"
            return DEFAULT_PRODUCTION.search(place) is not None
        return any(matches(pattern, ref) for pattern in self.production)

    def _placed(self, ref: Ref) -> Ref:
        return replace(ref, store=ref.store or self.defaults.get(ref.scheme))

    def _decide_one(self, verb: Verb, ref: Ref) -> Verdict:
        critical = verb not in _HARMLESS and any(matches(p, ref) for p in self.critical)
        rule = self._strongest(verb, ref)
        if rule is not None and rule.effect is Decision.DENY:
            return Verdict(Decision.DENY, f"{verb.value}: denied by {rule.pattern}", critical)
        if verb in _HARMLESS:
            return Verdict(Decision.ALLOW, f"{verb.value}: shows no values")
        if critical or self.is_production(ref):
            return Verdict(Decision.ASK, f"{verb.value}: production or critical", critical)
        if rule is not None:
            return Verdict(rule.effect, f"{verb.value}: by rule {rule.pattern}")
        if ref.scheme == "local" and verb in _LOCAL_DEFAULTS:
            return Verdict(Decision.ALLOW, f"{verb.value}: allowed in local:// by default")
        return Verdict(Decision.ASK, f"{verb.value}: asked by default")

    def _strongest(self, verb: Verb, ref: Ref) -> Rule | None:
        """The most severe rule that speaks: a layer can narrow another, never widen it."""
        placed = self._placed(ref)
        found = [rule for rule in self.rules if rule.matches(verb, placed)]
        return max(found, key=lambda rule: rule.effect, default=None)


def matches(pattern: str, ref: Ref) -> bool:
    """Whether a ``scheme://path`` pattern covers the reference."""
    return _compiled(pattern).fullmatch(f"{ref.scheme}://{ref.path}") is not None


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    """A repository writes patterns too, so none may take longer than the square of the path.

    What stands between two wildcards is looked for once, from the left, and never again: an
    earlier place of it only leaves more room for the rest.
    """
    head, *rest = pattern.split("**")
    if not rest:
        return re.compile(_to_the_end(head), re.DOTALL)
    inner = "".join(f"(?>.*?{_from_the_left(part)})" for part in rest[:-1])
    return re.compile(f"{_from_the_left(head)}{inner}.*{_to_the_end(rest[-1])}", re.DOTALL)


def _from_the_left(part: str) -> str:
    first, *others = map(re.escape, part.split("*"))
    return first + "".join(f"(?>[^/]*?{piece})" for piece in others)


def _to_the_end(part: str) -> str:
    before, star, last = part.rpartition("*")
    return f"{_from_the_left(before)}[^/]*{re.escape(last)}" if star else re.escape(last)
