"""``--env-file``: lines of ``NAME=reference`` in place of a plaintext ``.env``.

The dialect is python-dotenv's, without interpolation. A line whose right side is a reference of a
store we have (or an ``@name`` of ``.secrets.yaml``) is bound to that secret; any other line is a
plain setting and passed on as it is. A plain line that looks like a secret is passed on too, but
named by its number, and masked in the output. Since the file lies in a repository, it cannot set
variables that decide what a program loads, and a person is asked about the references in it where
policy asks (``run``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from mcp_server.core import strength
from mcp_server.core.errors import InputError
from mcp_server.core.process import is_variable, steers
from mcp_server.core.sealed import seal
from mcp_server.core.sources import EnvLine, SourceRules, env_lines

__all__ = ["EnvFile", "read"]

_TELLING_NAME: Final = re.compile(
    r"(?:^|_)(?:PASS(?:WORD|WD|PHRASE)?|PWD|SECRET|TOKEN|CREDENTIALS?|PRIVATE|.*KEY)(?:_|$)",
    re.IGNORECASE,
)
_LOGIN_IN_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/@\s:]*:[^/@\s]+@", re.IGNORECASE)
_ORDINARY: Final = re.compile(r"[/\\:.,\s]")


@dataclass(frozen=True, slots=True)
class EnvFile:
    """What a file says.

    Attributes:
        bindings: References by variable.
        plain: Settings by variable.
        notes: Sentences about lines, by number; no text of the file.
        paths: Where it lies.
    """

    bindings: Mapping[str, str] = field(default_factory=dict)
    plain: Mapping[str, str] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


def read(path: str, rules: SourceRules, schemes: Collection[str]) -> EnvFile:
    """Read one file.

    Args:
        path: As it was typed.
        rules: Which files may be read.
        schemes: What a reference begins with.

    Raises:
        SourceError: Not an allowed file.
        InputError: A line names what cannot be a variable, or one that steers programs.
    """
    real = rules.check(path)
    lines, skipped = env_lines(real)
    prefixes = tuple(f"{scheme}://" for scheme in schemes)
    bindings: dict[str, str] = {}
    plain: dict[str, str] = {}
    notes = list(skipped)
    for line in lines:
        _check(line)
        if line.text.startswith((*prefixes, "ref+", "@")):
            bindings[line.name] = line.text
            continue
        plain[line.name] = line.text
        if _looks_secret(line):
            seal(line.text.encode())  # for the guard, which masks it from here on
            notes.append(f"line {line.number} looks like a secret in plain text; store it instead")
    kept = {name: text for name, text in plain.items() if name not in bindings}
    return EnvFile(bindings, kept, tuple(notes), (str(real),))


def _check(line: EnvLine) -> None:
    if not is_variable(line.name):
        raise InputError(f"Line {line.number}: a variable has letters, digits and underscores.")
    if steers(line.name):
        raise InputError(
            f"Line {line.number}: that variable decides what a program loads; a file cannot set it."
        )


def _looks_secret(line: EnvLine) -> bool:
    if not line.text:
        return False
    if _TELLING_NAME.search(line.name) or _LOGIN_IN_URL.match(line.text):
        return True
    return not _ORDINARY.search(line.text) and strength.above_floor(line.text.encode())
