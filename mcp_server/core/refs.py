"""References: the names of secrets, shaped like URIs (RFC 3986, query before fragment).

::

    scheme://path?version=3&store=eu#key
    local://app/db#password            vault://secret/app/db?version=3#password
    aws-sm://NAME?stage=AWSCURRENT     sops://file.yaml#/db/password

The fragment is a literal key; one that starts with ``/`` is a JSON pointer (RFC 6901). The
query knows ``version``, ``stage`` and ``store``, nothing else: no address, region or role can
be named in a reference. Everything is checked here before any request: ``.``, ``..`` and empty
segments, encoded slashes, control, bidirectional and zero-width characters, over-long parts.

The ``ref+SCHEME://`` forms of vals (github.com/helmfile/vals) are read for the stores we have;
its ``exec``, ``file``, ``envsubst`` and ``echo`` providers are not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote_to_bytes

from mcp_server.core.errors import BadReferenceError
from mcp_server.core.pointers import steps_of
from mcp_server.core.text import is_plain

__all__ = ["MAX_REFERENCE", "Ref"]

MAX_REFERENCE = 1024
_MAX_SEGMENT = 255
_MAX_KEY = 512
_MAX_OPTION = 64
_PARTS = re.compile(
    r"(?P<scheme>[a-z][a-z0-9-]{0,30})://(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<key>.*))?",
    re.DOTALL,
)
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ENCODED_SEPARATOR = re.compile(r"%(?:25)*(?:2f|5c)", re.IGNORECASE)
_OPTION = re.compile(r"[A-Za-z0-9._:-]+")
_OPTIONS = frozenset({"version", "stage", "store"})
_VALS_SCHEMES = {
    "vault": "vault",
    "awssecrets": "aws-sm",
    "awsssm": "aws-ssm",
    "sops": "sops",
}
_SAFE_IN_PATH = "/!$&'()*+,;=:@~"


@dataclass(frozen=True, slots=True)
class Ref:
    """One secret, one key of it, one version of it, or (a prefix) a folder of secrets.

    Attributes:
        scheme: Lower case, decides the backend.
        path: Decoded, segments joined by ``/``; a leading slash is kept.
        key: Decoded fragment; a JSON pointer when it starts with ``/``.
        version: The store's own version name.
        stage: A stage label (AWS).
        store: Name of a configured instance; ``None`` means the scheme's default.
    """

    scheme: str
    path: str
    key: str | None = None
    version: str | None = None
    stage: str | None = None
    store: str | None = None

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Read the reference of one secret.

        Raises:
            BadReferenceError: The text does not follow the grammar. The text is not echoed.
        """
        ref = cls._read(text)
        if not ref.path:
            raise BadReferenceError("The reference has no path.")
        _check_segments(ref.path)
        return ref

    @classmethod
    def parse_prefix(cls, text: str) -> Ref:
        """Read the reference of a folder: an empty path or a trailing slash is allowed."""
        ref = cls._read(text)
        if ref.key is not None or ref.version or ref.stage:
            raise BadReferenceError("A prefix takes no key, version or stage.")
        path = ref.path.removesuffix("/")
        if path:
            _check_segments(path)
        return replace(ref, path=path)

    @classmethod
    def _read(cls, text: str) -> Ref:
        if len(text) > MAX_REFERENCE:
            raise BadReferenceError(f"A reference has at most {MAX_REFERENCE} characters.")
        if not is_plain(text) or "\\" in text:
            raise BadReferenceError("A reference has no control, hidden or backslash characters.")
        match = _PARTS.fullmatch(_without_vals_prefix(text))
        if match is None:
            raise BadReferenceError("A reference starts with a scheme, for example local://.")
        key = match["key"]
        ref = cls(
            match["scheme"],
            _decode_path(match["path"]),
            None if key is None else _decode_key(key),
            **_read_options(match["query"]),
        )
        if len(str(ref)) > MAX_REFERENCE:
            raise BadReferenceError(f"A reference has at most {MAX_REFERENCE} characters encoded.")
        return ref

    @property
    def secret(self) -> Ref:
        """The whole secret: without key, version and stage."""
        return Ref(self.scheme, self.path, store=self.store)

    @property
    def pointer(self) -> tuple[str, ...]:
        """The way to the value: one literal key, or the steps of a JSON pointer."""
        if self.key is None:
            return ()
        if not self.key.startswith("/"):
            return (self.key,)
        return steps_of(self.key)

    @property
    def address(self) -> str:
        """``scheme://path``, the form that policy patterns match."""
        return f"{self.scheme}://{quote(self.path, safe=_SAFE_IN_PATH)}"

    def __str__(self) -> str:
        options = [
            f"{name}={value}"
            for name in ("version", "stage", "store")
            if (value := getattr(self, name)) is not None
        ]
        query = "?" + "&".join(options) if options else ""
        fragment = "" if self.key is None else "#" + quote(self.key, safe=_SAFE_IN_PATH + "?")
        return f"{self.address}{query}{fragment}"

    def child(self, name: str) -> Ref:
        """The reference of ``name`` below this prefix."""
        path = f"{self.path}/{name}" if self.path else name
        return Ref(self.scheme, path, self.key, self.version, self.stage, self.store)


def _without_vals_prefix(text: str) -> str:
    if not text.startswith("ref+"):
        return text
    scheme, separator, rest = text.removeprefix("ref+").partition("://")
    if not separator or scheme not in _VALS_SCHEMES:
        raise BadReferenceError("This ref+ provider is not supported.")
    return f"{_VALS_SCHEMES[scheme]}://{rest}"


def _decode(text: str) -> str:
    if _BAD_PERCENT.search(text):
        raise BadReferenceError("A percent sign is written %25.")
    try:
        decoded = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise BadReferenceError("A reference is UTF-8 text.") from None
    if not is_plain(decoded) or "\\" in decoded:
        raise BadReferenceError("A reference has no control, hidden or backslash characters.")
    return decoded


def _decode_path(text: str) -> str:
    if _ENCODED_SEPARATOR.search(text):
        raise BadReferenceError("An encoded slash is not allowed in a path.")
    return _decode(text)


def _decode_key(text: str) -> str:
    key = _decode(text)
    if not key or len(key) > _MAX_KEY:
        raise BadReferenceError(f"A key has 1 to {_MAX_KEY} characters.")
    return key


def _read_options(query: str | None) -> dict[str, str]:
    options: dict[str, str] = {}
    for option in query.split("&") if query else ():
        name, _, value = option.partition("=")
        if name not in _OPTIONS or name in options:
            raise BadReferenceError("A reference takes version, stage and store, each once.")
        if len(value) > _MAX_OPTION or not _OPTION.fullmatch(value):
            raise BadReferenceError("A version, stage or store name is a short plain word.")
        options[name] = value
    return options


def _check_segments(path: str) -> None:
    for segment in path.removeprefix("/").split("/"):
        if not segment:
            raise BadReferenceError("A path has no empty segments.")
        if segment in {".", ".."}:
            raise BadReferenceError("A path has no . or .. segments.")
        if len(segment) > _MAX_SEGMENT:
            raise BadReferenceError(f"A path segment has at most {_MAX_SEGMENT} characters.")
