"""``secrets init``."""

from __future__ import annotations

import os
import re
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

from mcp_server.cli import person
from mcp_server.cli.arguments import Parser
from mcp_server.cli.failures import UsageError
from mcp_server.core import durable, places
from mcp_server.core.errors import AlreadyExistsError, ConfigError, DeclinedError
from mcp_server.core.status import Found, discover

__all__ = ["run"]

_RECIPIENT: Final = re.compile(r"age1[02-9ac-hj-np-z]{58}")
_HEAD: Final = """\
# Stores, policy and grants of secret-management. Only this file and the
# system policy can widen what it may do; a repository's .secrets.yaml can
# only name and narrow.
"""
_RECOVERY: Final = """
The local store can have a recovery key: whoever holds its private half can
open the store when this machine's key is lost. Give the public half (age1…),
made elsewhere with age-keygen, or press Enter to go without."""


def run(arguments: list[str]) -> int:
    """Write ``config.yaml`` from what is discovered, once a person agrees."""
    parser = Parser("init", "Write the configuration, from what this machine has.")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be written")
    parser.add_argument(
        "--recovery", metavar="AGE1…", help="public key that can open the local store too"
    )
    options = parser.parse_args(arguments)
    path = places.config_file()
    found = discover(os.environ)
    if options.dry_run:
        print(_document(found, _checked(options.recovery or "")), end="")
        return 0
    if path.exists():
        raise AlreadyExistsError(
            "There is a configuration already.",
            next_step=f"Edit {path}; `secrets init --dry-run` shows what this machine offers.",
        )
    person.need("Writing the configuration", "A person runs `secrets init` in a terminal.")
    _agree(path, found, options)
    print(f"Wrote {path}\nNext: secrets status says whether each store answers.")
    return 0


def _agree(path: Path, found: list[Found], options: Namespace) -> None:
    seen = [f"  {each.settings.name}: {each.seen}" for each in found] or ["  no other store"]
    recovery = options.recovery
    if recovery is None:
        text = "\n".join(["Found on this machine:", *seen, _RECOVERY])
        recovery = person.ask(text, "Recovery recipient [none]: ")
    document = _document(found, _checked(recovery))
    answer = person.ask(f"\n{path}:\n\n{document}", "Write this? [y/N] ")
    if answer.lower() not in {"y", "yes"}:
        raise DeclinedError("Nothing was written.", next_step="Run `secrets init` again any time.")
    _create(path, document)


def _checked(recovery: str) -> str:
    if recovery and not _RECIPIENT.fullmatch(recovery):
        raise UsageError(
            "A recovery recipient is an age public key; what was given is not and is not used.",
            next_step="Make one with `age-keygen`; its public key begins with age1.",
        )
    return recovery


def _document(found: list[Found], recovery: str) -> str:
    local: Mapping[str, object] = {"backend": "local"}
    if recovery:
        local = {**local, "recovery_recipient": recovery}
    others = {
        each.settings.name: {"backend": each.settings.backend, **each.settings.options}
        for each in found
    }
    body = yaml.safe_dump({"stores": {"local": dict(local), **others}}, sort_keys=False)
    return _HEAD + body


def _create(path: Path, document: str) -> None:
    """Never over another file."""
    try:
        durable.make_folder(path.parent)
        durable.create(path, document.encode())
    except FileExistsError:
        raise AlreadyExistsError("There is a configuration already.") from None
    except OSError:
        raise ConfigError(f"{path} cannot be written.") from None
