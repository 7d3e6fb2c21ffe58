"""Reading the configuration: system policy, the operator's file, the repository's file.

``/etc/secret-management/policy.yaml`` (``policy`` only), then the operator's
``config.yaml``::

    stores:
      team: {backend: vault, address: https://vault.example.com:8200, mounts: {secret: 2}}
    defaults: {vault: team}            # which store a scheme means without ?store=
    policy:
      rules:
        - {effect: allow, verbs: [create], match: "vault://secret/dev/**"}
        - {effect: deny, match: "vault://secret/payments/**"}
      production: ["vault://secret/prod/**"]
      critical: ["vault://secret/root/**"]
    grants:
      - {name: nightly, verbs: [update], match: "vault://secret/ci/**", hours: "01:00-05:00",
         expires: 2027-01-31, failures: 3, identity: ci}
    sources: {folders: [/srv/imports], variables: [DB_PASSWORD]}
    run:
      - {name: migrate, match: "local://app/*", executable: /usr/bin/psql,
         arguments: [-f, /srv/x.sql], variables: [PGPASSWORD], environment: {PGHOST: db.internal}}

then ``.secrets.yaml`` in the project, which can only name and narrow::

    names: {db: "vault://secret/app/db#password"}    # written @db
    policy: {rules: [{effect: deny, verbs: [destroy, erase], match: "**"}]}

It is read once: a change made while the process runs is inert, and ``changed`` tells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Final

from mcp_server.core.config_file import ConfigFile, Table, digest_now
from mcp_server.core.errors import BadReferenceError
from mcp_server.core.model import Verb
from mcp_server.core.policy import Decision, Grant, Policy, Rule, matches
from mcp_server.core.ports import StoreSettings
from mcp_server.core.refs import Ref
from mcp_server.core.sources import SourceRules

__all__ = ["Config", "RunProfile", "load"]

REPOSITORY_FILE: Final = ".secrets.yaml"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_EFFECTS: Final = {"allow": Decision.ALLOW, "ask": Decision.ASK, "deny": Decision.DENY}
_HOURS: Final = re.compile(r"([0-2]\d:[0-5]\d)\s*-\s*([0-2]\d:[0-5]\d)")
_NARROWING: Final = frozenset({Decision.ASK, Decision.DENY})


@dataclass(frozen=True, slots=True)
class RunProfile:
    """A command that ``secrets run`` may start without a person at a terminal.

    Whoever starts it does not direct it: executable and arguments are exactly these, only the
    named variables are bound, and besides them it gets ``environment`` and little else
    (``process.minimal``), since a variable such as ``PGHOST`` decides where a password is sent.

    Attributes:
        pattern: What the bound references must match.
        variables: Names that may be bound; ``standard input`` is the pipe.
        environment: Plain variables that it gets.
    """

    name: str
    pattern: str
    executable: str
    arguments: tuple[str, ...]
    variables: frozenset[str] = frozenset()
    environment: Mapping[str, str] = field(default_factory=dict)

    def covers(self, command: tuple[str, ...], uses: Mapping[str, Ref]) -> bool:
        """Whether this is the command, and these are references it may have under these names."""
        return (
            command == (self.executable, *self.arguments)
            and self.variables.issuperset(uses)
            and all(matches(self.pattern, ref) for ref in uses.values())
        )


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that was configured, and whence.

    Attributes:
        stores: Always with a ``local`` one.
        defaults: Store name by scheme.
        names: Short names of references, from the repository.
        origins: The files that were read, with the hash of what was read.
    """

    stores: tuple[StoreSettings, ...]
    defaults: Mapping[str, str]
    policy: Policy
    sources: SourceRules
    run: tuple[RunProfile, ...] = ()
    names: Mapping[str, Ref] = field(default_factory=dict)
    origins: Mapping[Path, str] = field(default_factory=dict)

    @property
    def changed(self) -> tuple[Path, ...]:
        """Files that are not any more what was read."""
        return tuple(path for path, digest in self.origins.items() if digest_now(path) != digest)


