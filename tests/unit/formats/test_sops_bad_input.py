"""Bombs, malformed documents and noise: a clear error of ours, and never a value in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sops_support import CANARY, LATER, THEN, Key, told

from mcp_server.core.errors import (
    AuthenticationError,
    CorruptError,
    InputError,
    LimitError,
    NotFoundError,
    SecretsError,
    UnsupportedError,
)
from mcp_server.formats import sops
from mcp_server.formats.sops import age
from mcp_server.formats.sops.json_store import MAX_DOCUMENT_BYTES, dump, load

quick = settings(deadline=None, suppress_health_check=list(HealthCheck))

BOMBS = {
    "too large": b'{"a": "' + b"x" * MAX_DOCUMENT_BYTES + b'"}',
    "deep lists": b'{"a": ' + b"[" * 100_000,
    "deep maps": b'{"a": ' * 900 + b"1" + b"}" * 900,
    "one level too deep": b'{"a": ' + b"[" * 64 + b"1" + b"]" * 64 + b"}",
    "wide lists": b'{"a": [' + b"[]," * 600_000 + b"1]}",
    "wide maps": b'{"a": {' + b'"b":1,' * 600_000 + b'"c":1}}',
    "a number of many digits": b'{"a": ' + b"9" * 2_000_000 + b"}",
}

MALFORMED = {
    "nothing": b"",
    "not JSON": b"canary-9d1f",
    "a list": b"[]",
    "a text": b'"canary-9d1f"',
    "cut off": b'{"a": "canary-9d1f',
    "more after the end": b'{"a": 1} {"b": 2}',
    "a key twice": b'{"a": 1, "a": 2}',
    "a key twice in other words": b'{"a": 1, "\\u0061": 2}',
    "a key twice below": b'{"a": [{"b": "canary-9d1f", "b": 2}]}',
    "not a number": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "out of range": b'{"a": 1e400}',
    "a byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "UTF-16": '{"a": "canary-9d1f"}'.encode("utf-16"),
    "not UTF-8": b'{"a": "canary-9d1f\xff"}',
    "half a surrogate pair": b'{"a": "\\ud800 canary-9d1f"}',
    "half a surrogate pair as key": b'{"canary-9d1f\\ud800": 1}',
    "a control character": b'{"a": "canary-9d1f\x01"}',
}


def refused(act: Callable[[], object]) -> SecretsError | None:
    """Return the error of ours that ``act`` ends with; any other error fails the test."""
    try:
        act()
    except SecretsError as error:
        return error
    return None


def described_and_decrypted(key: Key, file: bytes) -> None:
    document = sops.parse(file)
    sops.describe(document)
    sops.decrypt(document, age.unwrap(key.identity))


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_before_it_is_built(bomb: bytes) -> None:
    for read in (sops.parse, sops.load_plain):
        with pytest.raises(LimitError):
            read(bomb)


@pytest.mark.parametrize("file", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_document_is_refused(file: bytes) -> None:
    cases: list[tuple[Callable[[bytes], object], type[SecretsError]]] = [
        (sops.parse, CorruptError),
        (sops.load_plain, InputError),
    ]
    for read, error in cases:
        with pytest.raises(error) as caught:
            read(file)
        assert "canary" not in told(caught.value)


def test_the_deepest_and_widest_document_that_is_written_is_read_again(key: Key) -> None:
    deep: sops.Node = sops.Leaf.of("canary")
    for _ in range(63):
        deep = [deep]
    assert key.decrypt(key.create({"deep": deep})).tree == {"deep": deep}
    for make in (key.create, dump):
        with pytest.raises(LimitError):
            make({"deep": [deep]})
        with pytest.raises(LimitError):
            make({"large_unencrypted": sops.Leaf.of("x" * MAX_DOCUMENT_BYTES)})


def test_a_plain_whole_number_that_sops_would_round_is_refused() -> None:
    assert sops.load_plain(b'{"a": 9223372036854775807}') == {"a": sops.Leaf.of(2**63 - 1)}
    with pytest.raises(InputError, match="write a larger one as text"):
        sops.load_plain(b'{"a": 9223372036854775808}')
    assert load(b'{"a": 9223372036854775808}') == {"a": sops.Leaf.of(2.0**63)}


def test_too_many_recipients_are_refused() -> None:
    entries = [{"recipient": f"age1{n}", "enc": "x"} for n in range(257)]
    with pytest.raises(LimitError):
        sops.parse(json.dumps({"sops": {"age": entries}}).encode())


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, float("nan"), float("inf"), "\ud800"])
def test_a_value_that_sops_cannot_keep_is_refused(value: float | str) -> None:
    with pytest.raises(InputError):
        sops.Leaf.of(value)


@pytest.mark.parametrize(
    "tree",
    [
        {"sops": sops.Leaf.of("x")},
        {"SoPs": sops.Leaf.of("x")},
        {"\u017fops": None},
        {"\ud800": sops.Leaf.of("x")},
        {"a": {"\ud800": None}},
        {"a_unencrypted": sops.Leaf.of(b"\xff")},
        {"a_unencrypted": sops.Leaf(sops.Kind.COMMENT, b"x")},
        {"a_unencrypted": sops.Leaf(sops.Kind.REAL, b"NaN")},
    ],
    ids=repr,
)
@pytest.mark.parametrize("rule", [sops.DEFAULT_RULE, sops.Rule(sops.RuleKind.ENCRYPTED_REGEX, "b")])
def test_a_tree_that_would_not_be_read_again_is_not_written(
    key: Key, tree: sops.Map, rule: sops.Rule
) -> None:
    with pytest.raises(InputError):
        key.create(tree, sops.Metadata.new(rule))


def test_a_document_without_recipients_is_not_written() -> None:
    with pytest.raises(InputError):
        sops.create({"a": sops.Leaf.of("x")}, [], now=THEN)


@pytest.mark.parametrize("pattern", ["(", "a" * 1001, "(?=a)", "\\1", "(a{1000}){1000}"])
def test_a_pattern_that_is_not_valid_is_refused(pattern: str) -> None:
    rule = sops.Rule(sops.RuleKind.ENCRYPTED_REGEX, pattern)
    with pytest.raises(CorruptError):
        rule.encrypts(["a"])


def test_a_pattern_made_to_backtrack_ends() -> None:
    rule = sops.Rule(sops.RuleKind.ENCRYPTED_REGEX, "^(a|a)*(a*)*b$")
    assert not rule.encrypts(["a" * 10_000])


def test_without_re2_a_pattern_is_refused_and_a_suffix_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(UnsupportedError, match="google-re2"):
        sops.Rule(sops.RuleKind.ENCRYPTED_REGEX, "never compiled before").encrypts(["a"])
    assert sops.DEFAULT_RULE.encrypts(["a"])


def test_a_wrong_identity_does_not_open(key: Key) -> None:
    file = key.create({"a": sops.Leaf.of(CANARY)})
    other = Key.new()
    with pytest.raises(AuthenticationError) as caught:
        other.decrypt(file)
    assert CANARY not in told(caught.value)
    assert other.identity.decode() not in told(caught.value)


def test_any_identity_of_a_key_file_opens(key: Key) -> None:
    file = key.create({"a": sops.Leaf.of(CANARY)})
    key_file = b"# created\r\n" + Key.new().identity + b"\r\n\r\n" + key.identity + b"\r\n"
    assert sops.decrypt(sops.parse(file), age.unwrap(key_file)).tree


@pytest.mark.parametrize(
    "identity", [b"", b"# only a comment", b"canary-9d1f", b"\xff", b"AGE-SECRET-KEY-1CANARY"]
)
def test_a_bad_identity_is_refused_unseen(identity: bytes) -> None:
    for use in (age.unwrap, age.public_key):
        with pytest.raises(InputError) as caught:
            use(identity)
        assert "canary" not in told(caught.value).casefold()


@pytest.mark.parametrize("text", ["", "age1", "ssh-ed25519 AAAA", "AGE-SECRET-KEY-1CANARY"])
def test_a_bad_recipient_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        age.recipient(text)
    assert "CANARY" not in told(caught.value)


@pytest.mark.parametrize(
    "path", [(), ("b",), ("a", 2), ("a", -1), ("a", "0"), ("a",), ("n",), (0,)]
)
def test_a_missing_name_is_not_found(key: Key, path: sops.Path) -> None:
    whole = key.decrypt(key.create({"a": [sops.Leaf.of("x"), None], "n": None}))
    with pytest.raises(NotFoundError):
        sops.decrypt_one(whole.document, whole.data_key, path)


def test_a_key_entry_with_another_size_of_key_is_refused(key: Key) -> None:
    entry = key.recipient.entry(b"short")
    node: sops.Map = {"age": [entry.fields], "lastmodified": sops.Leaf.of("2031-02-03T04:05:06Z")}
    with pytest.raises(CorruptError, match="wrong size"):
        key.decrypt(dump({"sops": node}))


class TestRecipients:
    def test_who_is_added_can_open_and_who_was_there_stays(self, key: Key) -> None:
        other = Key.new()
        before = key.decrypt(key.create({"a": sops.Leaf.of(CANARY)}))
        add = [key.recipient, other.recipient]
        after = sops.update(before, before.tree, now=LATER, add=add)
        entries = sops.parse(after).metadata.entries
        assert [entry.id for entry in entries] == [key.public, other.public]
        assert entries[0] == before.document.metadata.entries[0]
        assert other.decrypt(after).tree == key.decrypt(after).tree == before.tree

    def test_nobody_loses_access_by_oversight(self, key: Key) -> None:
        other = Key.new()
        both = [key.recipient, other.recipient]
        before = key.decrypt(sops.create({"a": sops.Leaf.of(CANARY)}, both, now=THEN))
        with pytest.raises(InputError, match="lose access"):
            sops.rotate(before, before.tree, [key.recipient], now=LATER)
        after = sops.rotate(before, before.tree, [key.recipient], now=LATER, removed=[other.public])
        assert key.decrypt(after).tree == before.tree
        with pytest.raises(AuthenticationError):
            other.decrypt(after)

    def test_entries_of_other_kinds_and_unknown_fields_survive_a_rewrite(self, key: Key) -> None:
        file = key.create({"a": sops.Leaf.of(CANARY)})
        foreign = b'"pgp": [{"fp": "ABCD", "enc": "x", "new": [1, null]}], "later": {"x": 1.5},'
        file = file.replace(b'"version"', foreign + b' "version"')
        before = key.decrypt(file)
        after = sops.update(before, before.tree, now=LATER, add=[Key.new().recipient])
        fields = sops.parse(after).metadata.fields
        for name in ("pgp", "later"):
            assert fields[name] == before.document.metadata.fields[name]
        with pytest.raises(InputError, match="lose access"):
            sops.rotate(before, before.tree, [key.recipient], now=LATER)


def test_no_repr_shows_a_value(key: Key) -> None:
    file = key.create({"a": sops.Leaf.of(CANARY), "b_unencrypted": sops.Leaf.of(CANARY)})
    whole = key.decrypt(file)
    shown = repr([whole, whole.document, whole.tree, sops.describe(whole.document)])
    assert CANARY not in shown
    assert repr(whole.data_key) not in shown
    assert CANARY in repr(whole.tree["a"].data.decode())  # what it would look like


def mutate(file: bytes, cuts: list[tuple[int, int, bytes]]) -> bytes:
    for at, length, new in cuts:
        start = at % (len(file) + 1)
        file = file[:start] + new + file[start + length :]
    return file


noise = st.one_of(st.binary(max_size=4), st.sampled_from([b'"', b"{", b"}", b",", b"null", b"\\u"]))
cuts = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 40), noise), min_size=1, max_size=4)


@quick
@given(cuts=cuts)
def test_a_damaged_document_opens_whole_or_raises_an_error_of_ours_without_a_value(
    key: Key, cuts: list[tuple[int, int, bytes]]
) -> None:
    tree: sops.Map = {
        "a": sops.Leaf.of(CANARY),
        "b": {"c": [sops.Leaf.of(CANARY), sops.Leaf.of(7)]},
        "d_unencrypted": sops.Leaf.of(CANARY),
    }
    damaged = mutate(key.create(tree), cuts)
    refusal = refused(lambda: described_and_decrypted(key, damaged))
    assert CANARY not in told(refusal)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
METADATA = ["age", "pgp", "key_groups", "lastmodified", "mac", "version", *sops.RuleKind]


@quick
@given(
    tree=st.dictionaries(st.text(max_size=4), json_like, max_size=3),
    metadata=st.dictionaries(st.sampled_from(METADATA), json_like, max_size=6) | json_like,
)
def test_any_json_as_a_document_opens_or_raises_an_error_of_ours(
    key: Key, tree: dict[str, object], metadata: object
) -> None:
    with pytest.raises(SecretsError):
        described_and_decrypted(key, json.dumps({**tree, "sops": metadata}).encode())


@quick
@given(file=st.binary(max_size=60))
def test_any_bytes_raise_an_error_of_ours(file: bytes) -> None:
    for read in (sops.parse, sops.load_plain):
        refusal = refused(lambda read=read: read(file))
        assert refusal is None or refusal.code in {"STORE_CORRUPT", "INPUT_INVALID"}


@quick
@given(enc=st.text(max_size=30) | st.binary(max_size=60).map(lambda b: b.decode("latin-1")))
def test_any_key_entry_opens_or_raises_an_error_of_ours(key: Key, enc: str) -> None:
    whole = key.decrypt(key.create({"a": sops.Leaf.of(CANARY)}))
    right = whole.document.metadata.entries[0].enc
    for text in (enc, right + enc, right[:60] + enc + right[60:]):
        entry = sops.KeyEntry("age", {"recipient": sops.Leaf.of("x"), "enc": sops.Leaf.of(text)})
        metadata = whole.document.metadata.with_group([entry])
        refusal = refused(lambda metadata=metadata: age.unwrap(key.identity)(metadata))
        assert refusal is None or refusal.code == "AUTH_FAILED"


def test_the_leak_check_finds_a_planted_value() -> None:
    leaking = CorruptError()
    assert CANARY not in told(leaking)
    leaking.__context__ = ValueError(CANARY)  # what a missing ``from None`` leaves behind
    assert CANARY in told(leaking)
    assert CANARY in told(CorruptError(CANARY))
