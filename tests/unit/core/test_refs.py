"""References: what is read, what is refused, and that both directions agree."""

from __future__ import annotations

import string
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mcp_server.core.errors import BadReferenceError
from mcp_server.core.refs import MAX_REFERENCE, Ref
from mcp_server.core.text import is_plain

plain = st.text(st.characters(exclude_characters="/\\"), min_size=1, max_size=24).filter(is_plain)
segments = plain.filter(lambda text: text not in {".", ".."})
words = st.text(string.ascii_letters + string.digits + "._:-", min_size=1, max_size=64)
keys = st.text(st.characters(exclude_characters="\\"), min_size=1, max_size=24).filter(is_plain)


@st.composite
def refs(draw: st.DrawFn) -> Ref:
    """References as stores and configurations make them."""
    path = draw(st.sampled_from(["", "/"])) + "/".join(
        draw(st.lists(segments, min_size=1, max_size=4))
    )
    return Ref(
        draw(st.sampled_from(["local", "vault", "aws-sm", "k8s", "x"])),
        path,
        draw(st.none() | keys),
        *(draw(st.none() | words) for _ in range(3)),
    )


def _nests_an_encoding(ref: Ref) -> bool:
    """Whether the path holds a literal ``%2f``: such names are refused, in whatever depth."""
    return any(f"%{sign}" in ref.path.lower().replace("%25", "%") for sign in ("2f", "5c"))


@given(refs())
def test_what_is_written_is_read_back(ref: Ref) -> None:
    assume(not _nests_an_encoding(ref) and len(str(ref)) <= MAX_REFERENCE)

    assert Ref.parse(str(ref)) == ref


@given(refs())
@example(Ref("local", "a%b", key="100%"))
@example(Ref("local", "a?b#c", key="?#"))
def test_a_written_reference_is_ascii_without_spaces(ref: Ref) -> None:
    assert str(ref).isascii()
    assert " " not in str(ref)
    assert str(ref).startswith(ref.address)


@given(st.text(max_size=80))
@example("local://%ff#%00")
@example("ref+exec://id")
def test_whatever_is_accepted_is_canonical_and_all_else_is_refused_as_invalid(text: str) -> None:
    for candidate in (text, f"local://{text}", f"local://a#{text}", f"local://a?{text}"):
        try:
            ref = Ref.parse(candidate)
        except BadReferenceError:
            continue
        assert Ref.parse(str(ref)) == ref
        assert is_plain(ref.path)
        assert not {"", ".", ".."} & set(ref.path.removeprefix("/").split("/"))


def test_every_part_is_read() -> None:
    ref = Ref.parse("aws-sm://team/app%20db?version=v.1:2&stage=AWSCURRENT&store=eu#user name")

    assert ref == Ref("aws-sm", "team/app db", "user name", "v.1:2", "AWSCURRENT", "eu")
    assert ref.secret == Ref("aws-sm", "team/app db", store="eu")
    assert ref.address == "aws-sm://team/app%20db"


@pytest.mark.parametrize(
    ("fragment", "pointer"),
    [
        ("", ()),
        ("#key", ("key",)),
        ("#tls.crt", ("tls.crt",)),
        ("#a/b", ("a/b",)),
        ("#/db/password", ("db", "password")),
        ("#/a~1b/c~0d/", ("a/b", "c~d", "")),
        ("#/a~01", ("a~1",)),
        ("#/", ("",)),
        ("#a#b?c", ("a#b?c",)),
        ("#100%25", ("100%",)),
    ],
)
def test_a_fragment_is_a_literal_key_or_a_pointer(fragment: str, pointer: tuple[str, ...]) -> None:
    assert Ref.parse(f"local://a{fragment}").pointer == pointer


