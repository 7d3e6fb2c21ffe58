"""This process made hard to look into, and the environment that its children get.

``harden`` keeps a value out of a core file and out of the reach of other programs' debuggers
(prctl(2), PR_SET_DUMPABLE; core(5)). The limit on core files is inherited by children.

A child never gets the logins of the assistant, of this program and of store clients. Whoever sets
the variables in ``steers`` decides what a program loads or starts, so nobody may bind one, and a
child that no person started does not inherit any.
"""

from __future__ import annotations

import os
import pwd
import re
import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

__all__ = [
    "ASSISTANT_MARKS",
    "harden",
    "inherited",
    "is_variable",
    "minimal",
    "steers",
    "unsteered",
]

ASSISTANT_MARKS: Final = frozenset(
    {"CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT", "AI_AGENT", "CURSOR_AGENT", "GEMINI_CLI"}
    | {"CODEX_SANDBOX", "CODEX_THREAD_ID", "CODEX_CI", "OPENCODE", "CLINE_ACTIVE"}
)
"""Set by assistants in what they start, by none in a person's own terminal (code.claude.com
/docs/en/env-vars for ``CLAUDECODE``; vercel/vercel, ``packages/detect-agent``, for others)."""

_LOGINS: Final = re.compile(
    r"(?:ANTHROPIC|CLAUDE|OPENAI|MCP|SECRET_MANAGEMENT)(?:_.*)?"
    r"|(?:VAULT|BAO)_(?:TOKEN|ROLE_ID|SECRET_ID|CLIENT_KEY|WRAP_INFO)"
    r"|AWS_(?:ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|SECURITY_TOKEN|WEB_IDENTITY_TOKEN_FILE"
    r"|CONTAINER_(?:AUTHORIZATION_TOKEN(?:_FILE)?|CREDENTIALS_(?:FULL|RELATIVE)_URI))"
    r"|SOPS_AGE_KEY(?:_FILE|_CMD)?"
)
_STEERING: Final = re.compile(
    r"LD_.*|DYLD_.*|PYTHON.*|BASH_FUNC_.*|GIT_CONFIG.*|(?i:NPM_CONFIG_.*)"
    r"|PATH|IFS|BASH_ENV|BASHOPTS|SHELLOPTS|PS4|PROMPT_COMMAND|ZDOTDIR|CDPATH|HOME|SHELL"
    r"|NODE_(?:OPTIONS|PATH|EXTRA_CA_CERTS)|PERL5?(?:LIB|OPT|DB)|RUBY(?:LIB|OPT)"
    r"|(?:_JAVA|JAVA_TOOL|JDK_JAVA)_OPTIONS|CLASSPATH|GCONV_PATH|OPENSSL_(?:CONF|MODULES|ENGINES)"
    r"|GIT_(?:SSH|SSH_COMMAND|ASKPASS|EXEC_PATH|EDITOR|PAGER|EXTERNAL_DIFF|PROXY_COMMAND)"
    r"|GIT_TEMPLATE_DIR|(?:SSH|SUDO)_ASKPASS|EDITOR|VISUAL|PAGER|BROWSER|LESSOPEN|LESSCLOSE"
)
# Where a program connects and whom it believes; an env file may say so, a mere starter may not.
_DIRECTING: Final = re.compile(
    r"(?i:(?:HTTPS?|ALL|FTP|NO)_PROXY)|PG[A-Z_]+|MYSQL_.*|REDISCLI_.*|CURL_.*|REQUESTS_CA_BUNDLE"
    r"|SSL_.*|SSLKEYLOGFILE|KUBECONFIG|DOCKER_.*|XDG_(?:CONFIG|DATA)_.*|TF_.*|ANSIBLE_.*|GIT_.*"
    r"|(?:VAULT|BAO)_.*|AWS_(?:CONFIG_FILE|CA_BUNDLE|SHARED_CREDENTIALS_FILE|ENDPOINT_URL.*)"
    r"|MAKEFLAGS|GOFLAGS|GOPROXY|CARGO_.*|RUSTC.*|CC|CXX|LD|PHPRC|LUA_.*|BUNDLE_.*|GEM_.*|TMPDIR"
)
_MINIMAL: Final = re.compile(r"LANG|LC_[A-Z]+|TZ|TERM")
_PLAIN_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_PR_SET_DUMPABLE: Final = 4


def harden() -> None:
    """No core files from here on; on Linux no debugger and no ``/proc/PID/mem`` either."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - Linux only

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def is_variable(name: str) -> bool:
    """Whether it can be the name of an environment variable."""
    return _VARIABLE.fullmatch(name) is not None


def steers(name: str) -> bool:
    """Whether the variable decides what a program loads, starts or takes as its settings."""
    return _STEERING.fullmatch(name) is not None


def inherited(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a child of a person gets: everything but logins. The assistant's marks stay."""
    return {
        name: value
        for name, value in environment.items()
        if name in ASSISTANT_MARKS or not _LOGINS.fullmatch(name)
    }


def unsteered(executable: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a child gets that a person allowed but somebody else starts.

    Args:
        executable: Absolute; its folder is on the child's path, where interpreters of installed
            scripts lie beside them (``#!/usr/bin/env node``).
        environment: Of whoever starts it.
    """
    kept = {
        name: value
        for name, value in inherited(environment).items()
        if not (steers(name) or _DIRECTING.fullmatch(name))
    }
    return {**kept, "PATH": f"{os.path.dirname(executable)}:{_PLAIN_PATH}", **_account()}  # noqa: PTH120 - keeps dots


def minimal(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the child of a standing profile gets: nothing by which its starter could direct it.

    In a container the user may have no entry in the password database, and so no home.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if name in ASSISTANT_MARKS or _MINIMAL.fullmatch(name)
    }
    return {**kept, "PATH": _PLAIN_PATH, **_account()}


def _account() -> dict[str, str]:
    with suppress(KeyError):
        user = pwd.getpwuid(os.getuid())
        return {"HOME": user.pw_dir, "USER": user.pw_name}
    return {}
