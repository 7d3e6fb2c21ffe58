"""Where things lie: the XDG base directories (freedesktop.org), looked up when asked.

Configuration, state, data and runtime folders are the user's own; the project folder is where
the assistant works. Nothing is created here.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = [
    "config_file",
    "data_folder",
    "incident_log",
    "project_folder",
    "runtime_root",
    "state_folder",
]

SYSTEM_POLICY = Path("/etc/secret-management/policy.yaml")
_NAME = "secret-management"


def config_file() -> Path:
    """The operator's configuration, ``$XDG_CONFIG_HOME/secret-management/config.yaml``."""
    return _base("XDG_CONFIG_HOME", ".config") / _NAME / "config.yaml"


def state_folder() -> Path:
    """Journal and plans, ``$XDG_STATE_HOME/secret-management``."""
    return _base("XDG_STATE_HOME", ".local/state") / _NAME


def incident_log() -> Path:
    """Where an incident id is explained, ``$XDG_STATE_HOME/secret-management/incidents.log``."""
    return state_folder() / "incidents.log"


def data_folder() -> Path:
    """The embedded store, ``$XDG_DATA_HOME/secret-management``."""
    return _base("XDG_DATA_HOME", ".local/share") / _NAME


def runtime_root() -> Path:
    """Parent of the per-session runtime folders; a private folder in /tmp without XDG."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / _NAME
    return Path("/tmp") / f"{_NAME}-{os.getuid()}"  # noqa: S108 - checked for its owner and mode


def project_folder() -> Path:
    """The project: what the client named, else the working directory."""
    return Path(os.environ.get("SECRET_MANAGEMENT_PROJECT") or Path.cwd()).resolve()


def _base(variable: str, default: str) -> Path:
    value = os.environ.get(variable)
    return Path(value) if value and Path(value).is_absolute() else Path.home() / default