def load(system: Path, operator: Path, project: Path) -> Config:
    """Read all three layers; a file that is not there is an empty one.

    Raises:
        ConfigError: A file is wrong. The error names the file and the setting, not its content.
    """
    repository = project / REPOSITORY_FILE
    top = ConfigFile(system, {"policy"})
    main = ConfigFile(operator, {"stores", "defaults", "policy", "grants", "sources", "run"})
    repo = ConfigFile(repository, {"names", "policy"})
    stores = _stores(main)
    defaults = _defaults(main, stores)
    return Config(
        stores,
        defaults,
        replace(_policy(top, main, repo), defaults=defaults),
        _sources(main, project),
        _profiles(main),
        _names(repo),
        {file.path: file.digest for file in (top, main, repo)},
    )


def _stores(file: ConfigFile) -> tuple[StoreSettings, ...]:
    table = file.table.get("stores") or {}
    if not isinstance(table, dict):
        raise file.wrong("stores", "is a table of names")
    found = [_store(file, name, options) for name, options in table.items()]
    if any(store.name == "local" and store.backend != "local" for store in found):
        raise file.wrong("stores.local", "is a local store")
    if not any(store.backend == "local" for store in found):
        found.insert(0, StoreSettings("local", "local"))
    return tuple(found)


def _store(file: ConfigFile, name: object, options: object) -> StoreSettings:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise file.wrong("stores", "have short plain names")
    if not isinstance(options, dict):
        raise file.wrong(f"stores.{name}", "is a table with a backend")
    rest = {str(key): value for key, value in options.items() if key != "backend"}
    return StoreSettings(name, file.text(options.get("backend"), f"stores.{name}.backend"), rest)


def _defaults(file: ConfigFile, stores: tuple[StoreSettings, ...]) -> dict[str, str]:
    """The first store of a scheme unless the operator says otherwise."""
    chosen: dict[str, str] = {}
    for store in stores:
        chosen.setdefault(store.backend, store.name)
    table = file.check(file.table.get("defaults") or {}, set(chosen), "defaults")
    named = {store.name: store.backend for store in stores}
    for scheme, name in table.items():
        if named.get(file.text(name, "defaults")) != scheme:
            raise file.wrong(f"defaults.{scheme}", "names a store of that backend")
    return {**chosen, **{scheme: str(name) for scheme, name in table.items()}}


def _policy(top: ConfigFile, main: ConfigFile, repo: ConfigFile) -> Policy:
    tables = [(f, _policy_table(f)) for f in (top, main)]
    narrowing = repo.check(repo.table.get("policy") or {}, {"rules"}, "policy")
    rules = [rule for f, table in tables for rule in _rules(f, table)]
    extra = _rules(repo, narrowing)
    if any(rule.effect not in _NARROWING for rule in extra):
        raise repo.wrong("policy", "in a repository can only ask and deny")
    return Policy(
        (*rules, *extra),
        _joined(tables, "production"),
        _joined(tables, "critical"),
        tuple(_grant(main, item) for item in main.items(main.table.get("grants"), "grants")),
    )


def _policy_table(file: ConfigFile) -> Table:
    allowed = {"rules", "production", "critical"}
    return file.check(file.table.get("policy") or {}, allowed, "policy")


def _joined(tables: list[tuple[ConfigFile, Table]], name: str) -> tuple[str, ...]:
    return tuple(text for f, table in tables for text in f.patterns(table.get(name), name))


def _rules(file: ConfigFile, table: Table) -> list[Rule]:
    return [_rule(file, item) for item in file.items(table.get("rules"), "policy.rules")]


def _rule(file: ConfigFile, item: object) -> Rule:
    table = file.check(item, {"effect", "verbs", "match", "store"}, "a rule")
    effect = _EFFECTS.get(str(table.get("effect")))
    if effect is None:
        raise file.wrong("a rule's effect", "is allow, ask or deny")
    store = table.get("store")
    return Rule(
        effect,
        file.pattern(table.get("match"), "a rule's match"),
        _verbs(file, table),
        None if store is None else file.text(store, "a rule's store"),
    )


