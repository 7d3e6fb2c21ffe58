"""Configuration: every setting, every slip refused with its place; a repository only narrows."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, time
from pathlib import Path

import pytest

from mcp_server.core import config, places
from mcp_server.core.config import Config
from mcp_server.core.errors import ConfigError, InputError
from mcp_server.core.model import Verb
from mcp_server.core.policy import Decision
from mcp_server.core.ports import StoreSettings
from mcp_server.core.refs import Ref
from tests.unit.core.rig import Rig, password

CANARY = "canary-config-8f3k2m9x"
Make = Callable[[str], Rig]


@pytest.fixture
def layers(home: Path) -> dict[str, Path]:
    return {
        "system": home / "etc-policy.yaml",
        "operator": places.config_file(),
        "repository": home / "project" / ".secrets.yaml",
    }


@pytest.fixture
def load(layers: dict[str, Path]) -> Callable[..., Config]:
    def _load(**texts: str | bytes) -> Config:
        for name, text in texts.items():
            layers[name].write_bytes(text.encode() if isinstance(text, str) else text)
        return config.load(layers["system"], layers["operator"], layers["repository"].parent)

    return _load


Load = Callable[..., Config]

EVERYTHING = """
stores:
  team: {backend: vault, address: "https://vault.example.com:8200", mounts: {secret: 2}}
  old: {backend: vault, address: "https://old.example.com:8200"}
  disk: {backend: local}
defaults: {vault: old}
policy:
  rules:
    - {effect: allow, verbs: [create], match: "vault://secret/dev/**", store: team}
    - {effect: deny, match: "vault://secret/payments/**"}
  production: ["vault://secret/prod/**"]
  critical: ["vault://secret/root/**"]
grants:
  - {name: nightly, verbs: [update], match: "vault://secret/ci/**", store: team,
     hours: "22:30 - 05:00", expires: 2030-01-31, failures: 5, identity: ci}
  - {name: short, verbs: [run], match: "**", expires: 2030-01-31T12:00:00+02:00}
sources: {folders: [/srv/imports], variables: [DB_PASSWORD]}
run:
  - {name: migrate, match: "local://app/*", executable: /usr/bin/psql, arguments: [-f, x.sql],
     variables: [PGPASSWORD], environment: {PGHOST: db.internal}}
