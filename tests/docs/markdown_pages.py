"""Markdown as code: front matter, links, and commands that would print a value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from templates import ROOT

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "TOOLS",
    "TOOL_PREFIX",
    "Page",
    "broken_links",
    "links",
    "mentioned_tools",
    "page",
    "steering_pages",
    "tool_list",
    "value_printing_commands",
]

TOOL_PREFIX = "mcp__plugin_secret-management_secrets__"
TOOLS = (
    "secrets_status",
    "secrets_list",
    "secrets_read",
    "secrets_write",
    "secrets_delete",
    "secrets_apply",
)

_FRONT_MATTER = re.compile(r"\A---\n(?P<head>.*?)\n---\n(?P<body>.*)\Z", re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\((?P<target>[^)\s]+)\)")
_TOOL = re.compile(r"\bsecrets_[a-z_]+\b")

# Commands whose output, or whose own arguments, are values, and two that are simply wrong: a
# lease revocation of a whole prefix, and a loop over a table's header lines.
_PRINTS = [
    r"kubectl\s+get\s+secrets?\b[^\n`]*\s(-o|--output)\b",
    r"kubectl\s+(exec|run)\b[^\n`]*(env|psql|cat)\b",
    r"\b(vault|bao)\s+(kv\s+get|read|unwrap|print\s+token)\b",
    r"\b(vault|bao)\s+(kv\s+(put|patch)|write)\b[^\n`]*=(?![@-])",
    r"\b(vault|bao)\s+lease\s+revoke\s+-prefix\b",
    r"\b(vault|bao)\s+list\s+auth/token/accessors\b[^\n`]*\|",
    r"aws\s+secretsmanager\s+(batch-)?get-secret-value\b",
    r"aws\s+ssm\s+get-parameters?\b[^\n`]*--with-decryption",
    r"--from-literal\b|--secret-string\s+[^f\s]",
    r"\bsops\s+(-d|--decrypt|decrypt)\b",
    r"\bbase64\s+(-d|--decode)\b|base64d",
    r"\bprintenv\b|\bcat\s+[^\n`]*\.env\b",
    r"\bgitleaks\s+detect\b",
    r"postgres(ql)?://[^\s`]*:[^\s`]*@",
]
_PRINTING = re.compile("|".join(f"(?:{pattern})" for pattern in _PRINTS), re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Page:
    path: Path
    head: dict[str, Any]
    body: str

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")


def page(path: str) -> Page:
    """Read a page that must begin with front matter."""
    file = ROOT / path
    match = _FRONT_MATTER.match(file.read_text(encoding="utf-8"))
    assert match is not None, f"{path} has no front matter"
    head = yaml.safe_load(match["head"])
    assert isinstance(head, dict)
    return Page(file, head, match["body"])


def tool_list(head: dict[str, Any], key: str) -> list[str]:
    """The tools of an agent (``tools``) or of a command or skill (``allowed-tools``).

    The client ignores the other key in silence, so its presence is an error.
    """
    other = {"tools": "allowed-tools", "allowed-tools": "tools"}[key]
    assert other not in head, f"{other} is ignored here"
    return [name.strip() for name in head[key].split(",")]


def steering_pages() -> list[Path]:
    """Every Markdown file that a model is given."""
    found = [
        path
        for folder in ("agents", "commands", "skills")
        for path in sorted((ROOT / folder).rglob("*.md"))
    ]
    assert len(found) >= 11, f"only {len(found)} pages"
    return found


def links(text: str) -> list[str]:
    return [match["target"] for match in _LINK.finditer(text)]


def broken_links(path: Path, text: str) -> list[str]:
    """Relative links of a page that lead nowhere, or out of the repository."""
    wrong = []
    for target in links(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        found = file.is_relative_to(ROOT) and file.exists()
        if not found or (anchor and anchor not in _anchors(file)):
            wrong.append(target)
    return wrong


def _anchors(file: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def mentioned_tools(text: str) -> set[str]:
    return set(_TOOL.findall(text))


def value_printing_commands(text: str) -> list[str]:
    """Commands that would put a value on the screen, into a file or into an argument."""
    return [match.group(0) for match in _PRINTING.finditer(text)]
