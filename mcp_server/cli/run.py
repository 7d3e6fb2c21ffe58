"""``secrets run``."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mcp_server.cli import child, consent, env_file, person, show
from mcp_server.cli.arguments import Parser
from mcp_server.cli.console import opened
from mcp_server.cli.env_file import EnvFile
from mcp_server.cli.failures import NEEDS_APPROVAL, UsageError
from mcp_server.core import process, strength
from mcp_server.core.broker import Broker, Channel
from mcp_server.core.model import Verb
from mcp_server.core.plans import Plan
from mcp_server.core.requests import STDIN, RunRequest
from mcp_server.engine import Engine

__all__ = ["run"]

_HELP = """\
The command gets the values in its environment or on its standard input. What it prints is
searched for them and they are replaced by [secret]. Its exit status is this one's.

Not passed on: logins of the assistant and of store clients (VAULT_TOKEN, AWS_ACCESS_KEY_ID, ...)
unless they are bound here.

Without a person at a terminal the command needs a run profile of the operator, or a plan that a
person approved:
  secrets run --env NAME=REF -- COMMAND     prints the plan, status 3
  secrets apply p-0123456789abcdef          a person, in a terminal (or secrets_apply)
  secrets run --plan p-0123456789abcdef     runs exactly that command with those references

--env-file is a .env file whose secrets are references and which can be committed:
  DATABASE_PASSWORD=vault://secret/app/db#password
  PORT=3000

example:
  secrets run --env PGPASSWORD=local://app/db#password -- psql -h db.internal app
