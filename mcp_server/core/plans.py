"""Plans: what will be done, exactly, before it is done.

An ``Operation`` is fully resolved: canonical references, the settings of the stores it touches,
recipes instead of values, and the revision of everything it saw. Its digest covers all of it. A
stored plan holds no value and proves nothing by itself: whoever applies it asks again from the
operation's own words, so an edited plan file is either refused (the digest) or shows what it does.

A plan works once. Applying it claims it by creating ``ID.used`` exclusively, which also decides
between two processes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from mcp_server.core import durable
from mcp_server.core.errors import (
    JournalError,
    PlanError,
    PlanExpiredError,
    PlanMismatchError,
    PlanNotFoundError,
    PlanUsedError,
)
from mcp_server.core.generate import KEY_PAIRS, PUBLIC_SUFFIX
from mcp_server.core.model import Metadata, Verb
from mcp_server.core.ports import Clock

__all__ = ["Operation", "Plan", "PlanStore", "Seen", "Step", "quoted"]

LIFETIME: Final = timedelta(minutes=30)
_KEPT: Final = timedelta(days=7)
_ID = re.compile(r"p-[0-9a-f]{16}")
_UNAMBIGUOUS: Final = re.compile(r"(?! )[^;,=\"()]+(?<! )")
_KEY_BYTES: Final = 32
_NEVER_PLANNED: Final = frozenset({Verb.LIST, Verb.READ, Verb.USE})


@dataclass(frozen=True, slots=True)
class Step:
    """Where the value of one key comes from.

    Attributes:
        key: The key it is written to.
        kind: ``generate``, ``copy``, ``file`` or ``env``.
        origin: Recipe, canonical reference, absolute path, or variable name.
        part: Length of the recipe, or ``FORMAT:KEY`` inside the file.
    """

    key: str
    kind: str
    origin: str
    part: str = ""

    @property
    def words(self) -> str:
        """The source in words; safe to show."""
        if self.kind == "generate":
            half = (
                f", public half in {quoted(self.key + PUBLIC_SUFFIX)}"
                if self.origin in KEY_PAIRS
                else ""
            )
            return f"generated {self.origin}" + (f" of {self.part}" if self.part else "") + half
        if self.kind == "copy":
            return f"copy of {self.origin}"
        if self.kind == "env":
            return f"variable {self.origin}"
        return f"file {quoted(self.origin)} ({quoted(self.part)})"


@dataclass(frozen=True, slots=True)
class Seen:
    """The revision of one thing the plan looked at; ``None`` where there is nothing to compare."""

    what: str
    revision: str | None


@dataclass(frozen=True, slots=True)
class Operation:
    """One change or delivery, fully resolved. Every field is safe to show.

    Attributes:
        verb: What is done.
        target: Canonical reference, or the name of the sink.
        steps: Values to write, by key, in order.
        remove: Keys to drop.
        replace: Other keys of the target go.
        metadata: Declared metadata to set; ``None`` leaves it.
        versions: Versions that a removal names.
        command: The command line of ``run``, with an absolute executable.
        folder: Where ``run`` runs it, absolute.
        seen: Revisions of the target and the sources, and of the stores' settings.
        version: The target's current version when planned.
        expected: Its compare-and-set token then.
        notes: Plain sentences about what it affects.
    """

    verb: Verb
    target: str
    steps: tuple[Step, ...] = ()
    remove: tuple[str, ...] = ()
    replace: bool = False
    metadata: Metadata | None = None
    versions: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    folder: str | None = None
    seen: tuple[Seen, ...] = ()
    version: str | None = None
    expected: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def change(self) -> str:
        """One line: what is done, in names and versions."""
        parts = [f"{self.verb.value} {self.target}"]
        if self.command:
            parts.append("command " + json.dumps(list(self.command)))
        if self.folder:
            parts.append("in folder " + json.dumps(self.folder))
        if self.versions:
            parts.append("versions " + ", ".join(map(quoted, self.versions)))
        parts += [f"{quoted(step.key)} = {step.words}" for step in self.steps]
        parts += [f"drop {quoted(key)}" for key in self.remove]
        if self.replace:
            parts.append("drop all other keys")
        return "; ".join(parts + self.metadata_words)

    @property
    def affects(self) -> str:
        """One line: what depends on it, and what cannot be undone."""
        if self.verb in {Verb.RUN, Verb.DELIVER}:
            return "; ".join(self.notes)
        state = f"now version {self.version}" if self.version else "does not exist yet"
        return "; ".join((state, *self.notes))

    @property
    def metadata_words(self) -> list[str]:
        """Declared metadata that it sets."""
        if self.metadata is None:
            return []
        named = {"owner": self.metadata.owner, "schedule": self.metadata.schedule}
        words = [f"{name} {quoted(value)}" for name, value in named.items() if value]
        consumers = ", ".join(map(quoted, self.metadata.consumers))
        return [*words, f"consumers {consumers}"] if consumers else words

    @property
    def digest(self) -> str:
        """SHA-256 over every field, in canonical JSON."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Plan:
    """A stored operation with its id and expiry."""

    id: str
    operation: Operation
    expires: datetime
    reason: str = field(default="", compare=False)


