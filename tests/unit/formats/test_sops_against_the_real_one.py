"""Files go both ways between this package and the real sops."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from sops_support import CANARY, LATER, Key, RealSops, plain_view, token_of, trees

from mcp_server.core.errors import AuthenticationError, UnsupportedError
from mcp_server.formats import sops
from mcp_server.formats.sops import age
from mcp_server.formats.sops.json_store import dump, load

pytestmark = pytest.mark.sops

PLAIN = r"""{
  "text": "canary-text", "empty": "", "nothing": null, "list": [], "map": {},
  "int": 1, "big": 9007199254740993, "huge": 123456789012345678901234567890,
  "one": 1.0, "exponent": 1e30, "tiny": 5e-324, "minus": -0.0, "yes": true,
  "nested": [1, "two", [3, {"deep": "v"}], "two"],
  "keys": {"": "empty key", "a:b": "colon", "<&>\u2028": "html<&>\u2029", "é😀": "ü"},
  "clear_unencrypted": {"list": [1e21, 1e-7, -0.0, 12345678901234567, 0.1, true, null],
                        "text": "<\u0001\b\f\u007f/\\\""},
  "secret": {"password": "canary-p", "public": "canary-q"}
}""".encode()

RULES = [
    sops.DEFAULT_RULE,
    sops.Rule(sops.RuleKind.UNENCRYPTED_SUFFIX, "st"),
    sops.Rule(sops.RuleKind.ENCRYPTED_SUFFIX, "word"),
    sops.Rule(sops.RuleKind.UNENCRYPTED_REGEX, "^[[:lower:]]{3}$|deep"),
    sops.Rule(sops.RuleKind.ENCRYPTED_REGEX, "^(text|pass.*)$"),
    sops.Rule(sops.RuleKind.UNENCRYPTED_COMMENT_REGEX, "x"),
    sops.Rule(sops.RuleKind.ENCRYPTED_COMMENT_REGEX, "x"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
class TestEveryRule:
    def test_their_file_opens_here(self, real_sops: RealSops, key: Key, rule: sops.Rule) -> None:
        file = real_sops.encrypt(PLAIN, **{rule.kind: rule.argument})
        assert plain_view(key.decrypt(file).tree) == plain_view(load(real_sops.decrypt(file)))

    def test_our_file_opens_there(self, real_sops: RealSops, key: Key, rule: sops.Rule) -> None:
        # numbers beyond 2^53 in clear are read by sops before 3.13.2 as floats
        tree = load(PLAIN.replace(b"12345678901234567", b"12345678901234"))
        del tree["big"]
        file = key.create(tree, sops.Metadata.new(rule))
        assert plain_view(load(real_sops.decrypt(file))) == plain_view(tree)

    def test_the_rule_leaves_the_same_values_clear(
        self, real_sops: RealSops, key: Key, rule: sops.Rule
    ) -> None:
        theirs = sops.parse(real_sops.encrypt(PLAIN, **{rule.kind: rule.argument}))
        ours = sops.parse(key.create(load(PLAIN), sops.Metadata.new(rule)))
        clear = [e.path for e in sops.describe(theirs).entries if e.clear is not None]
        assert clear == [e.path for e in sops.describe(ours).entries if e.clear is not None]

    def test_their_file_is_written_back_byte_for_byte(
        self, real_sops: RealSops, key: Key, rule: sops.Rule
    ) -> None:
        file = real_sops.encrypt(PLAIN, **{rule.kind: rule.argument})
        assert dump(load(file)) == file
        decrypted = key.decrypt(file)
        rewritten = sops.update(decrypted, decrypted.tree, now=LATER)
        changed = changed_names(file, rewritten)
        assert changed == ["lastmodified", "mac"]


def changed_names(before: bytes, after: bytes) -> list[str]:
    pairs = zip(before.decode().splitlines(), after.decode().splitlines(), strict=True)
    return [old.split('"')[1] for old, new in pairs if old != new]


def test_an_encrypted_whole_number_beyond_2_53_stays_exact_there(
    real_sops: RealSops, key: Key
) -> None:
    tree: sops.Map = {"max": sops.Leaf.of(2**63 - 1), "min": sops.Leaf.of(-(2**63))}
    assert load(real_sops.decrypt(key.create(tree))) == tree


def test_a_binary_value_survives_their_rewrite(real_sops: RealSops, key: Key) -> None:
    blob = sops.Leaf.of(b"\x00\xff\xfe canary")
    file = key.create({"blob": blob, "other": sops.Leaf.of("a")})
    shown = load(real_sops.decrypt(file))["blob"]
    assert shown == sops.Leaf.of("\x00\ufffd\ufffd canary")
    file = real_sops.change("set --value-stdin", file, '["other"]', value=b'"b"')
    assert key.decrypt(file).tree == {"blob": blob, "other": sops.Leaf.of("b")}


def test_the_mac_over_encrypted_values_alone_goes_both_ways(real_sops: RealSops, key: Key) -> None:
    file = real_sops.encrypt(PLAIN, mac_only_encrypted=True)
    edited = file.replace(b"true,\n\t\t\tnull", b"false,\n\t\t\tnull")
    assert edited != file
    assert plain_view(key.decrypt(edited).tree) == plain_view(load(real_sops.decrypt(edited)))
    metadata = sops.Metadata.new(mac_only_encrypted=True)
    tree: sops.Map = {"a": sops.Leaf.of("x"), "b_unencrypted": sops.Leaf.of("y")}
    ours = key.create(tree, metadata).replace(b'"y"', b'"z"')
    assert load(real_sops.decrypt(ours))["b_unencrypted"] == sops.Leaf.of("z")


def test_their_change_to_our_file_opens_here(real_sops: RealSops, key: Key) -> None:
    tree: sops.Map = {"a": sops.Leaf.of("old"), "b": sops.Leaf.of(CANARY)}
    file = key.create(tree)
    changed = real_sops.change("set --value-stdin", file, '["a"]', value=b'"new"')
    assert key.decrypt(changed).tree == {**tree, "a": sops.Leaf.of("new")}
    assert changed_names(file, changed) == ["a", "lastmodified", "mac"]
    assert token_of(changed, "b") == token_of(file, "b")


def test_our_change_to_their_file_opens_there(real_sops: RealSops, key: Key) -> None:
    file = real_sops.encrypt(PLAIN)
    decrypted = key.decrypt(file)
    tree: sops.Map = {**decrypted.tree, "text": sops.Leaf.of(CANARY)}
    changed = sops.update(decrypted, tree, now=LATER)
    assert changed_names(file, changed) == ["text", "lastmodified", "mac"]
    assert load(real_sops.decrypt(changed))["text"] == sops.Leaf.of(CANARY)


def test_their_rotation_and_recipient_opens_here(real_sops: RealSops, key: Key) -> None:
    other = Key.new()
    tree: sops.Map = {"a": sops.Leaf.of(CANARY)}
    file = real_sops.change("rotate -i --add-age " + other.public, key.create(tree))
    assert other.decrypt(file).tree == key.decrypt(file).tree == tree


def test_our_rotation_and_recipient_opens_there(real_sops: RealSops, key: Key) -> None:
    other, gone = Key.new(), Key.new()
    file = real_sops.encrypt(b'{"a": "canary-a"}', age=f"{key.public},{gone.public}")
    before = gone.decrypt(file)
    recipients = [key.recipient, other.recipient]
    rotated = sops.rotate(before, before.tree, recipients, now=LATER, removed=[gone.public])
    assert real_sops.decrypt(rotated) == b'{\n\t"a": "canary-a"\n}\n'
    with pytest.raises(AuthenticationError):
        gone.decrypt(rotated)


def test_their_binary_file_opens_here(real_sops: RealSops, key: Key) -> None:
    file = real_sops.encrypt(b"canary\nnotes", "notes.txt")
    assert key.decrypt(file).tree == {"data": sops.Leaf.of("canary\nnotes")}


def test_their_time_and_comments_from_yaml_open_here_and_there_again(
    real_sops: RealSops, key: Key
) -> None:
    file = real_sops.encrypt(b"# canary\nat: 2023-01-02\nlist:\n- a\n# canary\n- b\n", "plain.yaml")
    decrypted = key.decrypt(file)
    assert decrypted.tree == {
        "at": sops.Leaf(sops.Kind.TIME, b"2023-01-02T00:00:00Z"),
        "list": [
            sops.Leaf.of("a"),
            sops.Leaf(sops.Kind.COMMENT, b" canary"),
            sops.Leaf.of("b"),
        ],
    }
    again = sops.update(decrypted, {"new": sops.Leaf.of("x"), **decrypted.tree}, now=LATER)
    assert load(real_sops.decrypt(again)) == {
        "new": sops.Leaf.of("x"),
        "at": sops.Leaf.of("2023-01-02T00:00:00Z"),
        "list": [sops.Leaf.of("a"), sops.Leaf.of("b")],
    }


def test_a_key_shared_out_over_groups_is_refused(real_sops: RealSops, key: Key) -> None:
    groups = [{"age": [key.public]}, {"age": [Key.new().public]}]
    document = sops.parse(real_sops.encrypt(b'{"a": "canary-a"}', age=None, key_groups=groups))
    assert [len(group) for group in document.metadata.groups] == [1, 1]
    with pytest.raises(UnsupportedError):
        sops.decrypt(document, age.unwrap(key.identity))


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=trees)
def test_any_tree_of_ours_decrypts_there_to_the_same(
    real_sops: RealSops, key: Key, tree: sops.Map
) -> None:
    assert plain_view(load(real_sops.decrypt(key.create(tree)))) == plain_view(tree)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=trees)
def test_any_tree_of_theirs_decrypts_here_to_the_same(
    real_sops: RealSops, key: Key, tree: sops.Map
) -> None:
    file = real_sops.encrypt(dump(tree))
    assert plain_view(key.decrypt(file).tree) == plain_view(tree)
    assert dump(load(file)) == file
