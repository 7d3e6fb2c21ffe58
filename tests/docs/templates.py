"""Find, render and parse the templates of the skill.

Square brackets mark our own parameters, because Vault Agent and External Secrets Operator use
double braces for theirs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

__all__ = ["ASSETS", "ROOT", "Template", "documents", "parse", "templates"]

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "skills" / "secrets-patterns" / "assets"

_ENVIRONMENT = jinja2.Environment(
    block_start_string="[%",
    block_end_string="%]",
    variable_start_string="[[",
    variable_end_string="]]",
    comment_start_string="[#",
    comment_end_string="#]",
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701 - YAML and JSON, no HTML
)


@dataclass(frozen=True, slots=True)
class Template:
    """One parametrised file, its example values and its rendered form."""

    source: Path

    @property
    def name(self) -> str:
        return f"{self.source.parent.name}/{self.source.stem}"

    @property
    def rendered_file(self) -> Path:
        return self.source.parent / "rendered" / self.source.stem

    def values(self) -> dict[str, Any]:
        text = (self.source.parent / "values.yaml").read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        assert isinstance(content, dict)
        return content

    def render(self, **changes: object) -> str:
        text = self.source.read_text(encoding="utf-8")
        return _ENVIRONMENT.from_string(text).render(self.values() | changes).lstrip("\n")


def templates() -> list[Template]:
    found = [Template(path) for path in sorted(ASSETS.glob("*/*.j2"))]
    assert len(found) >= 8, f"only {len(found)} templates below {ASSETS}"
    return found


def parse(name: str, text: str) -> list[dict[str, Any]]:
    """Parse the documents of a rendered file; the name says which format it is."""
    if name.endswith(".json"):
        return [json.loads(text)]
    return [document for document in yaml.safe_load_all(text) if document is not None]


def documents() -> list[dict[str, Any]]:
    """Every document of every template, rendered with its example values."""
    return [
        document for template in templates() for document in parse(template.name, template.render())
    ]