class PlanStore:
    """Plans in files of the state folder, one each, mode 0600.

    Args:
        folder: Created with mode 0700 when first needed.
        clock: The time.
        lifetime: How long a plan can be applied.
    """

    def __init__(self, folder: Path, clock: Clock, lifetime: timedelta = LIFETIME) -> None:
        self._folder = folder
        self._clock = clock
        self._lifetime = lifetime

    def add(self, operation: Operation, reason: str) -> Plan:
        """Store an operation under a new id."""
        plan = Plan(f"p-{secrets.token_hex(8)}", operation, self._clock() + self._lifetime, reason)
        body = {
            "expires": plan.expires.isoformat(),
            "reason": reason,
            "digest": _seal_digest(plan),
            "operation": asdict(operation),
        }
        try:
            durable.make_folder(self._folder)
            self._sweep()
            durable.create(self._folder / f"{plan.id}.json", json.dumps(body).encode())
        except OSError:
            raise JournalError("The plan cannot be stored; nothing was done.") from None
        return plan

    def load(self, plan_id: str) -> Plan:
        """The plan, if it can still be applied.

        Raises:
            PlanNotFoundError, PlanUsedError, PlanExpiredError, PlanMismatchError: It cannot.
        """
        path = self._path(plan_id)
        try:
            body = json.loads(path.read_bytes())
            plan = _plan(plan_id, body)
        except FileNotFoundError:
            raise PlanNotFoundError from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise PlanMismatchError("The plan file is damaged; nothing was done.") from None
        if body.get("digest") != _seal_digest(plan):
            raise PlanMismatchError("The plan file was altered; nothing was done.")
        if path.with_suffix(".used").exists():
            raise PlanUsedError
        if self._clock() >= plan.expires:
            raise PlanExpiredError
        return plan

    def claim(self, plan: Plan) -> None:
        """Use the plan up; exactly one caller succeeds.

        Raises:
            PlanUsedError: Somebody did before.
        """
        try:
            durable.create(self._path(plan.id).with_suffix(".used"), b"")
        except FileExistsError:
            raise PlanUsedError from None
        except OSError:
            raise JournalError from None

    def approve(self, plan: Plan) -> None:
        """Note that a person allowed a ``run`` plan, for the process that will carry it out."""
        try:
            durable.create(self._path(plan.id).with_suffix(".approved"), self._mark(plan))
        except FileExistsError:
            raise PlanUsedError from None
        except OSError:
            raise JournalError from None

    def is_approved(self, plan: Plan) -> bool:
        """Whether ``approve`` was called for exactly this plan by somebody with the state key."""
        try:
            mark = self._path(plan.id).with_suffix(".approved").read_bytes()
        except OSError:
            return False
        return hmac.compare_digest(mark, self._mark(plan))

    def pending(self) -> list[Plan]:
        """Plans that can be applied now, oldest first."""
        found = []
        for path in self._folder.glob("p-*.json"):
            with suppress(PlanError):
                found.append(self.load(path.stem))
        return sorted(found, key=lambda plan: plan.expires)

    def _path(self, plan_id: str) -> Path:
        if not _ID.fullmatch(plan_id):
            raise PlanNotFoundError("A plan id looks like p-0123456789abcdef.")
        return self._folder / f"{plan_id}.json"

    def _mark(self, plan: Plan) -> bytes:
        return hmac.new(self._key(), _seal_digest(plan).encode(), hashlib.sha256).digest()

    def _key(self) -> bytes:
        """A key of this user's state folder: a mark cannot be written without reading it.

        Raises:
            JournalError: There is none and none can be made.
        """
        path = self._folder / "approval.key"
        try:
            if not path.exists():
                with suppress(FileExistsError):
                    durable.create(path, secrets.token_bytes(_KEY_BYTES))
            key = path.read_bytes()
        except OSError:
            raise JournalError from None
        if len(key) != _KEY_BYTES:
            raise JournalError("The key of approvals is damaged; remove it and approve again.")
        return key

    def _sweep(self) -> None:
        """Forget plans that ended a week ago; their journal entries stay."""
        oldest = (self._clock() - _KEPT).timestamp()
        for path in (*self._folder.glob("p-*.*"), *self._folder.glob(".p-*")):
            with suppress(FileNotFoundError):  # another process sweeps too
                if path.stat().st_mtime < oldest:
                    path.unlink()


def _seal_digest(plan: Plan) -> str:
    text = f"{plan.id}\n{plan.expires.isoformat()}\n{plan.operation.digest}\n{plan.reason}"
    return hashlib.sha256(text.encode()).hexdigest()


def quoted(text: str) -> str:
    """A name as it is, or in quotes where it could pass for other words of the plan."""
    return text if _UNAMBIGUOUS.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _plan(plan_id: str, body: dict[str, object]) -> Plan:
    raw = dict(body["operation"])  # type: ignore[call-overload]  # wrong shapes raise TypeError
    raw["verb"] = Verb(raw["verb"])
    if raw["verb"] in _NEVER_PLANNED:
        raise ValueError
    raw["steps"] = tuple(Step(**step) for step in raw["steps"])
    raw["seen"] = tuple(Seen(**seen) for seen in raw["seen"])
    for name in ("remove", "versions", "command", "notes"):
        raw[name] = tuple(raw[name])
    if raw["metadata"] is not None:
        metadata = raw["metadata"]
        raw["metadata"] = Metadata(**{**metadata, "consumers": tuple(metadata["consumers"])})
    expires = datetime.fromisoformat(str(body["expires"]))
    if expires.tzinfo is None:
        raise ValueError
    return Plan(plan_id, Operation(**raw), expires, str(body["reason"]))
