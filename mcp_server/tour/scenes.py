"""What happens on the tour, scene by scene, and the search of what the model saw."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from mcp_server.core.guard import Guard
from mcp_server.tour.person import Person
from mcp_server.tour.stage import Stage
from mcp_server.tour.telling import Telling, compact

__all__ = ["play", "search"]

APP = "local://shop/app"
COPY = "vault://secret/shop/app"
_PLANNED = ("plan", "change", "affects")


class Model:
    """The model's side: calls tools, runs commands, and remembers all that it saw.

    Args:
        client: Connected to the server.
        stage: For commands.
        telling: Shows both.
    """

    def __init__(self, client: Client, stage: Stage, telling: Telling) -> None:
        self._client = client
        self._stage = stage
        self._telling = telling
        self.saw: list[str] = []

    async def call(self, tool: str, **arguments: object) -> dict[str, object]:
        """Call a tool; its structured content, or its refusal as ``{"refused": …}``."""
        self._note("model", f"{tool} {compact(arguments)}")
        result = await self._client.call_tool(tool, arguments)
        if result.is_error:
            text = " ".join(getattr(block, "text", "") for block in result.content)
            self._note("server", text)
            return {"refused": text}
        content = dict(result.structured_content or {})
        self._note("server", compact({k: v for k, v in content.items() if v not in (None, [], {})}))
        return content

    async def apply(self, receipt: Mapping[str, object]) -> dict[str, object]:
        """Ask for the plan of a receipt to be carried out."""
        return await self.call("secrets_apply", **{name: receipt[name] for name in _PLANNED})

    def run(self, *arguments: str, told: bool = True) -> str:
        """Run a ``secrets`` command in the assistant's shell; what it printed."""
        self._note("model", f"$ secrets {shlex.join(arguments)}")
        printed = self._stage.secrets(*arguments).output
        self._note("shell", printed.rstrip("\n"), told=told)
        return printed

    def _note(self, who: str, text: str, *, told: bool = True) -> None:
        self.saw += [f"{who:<7} {line}" for line in text.splitlines()]
        if told:
            self._telling.said(who, text)


async def play(stage: Stage, telling: Telling, person: Person) -> bool:
    """All scenes; whether everything went as told and no value was seen."""
    telling.chapter("A real OpenBao starts, and the server, as the assistant starts it")
    with stage.openbao() as version:
        telling.note(f"OpenBao {version} on loopback, with a token that may only use secret/*.")
        command, arguments = stage.server
        parameters = StdioServerParameters(
            command=command, args=arguments, env=stage.environment, cwd=stage.project
        )
        async with Client(stdio_client(parameters), elicitation_callback=person) as client:
            model = Model(client, stage, telling)
            done = await _scenes(model, stage, telling, person)
    return search(model.saw, stage, telling) and done


async def _scenes(model: Model, stage: Stage, telling: Telling, person: Person) -> bool:
    telling.chapter("A secret is generated: made inside the server, never shown")
    keys = [{"key": "DB_PASSWORD", "generate": "password"}]
    made = await model.call("secrets_write", target=APP, keys=keys, owner="shop team")

    telling.chapter("A plaintext .env is imported by its path; policy lets a person decide")
    person.will_say(yes=True)
    imported = await model.apply(await model.call("secrets_write", target=APP, from_file=".env"))

    telling.chapter("It is described: names, versions, owner")
    described = await model.call("secrets_read", ref=APP)

    telling.chapter("A command uses the values; what it prints is filtered")
    ran = await _use(model, stage, person)

    telling.chapter("It is copied to OpenBao: refused once, and nothing happens")
    plan = await model.call("secrets_write", target=COPY, copy_from=APP)
    person.will_say(yes=False)
    refused = await model.apply(plan)
    absent = await model.call("secrets_read", ref=COPY)

    telling.chapter("Asked again, it is approved, and done")
    person.will_say(yes=True)
    copied = await model.apply(await model.call("secrets_write", target=COPY, copy_from=APP))
    there = await model.call("secrets_read", ref=COPY)

    telling.chapter("The journal knows who did what, and by what right")
    for line in model.run("journal", "-n", "6", told=False).splitlines():
        telling.said("journal", _entry(json.loads(line)))

    results = {
        "generated": made.get("state") == "done",
        "imported": imported.get("state") == "done",
        "described": len(_keys(described)) == 1 + len(stage.imported),
        "used in a command, masked in its output": ran,
        "refused": "DECLINED" in str(refused.get("refused")) and absent.get("state") == "absent",
        "approved and copied": copied.get("state") == "done" and _keys(there) == _keys(described),
    }
    telling.chapter("Did everything happen?")
    for what, good in results.items():
        telling.verdict(what, good=good)
    return all(results.values())


async def _use(model: Model, stage: Stage, person: Person) -> bool:
    """A command that prints a value and keeps it: the print is masked, the file is the proof."""
    kept = stage.folder / "seen-by-the-child"
    script = (
        f'umask 077; printf %s "$DB_PASSWORD" > {shlex.quote(str(kept))}; '
        'echo "it is: $DB_PASSWORD"'
    )
    use = ("run", "--env", f"DB_PASSWORD={APP}#DB_PASSWORD", "--", "sh", "-c", script)
    plan = json.loads(model.run(*use))
    person.will_say(yes=True)
    await model.apply(plan)
    printed = model.run("run", "--plan", str(plan["plan"]))
    return "it is: [secret]" in printed and bool(_content(kept))


def search(saw: list[str], stage: Stage, telling: Telling) -> bool:
    """No value, plain or encoded, in the transcript; and the search does find a planted one."""
    telling.chapter("The transcript of what the model saw")
    telling.transcript(saw)
    telling.chapter("Is there a value in it?")
    generated = _content(stage.folder / "seen-by-the-child")
    values = [*stage.imported.values(), *([generated] if generated else [])]
    text = "\n".join(saw)
    clean = not _finds(text, values)
    telling.verdict(
        f"none of {len(values)} values, plain or encoded, in {len(text):,} characters", good=clean
    )
    planted = [
        _finds(f"{text}\n{plant}", values)
        for value in values
        for plant in (value, base64.b64encode(value.encode()).decode(), value[::-1])
    ]
    telling.verdict(
        f"the same search finds each of {len(planted)} planted leaks", good=all(planted)
    )
    return clean and bool(generated) and all(planted)


def _finds(text: str, values: list[str]) -> bool:
    guard = Guard()
    registered = [guard.register(value.encode()) for value in values]
    return not all(registered) or guard.check(text.encode()).blocked


def _entry(record: Mapping[str, object]) -> str:
    """One line of the journal, for people."""
    words = [str(record.get(name) or "") for name in ("kind", "verb", "ref", "channel")]
    return "{:<8} {:<7} {:<28} {}".format(*words)


def _keys(receipt: Mapping[str, object]) -> list[str]:
    keys = receipt.get("keys")
    return sorted(keys) if isinstance(keys, list) else []


def _content(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
