"""The agent, the command and the skill say what the client reads, and nothing that leaks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown_pages import (
    TOOL_PREFIX,
    TOOLS,
    broken_links,
    links,
    mentioned_tools,
    page,
    steering_pages,
    tool_list,
    value_printing_commands,
)
from templates import ASSETS, ROOT

AGENT = "agents/secrets-engineer.md"
COMMAND = "commands/secrets.md"
SKILL = "skills/secrets-patterns/SKILL.md"
SPEC_FIELDS = {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}
READ_ONLY = {"secrets_status", "secrets_list", "secrets_read"}
REPOSITORY_PAGES = ["SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"]


@pytest.mark.parametrize("path", [AGENT, SKILL])
def test_a_description_is_200_to_400_characters_in_the_third_person(path: str) -> None:
    description = page(path).head["description"]
    assert 200 <= len(description) <= 400
    assert "Use " in description
    assert "Not for " in description
    assert not re.search(r"\b(I|you|your|we)\b", description, re.IGNORECASE)


def test_the_skill_uses_fields_of_the_specification_only() -> None:
    head = page(SKILL).head
    assert set(head) <= SPEC_FIELDS
    assert head["name"] == Path(SKILL).parent.name


def test_the_skill_has_150_to_250_lines() -> None:
    assert 150 <= len(page(SKILL).body.splitlines()) <= 250


def test_a_reference_is_short_and_links_no_further() -> None:
    """One link deep: a reference leads to assets and neighbours, never to a second level."""
    folder = ROOT / "skills/secrets-patterns/references"
    pages = sorted(folder.glob("*.md"))
    assert len(pages) == 8
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 120, path.name
        for target in links(text):
            assert re.fullmatch(r"\.\./assets/[\w./-]+|[\w-]+\.md", target), (path.name, target)
    assert not [path for path in folder.iterdir() if path.is_dir()]


def test_the_skill_leads_to_every_reference_and_asset() -> None:
    targets = set(links(page(SKILL).body))
    references = {f"references/{p.name}" for p in (ASSETS.parent / "references").glob("*.md")}
    assets = {
        path.relative_to(ASSETS.parent).as_posix()
        for pattern in ("*/*.j2", "*/*.py", "*/*.sh")
        for path in ASSETS.glob(pattern)
    }
    assert len(references) + len(assets) >= 18
    assert references | assets <= targets


def test_the_agent_has_tools_under_the_key_that_the_client_reads() -> None:
    head = page(AGENT).head
    assert sorted(tool_list(head, "tools")) == sorted(
        ["Read", "Grep", "Glob", "Skill", *(TOOL_PREFIX + tool for tool in TOOLS)]
    )
    assert not {"hooks", "mcpServers", "permissionMode"} & set(head)


def test_the_agent_is_given_the_skill() -> None:
    assert page(AGENT).head["skills"] == ["secret-management:secrets-patterns"]


def test_the_command_answers_to_its_bare_name_and_preapproves_reading_only() -> None:
    head = page(COMMAND).head
    assert head["name"] == "secrets"
    assert head["argument-hint"]
    allowed = tool_list(head, "allowed-tools")
    assert {name.removeprefix(TOOL_PREFIX) for name in allowed} == READ_ONLY
    assert all(name.startswith(TOOL_PREFIX) for name in allowed)


def test_the_name_of_the_command_is_taken_by_no_skill() -> None:
    names = [page(str(p.relative_to(ROOT))).head["name"] for p in ROOT.glob("skills/*/SKILL.md")]
    assert names
    assert "secrets" not in names


def test_the_command_leads_to_every_tool_and_is_thin() -> None:
    command = page(COMMAND)
    assert mentioned_tools(command.body) == set(TOOLS)
    assert len(command.body.splitlines()) <= 45
    assert "$ARGUMENTS" in command.body


def test_the_command_says_how_a_plan_is_applied_and_what_a_pasted_value_is() -> None:
    body = " ".join(page(COMMAND).body.split())
    assert "`secrets_apply` with `plan`, `change` and `affects` exactly as returned" in body
    assert "Never ask for a value and never accept one in the chat" in body
    assert "it is now in the transcript and has to be treated as exposed" in body


def test_every_tool_that_is_mentioned_exists() -> None:
    mentioned = {
        tool for path in steering_pages() for tool in mentioned_tools(path.read_text("utf-8"))
    }
    assert mentioned == set(TOOLS)


def test_every_link_resolves() -> None:
    pages = [*steering_pages(), *(ROOT / name for name in REPOSITORY_PAGES)]
    count = 0
    for path in pages:
        text = path.read_text(encoding="utf-8")
        count += len(links(text))
        assert broken_links(path, text) == [], path
    assert count > 30


@pytest.mark.parametrize("path", steering_pages(), ids=lambda path: path.name)
def test_no_command_prints_a_value(path: Path) -> None:
    assert value_printing_commands(path.read_text(encoding="utf-8")) == []


def test_no_asset_prints_a_value() -> None:
    texts = {p: p.read_text("utf-8") for p in ASSETS.rglob("*") if p.is_file()}
    assert len(texts) > 20
    assert {p: found for p, text in texts.items() if (found := value_printing_commands(text))} == {}


@pytest.mark.parametrize("rule", range(1, 6))
def test_each_security_rule_names_its_mechanism_or_says_advice(rule: int) -> None:
    section = page(SKILL).body.split("## Five rules")[1].split("\n## ")[0]
    items = re.split(r"^\d\. ", section, flags=re.MULTILINE)[1:]
    assert len(items) == 5
    assert re.search(r"\*(mechanism|advice):\* ", items[rule - 1])


def test_a_mechanism_names_what_enforces_it() -> None:
    """A tool, a command, the journal or the policy."""
    section = page(SKILL).body.split("## Five rules")[1].split("\n## ")[0]
    mechanisms = re.findall(r"\*mechanism:\* (.*?)(?=\*advice|\n\d\. |\Z)", section, re.DOTALL)
    assert len(mechanisms) == 3
    for text in mechanisms:
        assert re.search(r"`secrets[_ ]\w+|journal|policy", text), text


PRINTING = [
    "kubectl get secret app -n production -o jsonpath='{.data.password}'",
    "kubectl get secrets app --output yaml",
    "kubectl run check --image=postgres -- psql $URL",
    "vault kv get -field=password secret/app",
    "bao kv get secret/app",
    "vault read database/creds/app-readwrite",
    'vault kv put secret/production/myapp api_key="value"',
    "vault lease revoke -prefix database/creds/app",
    "vault list auth/token/accessors | xargs -n1 vault token lookup -accessor",
    "aws secretsmanager get-secret-value --secret-id app | jq .",
    "aws ssm get-parameter --name /app/db --with-decryption",
    "kubectl create secret generic app --from-literal=a=b",
    "aws secretsmanager put-secret-value --secret-string hunter2",
    "sops -d secrets.yaml",
    "sops decrypt secrets.yaml",
    "echo $X | base64 -d",
    "printenv DB_PASSWORD",
    "cat config/.env",
    "gitleaks detect --source=. --verbose",
    "postgresql://$NEW_USER:$NEW_PASS@db/app",
]


@pytest.mark.parametrize("command", PRINTING)
def test_a_command_that_prints_a_value_is_seen(command: str) -> None:
    assert value_printing_commands(f"Run `{command}` and look.") != []


@pytest.mark.parametrize(
    "command",
    [
        "kubectl get secret app",
        "vault kv metadata get secret/app",
        "vault kv put secret/app api_key=@/run/user/1000/api_key",
        "secrets run --env A=local://app#a -- ./start",
        "kubeseal --raw --from-file=/dev/stdin",
    ],
)
def test_a_command_that_prints_no_value_is_left_alone(command: str) -> None:
    assert value_printing_commands(command) == []


def test_a_broken_link_is_seen() -> None:
    path = ROOT / SKILL
    text = (
        "[a](references/vault.md) [b](references/none.md) [c](#nowhere) [d](../../../../etc/hosts)"
    )
    assert broken_links(path, text) == ["references/none.md", "#nowhere", "../../../../etc/hosts"]


def test_the_wrong_tools_key_is_seen() -> None:
    with pytest.raises(AssertionError, match="allowed-tools is ignored here"):
        tool_list({"tools": "Read", "allowed-tools": "Bash"}, "tools")
    with pytest.raises(KeyError):
        tool_list({}, "tools")