def _verbs(file: ConfigFile, table: Table) -> frozenset[Verb]:
    names = file.texts(table.get("verbs"), "verbs")
    if not names and "verbs" in table:
        raise file.wrong("verbs", "names at least one, or is left out and means all")
    if not set(names) <= set(Verb):
        raise file.wrong("verbs", f"are {', '.join(Verb)}")
    return frozenset(Verb(name) for name in names)


def _grant(file: ConfigFile, item: object) -> Grant:
    names = {"name", "verbs", "match", "store", "hours", "expires", "failures", "identity"}
    table = file.check(item, names, "a grant")
    verbs = _verbs(file, table)
    failures = table.get("failures", 3)
    if not verbs or type(failures) is not int:
        raise file.wrong("a grant", "names its verbs and a number of failures")
    store = table.get("store")
    rule = Rule(
        Decision.ALLOW,
        file.pattern(table.get("match"), "a grant's match"),
        verbs,
        None if store is None else file.text(store, "a grant's store"),
    )
    start, end = _hours(file, table.get("hours"))
    identity = table.get("identity")
    return Grant(
        file.text(table.get("name"), "a grant's name"),
        rule,
        start,
        end,
        _expiry(file, table.get("expires")),
        failures,
        None if identity is None else file.text(identity, "a grant's identity"),
    )


def _hours(file: ConfigFile, value: object) -> tuple[time, time]:
    if value is None:
        return time.min, time.max
    found = _HOURS.fullmatch(file.text(value, "hours"))
    try:
        if found:
            return time.fromisoformat(found[1]), time.fromisoformat(found[2])
    except ValueError:
        pass
    raise file.wrong("hours", 'is "01:00-05:00", in UTC')


def _expiry(file: ConfigFile, value: object) -> datetime:
    """A grant always ends."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value, time.max, UTC)
    raise file.wrong("a grant's expires", "is a date")


def _sources(file: ConfigFile, project: Path) -> SourceRules:
    table = file.check(file.table.get("sources") or {}, {"folders", "variables"}, "sources")
    folders = [_home(Path(text)) for text in file.texts(table.get("folders"), "folders")]
    if not all(folder.is_absolute() for folder in folders):
        raise file.wrong("sources.folders", "are absolute")
    variables = frozenset(file.texts(table.get("variables"), "variables"))
    return SourceRules(project.resolve(), tuple(folder.resolve() for folder in folders), variables)


def _home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:  # no such user; the path stays relative, which is refused
        return path


def _profiles(file: ConfigFile) -> tuple[RunProfile, ...]:
    return tuple(_profile(file, item) for item in file.items(file.table.get("run"), "run"))


def _profile(file: ConfigFile, item: object) -> RunProfile:
    names = {"name", "match", "executable", "arguments", "variables", "environment"}
    table = file.check(item, names, "a run profile")
    executable = file.text(table.get("executable"), "executable")
    if not Path(executable).is_absolute():
        raise file.wrong("a run profile's executable", "is an absolute path")
    return RunProfile(
        file.text(table.get("name"), "name"),
        file.pattern(table.get("match"), "a run profile's match"),
        executable,
        file.texts(table.get("arguments"), "arguments"),
        frozenset(file.texts(table.get("variables"), "variables")),
        _environment(file, table.get("environment") or {}),
    )


def _environment(file: ConfigFile, value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise file.wrong("a run profile's environment", "is a table of names")
    return {
        file.text(name, "environment"): file.text(text, "environment")
        for name, text in value.items()
    }


def _names(file: ConfigFile) -> dict[str, Ref]:
    table = file.table.get("names") or {}
    if not isinstance(table, dict):
        raise file.wrong("names", "is a table of references")
    if not all(isinstance(name, str) and _NAME.fullmatch(name) for name in table):
        raise file.wrong("names", "have short plain names")
    try:
        return {str(name): Ref.parse(file.text(ref, "names")) for name, ref in table.items()}
    except BadReferenceError:
        raise file.wrong("names", "hold valid references") from None
