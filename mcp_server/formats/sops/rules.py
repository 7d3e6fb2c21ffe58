"""Which values of a document are encrypted.

A file names at most one of six rules; without one, keys that end in ``_unencrypted`` and all
below them stay clear. A rule looks at every map key of a value's path, so a match on a parent
covers the subtree. Source: ``shouldBeEncrypted`` in ``sops.go`` of getsops/sops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from mcp_server.core.errors import CorruptError, UnsupportedError

__all__ = ["DEFAULT_RULE", "Rule", "RuleKind"]

_MAX_PATTERN: Final = 1000


class RuleKind(StrEnum):
    """The six rules, by their names in the ``sops`` map."""

    UNENCRYPTED_SUFFIX = "unencrypted_suffix"
    ENCRYPTED_SUFFIX = "encrypted_suffix"
    UNENCRYPTED_REGEX = "unencrypted_regex"
    ENCRYPTED_REGEX = "encrypted_regex"
    UNENCRYPTED_COMMENT_REGEX = "unencrypted_comment_regex"
    ENCRYPTED_COMMENT_REGEX = "encrypted_comment_regex"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule and its argument.

    The comment rules match comments above a value; a format without comments (JSON) has none
    to match, so they encrypt everything or nothing.
    """

    kind: RuleKind
    argument: str

    @classmethod
    def named_in(cls, metadata: Mapping[str, str]) -> Rule:
        """Find the rule among the text entries of a ``sops`` map.

        Raises:
            CorruptError: More than one rule; nobody could say what is encrypted.
        """
        rules = [cls(kind, metadata[kind]) for kind in RuleKind if metadata.get(kind)]
        if len(rules) > 1:
            raise CorruptError("The document names more than one rule of what is encrypted.")
        return rules[0] if rules else DEFAULT_RULE

    def encrypts(self, keys: Iterable[str]) -> bool:
        """Say whether the value below these map keys is encrypted.

        Raises:
            CorruptError: The rule's pattern is not valid.
            UnsupportedError: The rule has a pattern and RE2 is not installed.
        """
        match self.kind:
            case RuleKind.UNENCRYPTED_SUFFIX:
                return not any(key.endswith(self.argument) for key in keys)
            case RuleKind.ENCRYPTED_SUFFIX:
                return any(key.endswith(self.argument) for key in keys)
            case RuleKind.UNENCRYPTED_REGEX:
                return not any(map(_matcher(self.argument), keys))
            case RuleKind.ENCRYPTED_REGEX:
                return any(map(_matcher(self.argument), keys))
        return self.kind is RuleKind.UNENCRYPTED_COMMENT_REGEX


DEFAULT_RULE: Final = Rule(RuleKind.UNENCRYPTED_SUFFIX, "_unencrypted")


@lru_cache(maxsize=32)
def _matcher(pattern: str) -> Callable[[str], bool]:
    """Compile a pattern with RE2.

    Python's ``re`` differs from Go's (``$`` before a newline, no POSIX classes) and takes
    exponential time on a hostile pattern; RE2 is the same language and linear.
    """
    try:
        import re2  # type: ignore[import-untyped]  # noqa: PLC0415 - untyped; optional, rarely used
    except ImportError:
        raise UnsupportedError(
            "The document chooses what is encrypted by a pattern, which needs RE2.",
            next_step="Install the Python package google-re2.",
        ) from None
    options = re2.Options()
    options.log_errors = False
    if len(pattern) > _MAX_PATTERN:
        raise CorruptError("The document's encryption pattern is too long.")
    try:
        compiled = re2.compile(pattern, options)
    except re2.error:
        raise CorruptError("The document's encryption pattern is not valid.") from None
    return lambda key: compiled.search(key) is not None
