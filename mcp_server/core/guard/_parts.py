"""Takes a structured value apart, so that its public or ordinary pieces are not searched for."""

from __future__ import annotations

import json
import re
from urllib.parse import unquote_to_bytes

__all__ = ["guessed", "parts"]

_MAX_DEPTH = 8
_MAX_PARTS = 512

_PEM = re.compile(
    rb"-----BEGIN ([A-Z0-9 ]{1,64})-----(.*?)(?:-----END [A-Z0-9 ]{1,64}-----|\Z)", re.DOTALL
)
# RFC 7468: textual encodings of public material.
_PUBLIC_LABELS = frozenset(
    {
        b"CERTIFICATE",
        b"X509 CERTIFICATE",
        b"TRUSTED CERTIFICATE",
        b"X509 CRL",
        b"CERTIFICATE REQUEST",
        b"NEW CERTIFICATE REQUEST",
        b"PUBLIC KEY",
        b"RSA PUBLIC KEY",
        b"EC PARAMETERS",
        b"DH PARAMETERS",
    }
)
# What stands beside a password in the usual documents, such as those AWS makes for databases.
_PUBLIC_FIELDS = frozenset(
    {
        "user",
        "username",
        "host",
        "hostname",
        "port",
        "engine",
        "database",
        "dbname",
        "dbinstanceidentifier",
        "dbclusteridentifier",
        "region",
    }
)
_NAME_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_DOTENV_LINE = re.compile(rb"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)=(.*)")
_URL = re.compile(
    rb"\s*(?:jdbc:)?[A-Za-z][A-Za-z0-9+.-]*://"
    rb"(?:(?P<user>\S*)@)?[^/?#\s@]*(?P<rest>[/?#][^\s@]*)?\s*\Z"
)
_NO_PASSWORDS = frozenset({b"", b"x-oauth-basic"})
_URL_PIECE = re.compile(rb"[/?#&;=]")


def parts(value: bytes, depth: int = 0, *, split_urls: bool = True) -> list[bytes]:
    """The pieces of a value that are secret; the value itself when it has no known structure.

    An empty list says that nothing in the value is secret (a certificate, say).
    """
    if depth > _MAX_DEPTH:
        return [value]
    for split in (_json, _url, _dotenv, _pem) if split_urls else (_json, _dotenv, _pem):
        pieces = split(value)
        if pieces is not None:
            nested = dict.fromkeys(
                inner
                for piece in pieces
                for inner in parts(piece, depth + 1, split_urls=split_urls)
            )
            return list(nested) if len(nested) <= _MAX_PARTS else [value]
    return [value]


def guessed(value: bytes) -> list[bytes]:
    """What has to be guessed by whoever knows everything else about a value.

    Of a URL that is its password, or without one its longest piece; otherwise every part.
    """
    found: list[bytes] = []
    for part in parts(value, split_urls=False):
        pieces = _url(part)
        if pieces is None:
            found.append(part)
        elif pieces:
            found.append(pieces[0] if _has_login(part) else max(pieces, key=len))
    return found


def _has_login(url: bytes) -> bool:
    match = _URL.match(url)
    return match is not None and bool(match["user"])


def _pem(value: bytes) -> list[bytes] | None:
    blocks = _PEM.findall(value)
    if not blocks:
        return None
    bodies = [body.strip() for label, body in blocks if label not in _PUBLIC_LABELS]
    around = _PEM.sub(b"\n", value).strip()
    return [*bodies, around] if around else bodies


def _json(value: bytes) -> list[bytes] | None:
    if value.lstrip()[:1] not in {b"{", b"["}:
        return None
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return [leaf.encode("utf-8", "surrogatepass") for leaf in _leaves(document)]


def _is_public(name: str) -> bool:
    """Whether a field of this name (``dbHost``, ``DB_HOST``, ``host``) holds no secret."""
    words = [word.lower() for word in _NAME_WORD.findall(name)]
    return bool(words) and (words[-1] in _PUBLIC_FIELDS or "".join(words) in _PUBLIC_FIELDS)


def _leaves(document: object) -> list[str]:
    leaves: list[str] = []
    open_nodes = [document]
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, dict):
            open_nodes.extend(item for name, item in node.items() if not _is_public(name))
        elif isinstance(node, list):
            open_nodes.extend(node)
        elif isinstance(node, str | int | float):
            leaves.append(str(node))
    return leaves


def _url(value: bytes) -> list[bytes] | None:
    found = _URL.match(value)
    if found is None:
        return None
    user, _, password = (found["user"] or b"").partition(b":")
    # GitHub and others take a token in the place of the user name.
    pieces = [user if password in _NO_PASSWORDS else password]
    pieces += _URL_PIECE.split(found["rest"] or b"")
    pieces += [unquote_to_bytes(piece) for piece in pieces if b"%" in piece]
    return [piece for piece in pieces if piece]


def _dotenv(value: bytes) -> list[bytes] | None:
    lines = [line for line in value.splitlines() if line.strip() and line.lstrip()[:1] != b"#"]
    matches = [_DOTENV_LINE.fullmatch(line) for line in lines]
    fields = [(match[1].decode(), match[2].strip().strip(b"\"'")) for match in matches if match]
    if len(fields) < max(2, len(lines)):
        return None
    return [text for name, text in fields if not _is_public(name)]
