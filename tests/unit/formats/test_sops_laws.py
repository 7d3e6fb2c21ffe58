"""Laws that hold for every tree."""

from __future__ import annotations

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sops_support import LATER, THEN, Key, keys, texts, trees

from mcp_server.formats import sops
from mcp_server.formats.sops.json_store import dump, load
from mcp_server.formats.sops.tree import keys_of, leaves, mapped

quick = settings(deadline=None, suppress_health_check=list(HealthCheck))
PATTERNS = ["a", "^.{0,3}$", "[[:alpha:]]$", "(?i)UNENC"]
rules = st.builds(sops.Rule, st.sampled_from(sops.RuleKind), st.sampled_from(PATTERNS))
metadatas = st.builds(sops.Metadata.new, rules, mac_only_encrypted=st.booleans())


def fields_of(file: bytes) -> sops.Map:
    return sops.parse(file).metadata.fields


def with_leaf(tree: sops.Map, path: sops.Path, leaf: sops.Leaf) -> sops.Map:
    return mapped(tree, lambda at, old: leaf if at == path else old)


@quick
@given(tree=trees, metadata=metadatas)
def test_what_was_encrypted_decrypts_to_itself(
    key: Key, tree: sops.Map, metadata: sops.Metadata
) -> None:
    rule = metadata.rule
    decrypted = key.decrypt(key.create(tree, metadata))
    as_json = dict(leaves(load(dump(tree))))  # in clear, 1.0 is the whole number 1
    expected = mapped(
        tree, lambda path, leaf: leaf if rule.encrypts(keys_of(path)) else as_json[path]
    )
    assert decrypted.tree == expected
    assert decrypted.document.metadata.rule == rule


@quick
@given(tree=trees)
def test_json_is_written_and_read_back_unchanged(tree: sops.Map) -> None:
    once = dump(tree)
    assert dump(load(once)) == once


@quick
@given(tree=trees, data=st.data(), text=texts)
def test_changing_a_value_changes_its_token_the_mac_and_the_time_alone(
    key: Key, tree: sops.Map, data: st.DataObject, text: str
) -> None:
    paths = [path for path, _ in leaves(tree)]
    assume(paths)
    path = data.draw(st.sampled_from(paths))
    file = key.create(tree)
    before = key.decrypt(file)
    changed = with_leaf(before.tree, path, sops.Leaf.of("canary " + text))
    after = sops.update(before, changed, now=LATER)
    old, new = file.decode().split("\n"), after.decode().split("\n")
    assert len(old) == len(new)
    assert sum(a != b for a, b in zip(old, new, strict=True)) == 3
    assert sops.parse(after).tree == with_leaf(
        before.document.tree, path, dict(leaves(sops.parse(after).tree))[path]
    )
    kept = ("age", "version", "unencrypted_suffix")
    assert [fields_of(file)[name] for name in kept] == [fields_of(after)[name] for name in kept]
    assert key.decrypt(after).tree == changed


@quick
@given(tree=trees)
def test_a_rewrite_in_the_same_second_changes_the_mac_token_alone(key: Key, tree: sops.Map) -> None:
    before = key.decrypt(key.create(tree))
    after = sops.parse(sops.update(before, before.tree, now=THEN))
    assert after.tree == before.document.tree
    names = [
        name
        for name, node in after.metadata.fields.items()
        if node != before.document.metadata.fields[name]
    ]
    assert names == ["mac"]


@quick
@given(tree=trees)
def test_a_rotation_keeps_the_values_and_no_token(key: Key, tree: sops.Map) -> None:
    before = key.decrypt(key.create(tree))
    after = key.decrypt(sops.rotate(before, before.tree, [key.recipient], now=LATER))
    assert after.tree == before.tree
    assert after.data_key != before.data_key
    tokens = {leaf.data for _, leaf in leaves(before.document.tree) if leaf.data[:4] == b"ENC["}
    assert not tokens & {leaf.data for _, leaf in leaves(after.document.tree)}


@quick
@given(tree=trees)
def test_one_value_decrypts_alone_to_what_the_whole_document_says(key: Key, tree: sops.Map) -> None:
    whole = key.decrypt(key.create(tree))
    for path, leaf in leaves(whole.tree):
        assert sops.decrypt_one(whole.document, whole.data_key, path) == leaf


@quick
@given(tree=trees)
def test_a_description_names_every_leaf_and_shows_clear_ones_alone(
    key: Key, tree: sops.Map
) -> None:
    entries = sops.describe(sops.parse(key.create(tree))).entries
    assert [entry.path for entry in entries] == [path for path, _ in leaves(tree)]
    for entry, (path, leaf) in zip(entries, leaves(tree), strict=True):
        clear = any(isinstance(part, str) and part.endswith("_unencrypted") for part in path)
        assert (entry.clear is not None) == clear
        assert entry.clear is None or entry.clear.text == load(dump({"a": leaf}))["a"].text


@quick
@given(name=keys, text=texts)
def test_equal_new_values_get_tokens_of_their_own(key: Key, name: str, text: str) -> None:
    assume(not name.endswith("_unencrypted") and name.casefold() != "sops")
    value = sops.Leaf.of("canary " + text)
    before = key.decrypt(key.create({name: [value]}))
    file = sops.update(before, {name: [value, value]}, now=LATER)
    first, second = [leaf.data for _, leaf in leaves(sops.parse(file).tree)]
    assert first == before.document.tree[name][0].data
    assert first != second


@quick
@given(name=keys, items=st.lists(st.integers(0, 3), max_size=8), data=st.data())
def test_a_list_item_that_moved_keeps_its_token(
    key: Key, name: str, items: list[int], data: st.DataObject
) -> None:
    assume(name.casefold() != "sops")
    moved = data.draw(st.permutations(items))
    before = key.decrypt(key.create({name: [sops.Leaf.of(item) for item in items]}))
    file = sops.update(before, {name: [sops.Leaf.of(item) for item in moved]}, now=LATER)
    after = key.decrypt(file)
    tokens = [sorted(leaf.data for _, leaf in leaves(d.document.tree)) for d in (before, after)]
    assert tokens[0] == tokens[1]
    assert after.tree == {name: [sops.Leaf.of(item) for item in moved]}