REFUSED = {
    "no scheme": "app/db#canary",
    "upper-case scheme": "LOCAL://canary",
    "one slash": "local:/canary",
    "empty": "",
    "no path": "local://",
    "no path but a key": "local://#canary",
    "empty key": "local://canary#",
    "parent": "vault://secret/../../sys/policies/canary",
    "parent at the end": "vault://canary/..",
    "here": "vault://secret/./canary",
    "empty segment": "vault://secret//canary",
    "trailing slash": "vault://secret/canary/",
    "only a slash": "aws-ssm:///",
    "two leading slashes": "aws-ssm:////canary",
    "encoded parent": "vault://secret/%2e%2e/canary",
    "half-encoded parent": "vault://secret/.%2E/canary",
    "encoded slash": "vault://secret/..%2fcanary",
    "encoded backslash": "vault://secret/..%5Ccanary",
    "double-encoded slash": "vault://secret/..%252fcanary",
    "triple-encoded slash": "vault://secret/..%25252Fcanary",
    "backslash": "vault://secret/..\\canary",
    "backslash in the key": "vault://secret#can\\ary",
    "encoded backslash in the key": "vault://secret#canary%5c",
    "NUL": "local://canary\x00",
    "encoded NUL": "local://canary%00",
    "encoded NUL in the key": "local://canary#a%00",
    "newline": "local://canary\nx",
    "encoded newline": "local://canary%0d%0aX-Header:1",
    "escape": "local://\x1b[2Jcanary",
    "delete": "local://canary\x7f",
    "right-to-left override": "local://canary\u202egnp",
    "encoded right-to-left override": "local://canary%E2%80%AEgnp",
    "isolate": "local://canary\u2066x",
    "zero-width space": "local://can\u200bary",
    "zero-width joiner": "local://can\u200dary",
    "byte order mark": "\ufefflocal://canary",
    "soft hyphen": "local://can\u00adary",
    "tag characters": "local://canary\U000e0041",
    "variation selector": "local://canary\ufe00",
    "supplementary variation selector": "local://canary\U000e0100",
    "grapheme joiner": "local://can\u034fary",
    "Hangul filler": "local://canary\u3164",
    "no-break space": "local://can\u00a0ary",
    "line separator": "local://canary\u2028",
    "surrogate": "local://canary\ud800",
    "encoded surrogate": "local://canary%ED%A0%80",
    "private use": "local://canary\ue000",
    "unassigned": "local://canary\u0378",
    "bad percent": "local://canary%",
    "bad percent digits": "local://canary%zz",
    "not UTF-8": "local://canary%ff",
    "overlong UTF-8": "local://canary/%c0%ae%c0%ae/",
    "long segment": "local://" + "canary" * 50,
    "long key": "local://a#" + "canary" * 100,
    "long whole": "local://" + "/".join(["canary"] * 200),
    "long once encoded": "local://" + "/".join(["鍵" * 60] * 3),
    "address parameter": "vault://secret/canary?address=http://127.0.0.1:1",
    "role parameter": "aws-sm://canary?role_arn=arn:aws:iam::1:role/x",
    "region parameter": "aws-sm://canary?region=eu-west-1",
    "unknown parameter": "local://canary?x=1",
    "upper-case parameter": "local://canary?Version=1",
    "encoded parameter": "local://canary?%76ersion=1",
    "twice": "local://canary?version=1&version=2",
    "empty parameter": "local://canary?version=",
    "no value": "local://canary?version",
    "empty part": "local://canary?version=1&",
    "odd value": "local://canary?version=1%2f2",
    "traversal in a value": "local://canary?store=../x",
    "long value": "local://canary?version=" + "1" * 65,
    "second query": "local://canary?version=1?store=x",
    "vals exec": "ref+exec://canary",
    "vals file": "ref+file:///etc/canary",
    "vals envsubst": "ref+envsubst://$CANARY",
    "vals echo": "ref+echo://canary",
    "vals unknown": "ref+gcpsecrets://canary",
    "vals without a scheme": "ref+canary",
    "vals with an address": "ref+vault://secret/canary?address=https://example.com#/k",
    "vals twice": "ref+ref+vault://secret/canary",
    "spaces around": " local://canary",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_reference_is_refused_without_an_echo(text: str) -> None:
    with pytest.raises(BadReferenceError) as refusal:
        Ref.parse(text)

    shown = f"{refusal.value!s} {refusal.value!r} {refusal.value.args}"
    assert "canary" not in shown.lower()
    assert quote("鍵") not in shown
    assert refusal.value.code == "REF_INVALID"
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


@pytest.mark.parametrize(
    ("vals", "ours"),
    [
        ("ref+vault://secret/app#/password", "vault://secret/app#/password"),
        ("ref+awssecrets://app?version=1#/a/b", "aws-sm://app?version=1#/a/b"),
        ("ref+awsssm://app", "aws-ssm://app"),
        ("ref+sops://file.yaml#/a", "sops://file.yaml#/a"),
    ],
)
def test_vals_references_are_read_for_the_stores_we_have(vals: str, ours: str) -> None:
    assert Ref.parse(vals) == Ref.parse(ours)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("local://", ""),
        ("local://a", "a"),
        ("local://a/", "a"),
        ("local://a/b/", "a/b"),
        ("aws-ssm:///", ""),
        ("aws-ssm:///a/", "/a"),
    ],
)
def test_a_prefix_may_be_empty_or_end_with_a_slash(text: str, path: str) -> None:
    assert Ref.parse_prefix(text).path == path


@pytest.mark.parametrize(
    "text",
    ["local://a#k", "local://a?version=1", "local://a?stage=x", "local://a//", "local://../", "//"],
)
def test_a_prefix_names_a_folder_only(text: str) -> None:
    with pytest.raises(BadReferenceError):
        Ref.parse_prefix(text)


@given(refs(), segments)
def test_a_child_is_one_step_below(ref: Ref, name: str) -> None:
    folder = replace(ref, key=None)

    assert folder.child(name).path == f"{ref.path}/{name}"
    assert Ref(ref.scheme, "").child(name).path == name