"""


def test_every_setting_arrives(load: Load) -> None:
    found = load(operator=EVERYTHING)
    team, old, disk = found.stores
    mounts = {"address": "https://vault.example.com:8200", "mounts": {"secret": 2}}
    assert team == StoreSettings("team", "vault", mounts)
    assert (old.name, disk.backend) == ("old", "local")
    assert found.defaults == {"vault": "old", "local": "disk"}
    assert found.policy.defaults == found.defaults
    allow, deny = found.policy.rules
    assert (allow.effect, allow.verbs, allow.store) == (
        Decision.ALLOW,
        frozenset({Verb.CREATE}),
        "team",
    )
    assert (deny.effect, deny.verbs, deny.store) == (Decision.DENY, frozenset(), None)
    assert found.policy.production == ("vault://secret/prod/**",)
    assert found.policy.critical == ("vault://secret/root/**",)
    nightly, short = found.policy.grants
    assert (nightly.start, nightly.end) == (time(22, 30), time(5))
    assert nightly.expires == datetime.combine(datetime(2030, 1, 31), time.max, UTC)  # noqa: DTZ001 - a day
    assert (nightly.failures, nightly.identity, nightly.rule.store) == (5, "ci", "team")
    assert (short.start, short.end, short.failures) == (time.min, time.max, 3)
    assert short.expires == datetime(2030, 1, 31, 10, tzinfo=UTC)
    assert found.sources.folders == (Path("/srv/imports"),)
    assert found.sources.variables == {"DB_PASSWORD"}
    (profile,) = found.run
    assert profile.covers(("/usr/bin/psql", "-f", "x.sql"), {"PGPASSWORD": Ref("local", "app/db")})
    assert profile.environment == {"PGHOST": "db.internal"}


def test_without_any_file_there_is_a_local_store_and_nothing_allowed_but_it(load: Load) -> None:
    found = load()
    assert found.stores == (StoreSettings("local", "local"),)
    assert found.policy.decide([(Verb.UPDATE, Ref("vault", "a"))]).decision is Decision.ASK
    assert found.changed == ()


@pytest.mark.parametrize(
    ("command", "uses"),
    [
        (("/usr/bin/psql", "-f", "y.sql"), {"PGPASSWORD": "local://app/db"}),
        (("/usr/bin/psql", "-f", "x.sql", "-v"), {"PGPASSWORD": "local://app/db"}),
        (("psql", "-f", "x.sql"), {"PGPASSWORD": "local://app/db"}),
        (("/usr/bin/psql", "-f", "x.sql"), {"PGUSER": "local://app/db"}),
        (("/usr/bin/psql", "-f", "x.sql"), {"PGPASSWORD": "local://other/db"}),
        (("/usr/bin/psql", "-f", "x.sql"), {"PGPASSWORD": "local://app/x/y"}),
    ],
)
def test_a_profile_is_for_its_command_its_variables_and_its_references(
    load: Load, command: tuple[str, ...], uses: dict[str, str]
) -> None:
    (profile,) = load(operator=EVERYTHING).run
    assert not profile.covers(command, {name: Ref.parse(ref) for name, ref in uses.items()})


# --- slips -------------------------------------------------------------------------------------

RULE = 'policy: {{rules: [{{effect: deny, match: "{}"}}]}}'
G = 'grants: [{{name: g, verbs: [update], match: "**", expires: 2030-01-01{}}}]'
P = 'run: [{{name: p, match: "**", executable: /bin/x{}}}]'
BOMB = "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n"
SLIPS = {
    "unknown setting": f"{CANARY}: 1",
    "not a table": f"- {CANARY}",
    "a text": CANARY,
    "names that are no text": f"1: {CANARY}",
    "not yaml": f"stores: [{CANARY}",
    "two documents": f"--- {{}}\n--- {CANARY}",
    "aliases": BOMB,
    "an alias": f"stores: &x {{a: {CANARY}}}\ndefaults: *x",
    "duplicate keys": f"stores: {{}}\nstores: {{a: {CANARY}}}",
    "duplicate keys inside": f"sources: {{folders: [/{CANARY}], folders: [/b]}}",
    "too deep": "[" * 40 + CANARY + "]" * 40,
    "a python object": f"!!python/object/apply:os.system ['{CANARY}']",
    "a tag whose text does not fit": f"stores: !!int ''\n# {CANARY}",
    "a truth that is none": f"stores: !!bool {CANARY}",
    "a time that is none": f"stores: !!timestamp {CANARY}",
    "a day that is none": G.format("").replace("2030-01-01", "2030-13-45") + f" # {CANARY}",
    "not unicode": b"stores: \xff\xfe" + CANARY.encode(),
    "stores as a list": f"stores: [{CANARY}]",
    "a store's name": f"stores: {{'{CANARY} x': {{backend: memory}}}}",
    "a store without backend": f"stores: {{a: {{address: {CANARY}}}}}",
    "a store as text": f"stores: {{a: {CANARY}}}",
    "a backend as number": "stores: {a: {backend: 5}}",
    "another store called local": "stores: {local: {backend: memory}}",
    "default of an unknown scheme": f"defaults: {{ftp: {CANARY}}}",
    "default to another scheme's store": "stores: {m: {backend: memory}}\ndefaults: {local: m}",
    "default to no store": f"defaults: {{local: {CANARY}}}",
    "an effect": f'policy: {{rules: [{{effect: {CANARY}, match: "**"}}]}}',
    "an effect that is missing": 'policy: {rules: [{match: "**"}]}',
    "a verb": f'policy: {{rules: [{{effect: deny, verbs: [{CANARY}], match: "**"}}]}}',
    "verbs as text": 'policy: {rules: [{effect: deny, verbs: erase, match: "**"}]}',
    "an empty list of verbs": 'policy: {rules: [{effect: allow, verbs: [], match: "**"}]}',
    "no verbs by null": 'policy: {rules: [{effect: allow, verbs: , match: "**"}]}',
    "a rule without match": "policy: {rules: [{effect: deny}]}",
    "another name in a rule": f'policy: {{rules: [{{effect: deny, matches: "{CANARY}"}}]}}',
    "a pattern without scheme": RULE.format(CANARY),
    "a pattern with one slash": RULE.format(f"vault:/{CANARY}/**"),
    "a pattern with a key": RULE.format(f"vault://{CANARY}#password"),
    "a pattern with a store": RULE.format(f"vault://{CANARY}?store=eu"),
    "a pattern with an escape": RULE.format(f"vault://{CANARY}%20x"),
    "a pattern with a line break": RULE.format(f"local://{CANARY}\\nnow do this"),
    "a pattern with a hidden character": RULE.format(f"local://{CANARY}\\u202e**"),
    "a pattern that ends in a slash": RULE.format(f"vault://{CANARY}/"),
    "a scheme in capitals": RULE.format(f"Vault://{CANARY}"),
    "a production pattern": f"policy: {{production: [{CANARY}]}}",
    "a critical pattern": f"policy: {{critical: ['{CANARY}']}}",
    "production as text": f"policy: {{production: '{CANARY}'}}",
    "a grant without end": 'grants: [{name: g, verbs: [update], match: "**"}]',
    "a grant without verbs": 'grants: [{name: g, match: "**", expires: 2030-01-01}]',
    "a grant that ends in words": G.format("").replace("2030-01-01", CANARY),
    "a number of failures": G.format(f", failures: {CANARY}"),
    "failures as truth": G.format(", failures: true"),
    "hours": G.format(f", hours: '{CANARY}'"),
    "hours with an offset": G.format(", hours: '01:00+02:00-05:00'"),
    "hours beyond the day": G.format(", hours: '25:00-26:00'"),
    "hours as number": G.format(", hours: 5"),
    "an identity": G.format(f", identity: [{CANARY}]"),
    "another name in a grant": G.format(f", {CANARY}: 1"),
    "a folder that is not absolute": f"sources: {{folders: [{CANARY}]}}",
    "a folder of nobody": f"sources: {{folders: ['~{CANARY}/x']}}",
    "a variable that is no text": "sources: {variables: [5]}",
    "a program by name": P.format("").replace("/bin/x", CANARY),
    "arguments as text": P.format(f", arguments: {CANARY}"),
    "environment as list": P.format(f", environment: [{CANARY}]"),
    "a number in the environment": P.format(", environment: {A: 5}"),
    "a profile's pattern": P.format("").replace('"**"', CANARY),
}


@pytest.mark.parametrize("text", SLIPS.values(), ids=SLIPS.keys())
def test_a_slip_is_refused_and_the_file_is_named_and_its_content_is_not(
    load: Load, layers: dict[str, Path], text: str | bytes
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(operator=text)
    said = str(refused.value)
    assert said.startswith(f"CONFIG_INVALID: {layers['operator']}")
    assert CANARY not in said


def test_the_place_is_named(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"stores\.team\.backend is text"):
        load(operator="stores: {team: {backend: 5}}")


def test_a_large_file_is_refused(load: Load) -> None:
    with pytest.raises(ConfigError):
        load(operator=b"stores: {}\n" + b"#" * 3_000_000)


@pytest.mark.parametrize("layer", ["system", "operator", "repository"])
@pytest.mark.parametrize("kind", ["folder", "fifo", "device", "loop", "dangling"])
def test_what_is_no_regular_file_is_refused_at_once(
    load: Load, layers: dict[str, Path], layer: str, kind: str
) -> None:
    """A repository can hold a link to a device without end; the start neither waits nor fills."""
    path = layers[layer]
    match kind:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "loop":
            path.symlink_to(path)
        case _:
            path.symlink_to(path.parent / "nothing")
    with pytest.raises(ConfigError):
        load()


def test_a_file_that_may_not_be_read_is_refused(load: Load, layers: dict[str, Path]) -> None:
    layers["system"].symlink_to("/proc/self/mem")  # opens, but no read succeeds
    with pytest.raises(ConfigError):
        load()


# --- the layers --------------------------------------------------------------------------------


def test_the_system_policy_holds_policy_only_and_counts(load: Load) -> None:
    found = load(system=RULE.format("memory://**"), operator="stores: {m: {backend: memory}}")
    assert found.policy.decide([(Verb.READ, Ref("memory", "a"))]).decision is Decision.DENY
    for text in ("stores: {}", "grants: []", "run: []", "sources: {}", "names: {}"):
        with pytest.raises(ConfigError):
            load(system=text)


def test_an_operators_allow_does_not_lift_the_systems_denial(load: Load) -> None:
    allow = 'policy: {rules: [{effect: allow, match: "memory://**"}]}'
    found = load(system=RULE.format("memory://**"), operator=allow)
    assert found.policy.decide([(Verb.UPDATE, Ref("memory", "a"))]).decision is Decision.DENY


HOSTILE = {
    "a store": "stores: {evil: {backend: vault, address: 'https://evil.test'}}",
    "an address": "address: https://evil.test",
    "a default": "defaults: {vault: evil}",
    "an allow rule": 'policy: {rules: [{effect: allow, match: "**"}]}',
    "a hidden allow rule": 'policy: {rules: [{effect: deny, match: "x://y"},'
    ' {effect: allow, match: "**"}]}',
    "no production": "policy: {production: []}",
    "no critical": "policy: {critical: []}",
    "a grant": 'grants: [{name: g, verbs: [update], match: "**", expires: 2030-01-01}]',
    "a source folder": "sources: {folders: [/]}",
    "a profile": 'run: [{name: p, match: "**", executable: /bin/sh}]',
    "a name with an address": "names: {db: 'vault://secret/a?address=https://evil.test'}",
    "a name with userinfo": "names: {db: 'https://evil.test/a'}\npolicy: {rules: 5}",
    "a name that walks": "names: {db: 'vault://secret/../sys/policy'}",
    "a name that executes": "names: {db: 'ref+exec://sh'}",
    "names as list": "names: [a]",
    "a name as number": "names: {db: 5}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_repository_cannot_widen(load: Load, layers: dict[str, Path], text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(operator="stores: {m: {backend: memory}}", repository=text)
    assert str(layers["repository"]) in str(refused.value)
    assert "evil" not in str(refused.value)


def test_a_repository_can_name_and_narrow(load: Load) -> None:
    found = load(
        operator='policy: {rules: [{effect: allow, match: "memory://**"}]}',
        repository='names: {db: "memory://app/db#password"}\n'
        'policy: {rules: [{effect: ask, verbs: [update], match: "memory://**"}]}',
    )
    assert found.names == {"db": Ref.parse("memory://app/db#password")}
    assert found.policy.decide([(Verb.UPDATE, Ref("memory", "a"))]).decision is Decision.ASK
    assert found.policy.decide([(Verb.CREATE, Ref("memory", "a"))]).decision is Decision.ALLOW


def test_a_name_of_the_repository_is_resolved_before_anything_is_shown(make: Make) -> None:
    rig = make("")
    rig.file(".secrets.yaml", 'names: {db: "memory://crown/jewels"}')
    rig = make("")
    receipt = rig.write("@db", password())
    assert receipt.change.startswith("create memory://crown/jewels; ")
    with pytest.raises(InputError, match="no such name"):
        rig.write("@other", password())


# --- changes while it runs ---------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["system", "operator", "repository"])
def test_a_file_that_changed_or_came_or_went_is_told(
    load: Load, layers: dict[str, Path], layer: str
) -> None:
    found = load()
    path = layers[layer]
    path.write_text("policy: {}")
    assert found.changed == (path,)
    again = load()
    assert again.changed == ()
    path.write_text("policy: {rules: []}")
    assert again.changed == (path,)
    path.unlink()
    assert again.changed == (path,)
    os.mkfifo(path)
    assert again.changed == (path,)
    path.unlink()
    path.write_text("policy: {}")
    assert again.changed == ()


def test_a_change_while_it_runs_is_inert(make: Make) -> None:
    rig = make("")
    allow = 'stores: {mem: {backend: memory}}\npolicy: {rules: [{effect: allow, match: "**"}]}'
    places.config_file().write_text(allow)
    rig.file(".secrets.yaml", 'names: {db: "memory://app/db"}')
    assert rig.write("memory://app/db", password()).state == "planned"
    with pytest.raises(InputError):
        rig.broker.read("@db")
    assert len(rig.broker.config.changed) == 2
