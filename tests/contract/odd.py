"""Values, names and versions that have broken stores before."""

from __future__ import annotations

__all__ = ["BINARY", "NO_VERSIONS", "ODD_KEYS", "ODD_NAMES", "TEXTS"]

TEXTS = {
    "empty": b"",
    "plain": b"canary-plain-value",
    "space": b"  leading, trailing and \t tab  ",
    "quotes": b"""a'b"c`d\\e$f{{g}}%h""",
    "lines": b"-----BEGIN X-----\r\nabc\n\n-----END X-----\n",
    "nul": b"before\x00after\x01\x1b[31m\x7f",
    "unicode": "pässwörd-密碼-🔑-\u202ertl-e\u0301".encode(),
    "like-json": b'{"a": [1, 2.0, null], "b": "\\u0000"}',
    "like-number": b"0123",
    "like-bool": b"True",
    "like-null": b"null",
    "like-cipher": b"ENC[AES256_GCM,data:AAAA,iv:AAAA,tag:AAAA,type:str]",
    "like-template": b"vault:v1:abc ref+echo://x",
}
BINARY = {
    "latin": b"p\xe4ss",
    "random": bytes(range(256)),
    "half": b"\xf0\x9f\x94",
    "bom": b"\xff\xfe",
}
ODD_KEYS = (
    "a b",
    "a.b",
    "a/b",
    "a:b",
    "100%",
    "ключ",
    "sops",
    "data",
    "values",
    "metadata",
    "__proto__",
    "note_unencrypted",
    "note_encrypted",
    "k=v",
    "#hash",
    "[0]",
    "it's",
    '"q"',
)
ODD_NAMES = (
    "a b",
    "a%b",
    "%2e%2e",
    "a:b",
    "a@b",
    "a+b",
    "a&b=c;d,e",
    "what?x#y",
    "it's",
    "(x)*!~$",
    "schlüssel",
    "鍵🔑",
    ".env",
    "...",
    "note_unencrypted",
    "values",
    "sops",
    "data",
    "metadata",
    "Case",
    "case",
    "[brackets]",
    "x" * 200,
)
NO_VERSIONS = ("0", "-1", "01", "1_0", "1.0", "1e0", "999999", "latest", "18446744073709551617")
