"""The ``secrets`` command line: the same engine as the tools, for people, scripts and CI.

Exit status of every verb:

====  ===========================================================================
0     done
1     refused or failed; the code and the next step are on standard error
2     the command line or a name in it is not right; nothing was contacted
3     a person has to approve first: the plan is on standard output, nothing was done
130   interrupted
====  ===========================================================================

``secrets run`` gives the status of its command once that has started (128 + N when signal N ended
it), 126 or 127 when it could not be started or found.

No option and no argument takes a value, and nothing that was typed is echoed in an error.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Final

from mcp_server import __version__

__all__ = ["main"]

_VERBS: Final = {
    "init": "write the configuration, from what this machine has",
    "status": "stores, who we are there, what is missing, what waits",
    "list": "names below a prefix",
    "read": "describe a secret: keys, versions, age, owner; never its value",
    "write": "make or change a secret: generate, copy, import a file or variable",
    "delete": "remove, restore or destroy",
    "apply": "approve a plan that waits (no PLAN: list them)",
    "run": "give a command its secrets, and mask them in what it prints",
    "journal": "what was done here, by whom and by what right",
    "serve": "serve MCP on standard input and output",
}
_OTHER_WORDS: Final = {
    "ls": "list",
    "get": "read",
    "show": "read",
    "set": "write",
    "rm": "delete",
    "restore": "delete --mode restore",
}
_INTERRUPTED: Final = 130
_BROKEN_PIPE: Final = 141


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return the exit status.

    Args:
        arguments: Without the program's name; ``sys.argv`` when omitted.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if not given or given[0] in {"-h", "--help", "help"}:
        print(_overview())
        return 0 if given else 2
    if given[0] == "--version":
        print(f"secrets {__version__}")
        return 0
    return _run(given[0], given[1:])


def _overview() -> str:
    verbs = "\n".join(f"  {name:<9} {what}" for name, what in _VERBS.items())
    return (
        "usage: secrets VERB ...\n\n"
        "Operate secret stores without seeing or typing a value.\n\n"
        f"{verbs}\n\n"
        "A secret is named scheme://path#key, for example local://app/db#password.\n"
        "`secrets VERB --help` tells more; --json gives receipts as JSON, as does a pipe.\n"
        "Status: 0 done, 1 refused or failed, 2 not understood, 3 a person must approve."
    )


def _run(verb: str, arguments: list[str]) -> int:
    # Only now: `secrets --help` needs nothing but this file.
    from mcp_server.cli import failures  # noqa: PLC0415 - as said
    from mcp_server.core.process import harden  # noqa: PLC0415 - as said

    try:
        harden()
        status = _verb(verb)(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the boundary: nothing foreign is shown
        return failures.show(error)
    return status


def _verb(name: str) -> Callable[[list[str]], int]:
    from mcp_server.cli.failures import UsageError  # noqa: PLC0415 - not for `secrets --help`

    if name not in _VERBS:
        import difflib  # noqa: PLC0415 - for a slip only

        close = difflib.get_close_matches(name, [*_VERBS, *_OTHER_WORDS], n=1)
        meant = "".join(_OTHER_WORDS.get(word, word) for word in close)
        hint = f"Did you mean `secrets {meant}`? " if meant else ""
        raise UsageError("There is no such verb.", next_step=f"{hint}See `secrets --help`.")
    run: Callable[[list[str]], int] = importlib.import_module(f"mcp_server.cli.{name}").run
    return run
