"""A document altered by somebody without the key is refused, and nothing is delivered."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from sops_support import CANARY, LATER, Key, token_of, told

from mcp_server.core.errors import CorruptError
from mcp_server.formats import sops

TREE: sops.Map = {
    "first": sops.Leaf.of(CANARY + "-1"),
    "second": sops.Leaf.of(CANARY + "-2"),
    "number": sops.Leaf.of(5),
    "list": [sops.Leaf.of(CANARY + "-3"), sops.Leaf.of(CANARY + "-4")],
    "owner_unencrypted": sops.Leaf.of("team-a"),
    "copies_unencrypted": sops.Leaf.of(3),
}


@pytest.fixture(scope="module")
def file(key: Key) -> bytes:
    return key.create(TREE)


def swapped(file: bytes, one: bytes, other: bytes) -> bytes:
    return file.replace(one, b"\0").replace(other, one).replace(b"\0", other)


def swap_values(file: bytes) -> bytes:
    return swapped(file, token_of(file, "first"), token_of(file, "second"))


def swap_list_items(file: bytes) -> bytes:
    return swapped(file, *re.findall(rb'\n\t\t"(ENC[^"]*)"', file)[:2])


def drop(name: str) -> Callable[[bytes], bytes]:
    return lambda file: re.sub(rb'\n\s*"' + name.encode() + rb'": [^\n]*', b"", file)


def replace(old: str, new: str) -> Callable[[bytes], bytes]:
    return lambda file: file.replace(old.encode(), new.encode())


def cut(name: str, part: str) -> Callable[[bytes], bytes]:
    """Change the first character of a part of a token, or empty it."""

    def change(file: bytes) -> bytes:
        token = token_of(file, name)
        flipped = re.sub(
            rb"(" + part.encode() + rb":)(.)",
            lambda m: m[1] + (b"B" if m[2] == b"A" else b"A"),
            token,
        )
        return file.replace(token, flipped)

    return change


def plain_in_place(file: bytes) -> bytes:
    return file.replace(token_of(file, "first"), CANARY.encode())


def number_in_place(file: bytes) -> bytes:
    return file.replace(b'"' + token_of(file, "number") + b'"', b"5")


TAMPERINGS: dict[str, Callable[[bytes], bytes]] = {
    "two values swapped": swap_values,
    "two list items swapped": swap_list_items,
    "a clear text edited": replace("team-a", "team-b"),
    "a clear number edited": replace('": 3', '": 4'),
    "the time edited": replace("04:05:06Z", "04:05:07Z"),
    "the time dropped": drop("lastmodified"),
    "the time no time": replace("2031-02-03T04:05:06Z", "yesterday"),
    "the mac dropped": drop("mac"),
    "the mac emptied": lambda file: file.replace(token_of(file, "mac"), b""),
    "the mac in clear": lambda file: file.replace(token_of(file, "mac"), b"0" * 128),
    "the mac of another kind": cut("mac", "tag"),
    "a value dropped": drop("second"),
    "a value emptied": lambda file: file.replace(token_of(file, "second"), b""),
    "a value in clear": plain_in_place,
    "a number in clear": number_in_place,
    "a value renamed": replace('"first"', '"third"'),
    "a clear value added": replace('"first"', '"x_unencrypted": "y", "first"'),
    "data changed": cut("first", "data"),
    "iv changed": cut("first", "iv"),
    "tag changed": cut("first", "tag"),
    "a text called a flag": lambda f: f.replace(b"type:str", b"type:bool", 1),
    "a text called a comment": lambda f: f.replace(b"type:str", b"type:comment", 1),
    "type unknown": replace("type:int", "type:map"),
    "the tag short": lambda f: re.sub(rb"tag:[^,]*", b"tag:AAAA", f, count=1),
    "the iv short": lambda f: re.sub(rb"iv:[^,]*", b"iv:AAAA", f, count=1),
    "not base64": lambda f: re.sub(rb"data:[^,]*", b"data:AAAAA", f, count=1),
    "text after a token": lambda f: f.replace(token_of(f, "first"), token_of(f, "first") + b" "),
    "the rule changed": replace('"unencrypted_suffix": "_unencrypted"', '"encrypted_suffix": "t"'),
    "two rules": replace('"version"', '"encrypted_regex": "x", "version"'),
    "the mac's scope changed": replace('"version"', '"mac_only_encrypted": true, "version"'),
    "no recipient": lambda f: re.sub(rb'"age": \[.*?\],', b'"age": [],', f, flags=re.DOTALL),
    "metadata twice": replace('"first"', '"SOPS": {}, "first"'),
    "metadata twice in an odd case": replace('"first"', '"\u017fops": "x", "first"'),
    "an entry twice": replace('"version"', '"Mac": "x", "version"'),
    "no metadata": lambda _: b'{"first": "x"}',
    "metadata of another type": lambda _: b'{"first": "x", "sops": []}',
}


@pytest.mark.parametrize("tamper", TAMPERINGS.values(), ids=TAMPERINGS)
def test_a_tampered_document_is_refused(
    key: Key, file: bytes, tamper: Callable[[bytes], bytes]
) -> None:
    assert key.decrypt(file).tree == TREE
    tampered = tamper(file)
    assert tampered != file
    with pytest.raises(CorruptError) as caught:
        key.decrypt(tampered)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert CANARY not in told(caught.value)


def test_an_older_value_put_back_is_refused_by_the_mac(key: Key, file: bytes) -> None:
    before = key.decrypt(file)
    tree: sops.Map = {**TREE, "first": sops.Leaf.of("canary-new")}
    after = sops.update(before, tree, now=LATER)
    replayed = after.replace(token_of(after, "first"), token_of(file, "first"))
    with pytest.raises(CorruptError, match="MAC does not match"):
        key.decrypt(replayed)


def test_the_values_of_another_document_are_refused(key: Key, file: bytes) -> None:
    other = key.create(TREE)
    mixed = file.replace(token_of(file, "first"), token_of(other, "first"))
    with pytest.raises(CorruptError):
        key.decrypt(mixed)
    with pytest.raises(CorruptError):
        sops.open_document(sops.parse(file), key.decrypt(other).data_key)


def test_a_rule_that_would_leave_a_later_value_clear_is_refused_by_who_names_its_own(
    key: Key, file: bytes
) -> None:
    planted = b'"unencrypted_regex": "_unencrypted$|^later$"'
    changed = file.replace(b'"unencrypted_suffix": "_unencrypted"', planted)
    decrypted = key.decrypt(changed)
    written = sops.update(decrypted, {**TREE, "later": sops.Leaf.of(CANARY)}, now=LATER)
    assert CANARY.encode() in written  # what naming the rule is good for
    assert sops.parse(file, rule=sops.DEFAULT_RULE)
    with pytest.raises(CorruptError, match="rule"):
        sops.parse(changed, rule=sops.DEFAULT_RULE)


def test_what_the_format_cannot_detect_is_what_the_docstring_says(key: Key, file: bytes) -> None:
    for undetected in (
        replace("owner_unencrypted", "payer_unencrypted"),
        replace('"first"', '"added": "", "more": null, "most": {}, "first"'),
        replace('"version": "3.11.0"', '"version": "9"'),
        replace("type:int", "type:str"),
    ):
        changed = undetected(file)
        assert changed != file
        assert key.decrypt(changed)
