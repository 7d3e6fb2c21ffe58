"""Puts one session together: configuration, journal, guard, stores, broker.

The one place that knows all the parts. Starting contacts nothing, creates nothing on disk and
imports no vendor library (promise P7).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from mcp_server.backends.stores import ConfiguredStores
from mcp_server.core import config, places
from mcp_server.core.broker import Broker
from mcp_server.core.guard import Guard
from mcp_server.core.journal import Journal
from mcp_server.core.plans import PlanStore
from mcp_server.core.ports import Session
from mcp_server.core.sealed import on_public, on_seal
from mcp_server.core.sinks import RuntimeFolder

__all__ = ["Engine", "start"]


@dataclass(frozen=True, slots=True)
class Engine:
    """The running parts of one process."""

    broker: Broker
    stores: ConfiguredStores
    guard: Guard
    runtime: RuntimeFolder

    def stop(self) -> None:
        """Close the stores and remove the session's runtime files."""
        self.stores.close()
        self.runtime.clear()


def start(project: Path | None = None) -> Engine:
    """Read the configuration and build the session's engine.

    Args:
        project: The project folder; the client's, or the working directory, when omitted.

    Raises:
        ConfigError: A configuration file is wrong.
    """
    guard = Guard()
    on_seal(guard.register)
    on_public(guard.declare_public)
    found = config.load(
        places.SYSTEM_POLICY, places.config_file(), project or places.project_folder()
    )
    state = places.state_folder()
    session = Session(f"s-{secrets.token_hex(6)}", Journal(state / "journal.jsonl"))
    stores = ConfiguredStores(found, session)
    runtime = RuntimeFolder(places.runtime_root(), session.id)
    plans = PlanStore(state / "plans", session.clock)
    return Engine(Broker(found, stores, session, plans, runtime), stores, guard, runtime)
