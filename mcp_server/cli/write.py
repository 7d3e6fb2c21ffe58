"""``secrets write``."""

from __future__ import annotations

from argparse import Namespace

from mcp_server.cli import consent, show
from mcp_server.cli.arguments import Parser
from mcp_server.cli.console import opened
from mcp_server.cli.failures import NEEDS_APPROVAL, UsageError
from mcp_server.cli.source_syntax import SOURCES_HELP, key_request
from mcp_server.core.requests import WriteRequest
from mcp_server.core.sinks import RUNTIME_SCHEME
from mcp_server.core.sources import FileFormat

__all__ = ["run"]


def run(arguments: list[str]) -> int:
    """Plan a change; do it where policy, a grant or the person here allows it."""
    options = _options(arguments)
    request = _request(options)
    with opened(options) as (engine, console):
        receipt = consent.applied(engine.broker, engine.broker.write(request))
        console.receipt(receipt, show.change)
    return NEEDS_APPROVAL if receipt.state == "planned" else 0


def _options(arguments: list[str]) -> Namespace:
    parser = Parser("write", "Make or change a secret. No value is typed.", SOURCES_HELP)
    parser.add_argument("target", help="scheme://path, scheme://path#key or @name")
    parser.add_argument("keys", nargs="*", metavar="KEY=SOURCE", help="see sources below")
    parser.add_argument("--from-file", metavar="PATH", help="every key of a file")
    parser.add_argument(
        "--format", choices=list(FileFormat), default=FileFormat.AUTO, help="of that file"
    )
    parser.add_argument("--copy-from", metavar="REF", help="every key of another secret")
    parser.add_argument("--remove", metavar="KEY", action="append", default=[], help="drop one key")
    parser.add_argument("--replace", action="store_true", help="drop every key not named here")
    parser.add_argument("--owner", help="who is responsible for it")
    parser.add_argument("--schedule", help="when it is rotated")
    parser.add_argument("--consumer", action="append", default=[], help="who uses it")
    return parser.parse_intermixed_args(arguments)


def _request(options: Namespace) -> WriteRequest:
    if options.target.startswith(f"{RUNTIME_SCHEME}://"):
        raise UsageError(
            "A runtime file lives as long as its session, which here is this one command.",
            next_step="Use the value: secrets run --env NAME=REF -- COMMAND.",
        )
    return WriteRequest(
        options.target,
        tuple(key_request(text, options.target) for text in options.keys),
        options.from_file,
        FileFormat(options.format),
        options.copy_from,
        tuple(options.remove),
        replace=options.replace,
        owner=options.owner,
        schedule=options.schedule,
        consumers=tuple(options.consumer),
    )
