"""What a name means and how the thing it names stands now.

A reference becomes a store and its canonical form; a thing that a plan looked at becomes a stamp
that is another one as soon as the thing changed. Reads no value.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from mcp_server.core.config import Config
from mcp_server.core.errors import InputError, PolicyDeniedError, SourceError
from mcp_server.core.model import Act, Description, Verb
from mcp_server.core.plans import Seen
from mcp_server.core.policy import Decision
from mcp_server.core.ports import Store, Stores, StoreSettings
from mcp_server.core.refs import Ref
from mcp_server.core.sources import file_stamp

__all__ = ["Resolver"]


class Resolver:
    """Names in terms of one configuration.

    Args:
        config: Short names, source rules and policy.
        stores: The stores.
    """

    def __init__(self, config: Config, stores: Stores) -> None:
        self._config = config
        self._stores = stores

    def resolve(self, text: str) -> tuple[Store, Ref]:
        """The store and the canonical reference that a text (or a repository's ``@name``) means."""
        ref = self._named(text)
        store = self._stores.open(ref)
        return store, store.resolve(ref)

    def resolve_prefix(self, text: str) -> tuple[Store, Ref]:
        """The same for a prefix."""
        ref = Ref.parse_prefix(text)
        store = self._stores.open(ref)
        return store, store.resolve(ref)

    def permit(self, ref: Ref, *verbs: Verb) -> None:
        """Refuse before the store is asked, so that a denial does not tell what is there.

        Raises:
            PolicyDeniedError: Policy denies each of the verbs.
        """
        verdicts = [self._config.policy.decide([(verb, ref.secret)]) for verb in verbs]
        if all(verdict.decision is Decision.DENY for verdict in verdicts):
            raise PolicyDeniedError(f"Policy denies this ({verdicts[0].reason}).")

    def seen(self, store: Store, found: Description) -> tuple[Seen, ...]:
        """Stamps of the store's settings and of a secret in it."""
        settings = Seen(
            f"store:{found.ref.scheme}:{store.settings.name}", _settings_stamp(store.settings)
        )
        return (settings, Seen(f"ref:{found.ref}", _stamp(found)))

    def now(self, what: str, act: Act) -> str | None:
        """The present stamp of what a plan has seen; ``None`` for a file that is gone."""
        kind, _, rest = what.partition(":")
        if kind == "ref":
            store, ref = self.resolve(rest)
            return _stamp(store.describe(ref, act))
        if kind == "store":
            scheme, _, name = rest.partition(":")
            return _settings_stamp(self._stores.open(Ref(scheme, "", store=name)).settings)
        try:
            return file_stamp(self._config.sources.check(rest) if kind == "file" else Path(rest))
        except SourceError:
            return None

    def _named(self, text: str) -> Ref:
        if not text.startswith("@"):
            return Ref.parse(text)
        ref = self._config.names.get(text[1:])
        if ref is None:
            raise InputError("The repository's .secrets.yaml has no such name.")
        return ref


def _settings_stamp(settings: StoreSettings) -> str:
    """Identity of a store's settings, so that a plan is bound to the address it was made for."""
    text = json.dumps(
        [settings.name, settings.backend, dict(settings.options)], default=str, sort_keys=True
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _stamp(found: Description) -> str:
    """What must not change between plan and apply: state, version and revision."""
    return f"{found.state.value}/{found.version or '-'}/{found.revision or '-'}"