"""


@dataclass(frozen=True, slots=True)
class _Ready:
    """An approved plan, and the plain variables that its command gets."""

    plan: Plan
    environment: Mapping[str, str]


def run(arguments: list[str]) -> int:
    """Start a command with its secrets and give its exit status."""
    options, command = _parse(arguments)
    with opened(options) as (engine, console):
        broker = engine.broker
        file = _read_files(options.env_file, engine)
        if options.plan is not None:
            return _start(engine, _from_plan(broker, options.plan, file))
        plan = broker.plan_run(_request(options, command, file))
        short = {_binding(text)[0] for text in options.env if "=@" in text}
        short |= {STDIN} if (options.pipe or "").startswith("@") else set()
        ready = _allowed(broker, plan, file, short)
        if ready is not None:
            return _start(engine, ready)
        console.receipt(broker.waiting(plan), show.change)
    return NEEDS_APPROVAL


def _parse(arguments: list[str]) -> tuple[Namespace, tuple[str, ...]]:
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    command = tuple(arguments[cut + 1 :])
    parser = Parser("run", "Give a command its secrets, and mask them in what it prints.", _HELP)
    parser.usage = "secrets run [options] -- COMMAND ..."
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME=REF",
        help="REF#KEY, or the key named NAME; repeatable",
    )
    parser.add_argument(
        "--env-file", action="append", default=[], metavar="PATH", help="see below; repeatable"
    )
    parser.add_argument("--pipe", metavar="REF", help="the value that it reads on standard input")
    parser.add_argument("--plan", metavar="PLAN", help="run an approved plan")
    options, rest = parser.parse_known_args(arguments[:cut])
    if rest and not command:
        raise UsageError("Write the command after --, for example: secrets run -- make test.")
    if rest:
        parser.error("")
    if options.plan is not None and (command or options.env or options.pipe):
        raise UsageError("--plan has its own command and references; only --env-file goes with it.")
    if options.plan is None and not command:
        raise UsageError("There is no command: write it after --.")
    return options, command


def _read_files(paths: list[str], engine: Engine) -> EnvFile:
    merged = EnvFile()
    for path in paths:
        found = env_file.read(path, engine.broker.config.sources, engine.stores.schemes())
        bindings = {n: ref for n, ref in merged.bindings.items() if n not in found.plain}
        plain = {n: text for n, text in merged.plain.items() if n not in found.bindings}
        notes = (f"{show.cut(path)}: {note}" for note in found.notes)
        merged = EnvFile(
            {**bindings, **found.bindings},
            {**plain, **found.plain},
            (*merged.notes, *notes),
            (*merged.paths, *found.paths),
        )
    _note(*merged.notes)
    return merged


def _request(options: Namespace, command: tuple[str, ...], file: EnvFile) -> RunRequest:
    typed = dict(_binding(text) for text in options.env)
    if options.pipe is not None:
        if "#" not in options.pipe:
            raise UsageError("--pipe takes a reference that ends in #key.")
        typed[STDIN] = options.pipe
    bindings = {**file.bindings, **typed}
    return RunRequest(
        command, tuple(bindings.items()), str(Path.cwd()), file.paths, tuple(sorted(file.plain))
    )


def _binding(text: str) -> tuple[str, str]:
    name, _, ref = text.partition("=")
    if not process.is_variable(name) or not ref:
        raise UsageError(
            "--env takes NAME=REF.",
            next_step="For example --env PGPASSWORD=local://app/db#password.",
        )
    return name, ref


def _allowed(broker: Broker, plan: Plan, file: EnvFile, short: set[str]) -> _Ready | None:
    """With a person: their word, asked only where they may not know what they started.

    That is where the repository says what is bound: in its env file, or for ``short`` names.
    """
    if broker.plans.is_approved(plan):
        return _Ready(plan, {**_inherited(plan), **file.plain})
    if person.present():
        if broker.is_critical(plan) or broker.asks_for_use(plan, set(file.bindings) | short):
            consent.agreed(broker, plan)
        broker.approve(plan, Channel.TERMINAL)
        return _Ready(plan, {**process.inherited(), **file.plain})
    profile = broker.profile_for(plan)
    if profile is None:
        return None
    broker.approve(plan, f"{Channel.PROFILE}:{profile.name}")
    if file.plain:
        _note("the plain lines of the file are not used: a profile has its own environment")
    return _Ready(plan, {**process.minimal(), **profile.environment})


def _from_plan(broker: Broker, plan_id: str, file: EnvFile) -> _Ready:
    plan = broker.review(plan_id)
    if plan.operation.verb is not Verb.RUN:
        raise UsageError("That plan is no command.", next_step=f"Apply it: secrets apply {plan.id}")
    if not {step.key for step in plan.operation.steps}.issuperset(file.bindings):
        raise UsageError("The file names secrets that are not in the plan; plan again with it.")
    if not broker.plans.is_approved(plan) and person.present():
        consent.agreed(broker, plan)
        broker.approve(plan, Channel.TERMINAL)
    if not person.present() and not _planned_with(plan, file):
        raise UsageError("The file was not part of the plan; plan again with it.")
    return _Ready(plan, {**_inherited(plan), **file.plain})


def _planned_with(plan: Plan, file: EnvFile) -> bool:
    """Whether the plain lines of the file are those that the plan has seen."""
    return {f"file:{path}" for path in file.paths} <= {seen.what for seen in plan.operation.seen}


def _inherited(plan: Plan) -> dict[str, str]:
    if person.present():
        return process.inherited()
    return process.unsteered(plan.operation.command[0])


def _start(engine: Engine, ready: _Ready) -> int:
    operation = ready.plan.operation
    launch = child.Launch(operation.command, operation.folder or "/", ready.environment)
    warn = not person.present()

    def started(values: Mapping[str, bytes]) -> int:
        if warn:
            _note(*_unmasked(values))
        return child.start(launch, values, engine.guard)

    return engine.broker.run(ready.plan, started)


def _unmasked(values: Mapping[str, bytes]) -> list[str]:
    """Names of values too guessable for the guard to look for (promise P1b)."""
    names = sorted(name for name, value in values.items() if not strength.above_floor(value))
    return [f"{name} is too guessable to be masked in the output; rotate it" for name in names]


def _note(*sentences: str) -> None:
    for sentence in sentences:
        print(f"secrets: {sentence}", file=sys.stderr)
