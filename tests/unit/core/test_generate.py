"""Generated values: strong enough, of the promised form, and accepted by what will use them."""

from __future__ import annotations

import base64
import math
import string
import subprocess
import uuid
from pathlib import Path

import pyrage
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from mnemonic import Mnemonic

from mcp_server.core.errors import SourceError
from mcp_server.core.generate import (
    _ALPHABET,
    _LENGTHS,
    _SYMBOLS,
    KEY_PAIRS,
    Recipe,
    generate,
    normal_length,
)
from mcp_server.core.sealed import _open
from mcp_server.core.strength import above_floor

SIZED = sorted(_LENGTHS)
TEXTS = [recipe for recipe in Recipe if recipe not in KEY_PAIRS]


def text_of(recipe: Recipe, length: int | None = None) -> str:
    return _open(generate(recipe, length).value).decode()


# --- strength ----------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", Recipe)
def test_every_recipe_has_at_least_64_bits_at_its_least_length(recipe: Recipe) -> None:
    least = _LENGTHS[recipe][0] if recipe in _LENGTHS else None
    made = generate(recipe, least).value
    assert made.generated_bits is not None
    assert made.generated_bits >= 64
    assert above_floor(_open(made), generated_bits=made.generated_bits)


@pytest.mark.parametrize("recipe", TEXTS)
def test_no_two_values_are_alike(recipe: Recipe) -> None:
    assert len({text_of(recipe) for _ in range(200)}) == 200


def test_the_bits_are_not_more_than_the_form_can_hold() -> None:
    """What is drawn again to have every class costs less than the bit that rounding leaves."""
    for length in (12, 32):
        alphabet = len(_ALPHABET + _SYMBOLS)
        made = generate(Recipe.PASSWORD, length).value
        assert made.generated_bits == int(length * math.log2(alphabet))
    assert generate(Recipe.PASSPHRASE, 6).value.generated_bits == 66
    assert generate(Recipe.HEX, 16).value.generated_bits == 128
    assert generate(Recipe.UUID).value.generated_bits == 122


@pytest.mark.parametrize(
    ("recipe", "alphabet"),
    [(Recipe.PASSWORD, _ALPHABET + _SYMBOLS), (Recipe.ALPHANUMERIC, _ALPHABET)],
)
def test_every_character_of_the_alphabet_comes_about_equally_often(
    recipe: Recipe, alphabet: str
) -> None:
    """64,000 draws; a character that is missing or twice as likely is a broken generator."""
    drawn = "".join(text_of(recipe, 256) for _ in range(250))
    expected = len(drawn) / len(alphabet)
    counts = {character: drawn.count(character) for character in alphabet}
    assert sum(counts.values()) == len(drawn)
    assert min(counts.values()) > expected * 0.7
    assert max(counts.values()) < expected * 1.3


# --- form --------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [12, 13, 32, 256])
def test_a_password_has_every_class_and_needs_no_quoting(length: int) -> None:
    for _ in range(50):
        text = text_of(Recipe.PASSWORD, length)
        assert len(text) == length
        for each in (string.ascii_lowercase, string.ascii_uppercase, string.digits, _SYMBOLS):
            assert set(each) & set(text)
        assert not set(text) & set("\"'\\$`@:/?#[]%{}<>|;& \n")


@pytest.mark.parametrize("length", [12, 256])
def test_an_alphanumeric_value_is_that(length: int) -> None:
    text = text_of(Recipe.ALPHANUMERIC, length)
    assert (len(text), text.isalnum(), text.isascii()) == (length, True, True)


@pytest.mark.parametrize("words", [6, 7, 24])
def test_a_passphrase_is_words_of_the_list(words: int) -> None:
    parts = text_of(Recipe.PASSPHRASE, words).split("-")
    assert len(parts) == words
    assert set(parts) <= set(Mnemonic("english").wordlist)


@pytest.mark.parametrize("size", [16, 17, 512])
def test_bytes_come_in_their_encoding(size: int) -> None:
    assert len(bytes.fromhex(text_of(Recipe.HEX, size))) == size
    assert len(base64.b64decode(text_of(Recipe.BASE64, size), validate=True)) == size
    token = text_of(Recipe.TOKEN, size)
    assert len(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))) == size
    assert not set(token) & set("+/=")


def test_a_uuid_is_a_random_one() -> None:
    found = uuid.UUID(text_of(Recipe.UUID))
    assert (found.version, found.variant) == (4, uuid.RFC_4122)


# --- lengths -----------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", SIZED)
def test_a_length_has_bounds(recipe: Recipe) -> None:
    least, default, most = _LENGTHS[recipe]
    assert normal_length(recipe, None) == default
    assert (normal_length(recipe, least), normal_length(recipe, most)) == (least, most)
    for wrong in (least - 1, most + 1, 0, -1, 10**9):
        with pytest.raises(SourceError):
            normal_length(recipe, wrong)
        with pytest.raises(SourceError):
            generate(recipe, wrong)


@pytest.mark.parametrize("recipe", [recipe for recipe in Recipe if recipe not in _LENGTHS])
def test_a_recipe_of_one_size_takes_no_length(recipe: Recipe) -> None:
    assert normal_length(recipe, None) is None
    with pytest.raises(SourceError):
        generate(recipe, 32)


# --- the real consumers ------------------------------------------------------------------------


def _file(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_bytes(content)
    return str(path)


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_ssh_keygen_reads_the_private_half_and_finds_the_public_one(tmp_path: Path) -> None:
    made = generate(Recipe.SSH_ED25519)
    found = _run("ssh-keygen", "-y", "-f", _file(tmp_path, _open(made.value)))
    assert made.public is not None
    assert found.split()[:2] == made.public.split()[:2]


@pytest.mark.parametrize(("recipe", "length"), [(Recipe.RSA, 2048), (Recipe.EC_P256, None)])
def test_openssl_reads_the_private_half_and_finds_the_public_one(
    tmp_path: Path, recipe: Recipe, length: int | None
) -> None:
    made = generate(recipe, length)
    path = _file(tmp_path, _open(made.value))
    assert _run("openssl", "pkey", "-in", path, "-pubout") == made.public
    assert load_pem_private_key(_open(made.value), None)


def test_age_decrypts_with_the_private_half_what_the_public_one_encrypted() -> None:
    made = generate(Recipe.AGE)
    assert made.public is not None
    recipient = pyrage.x25519.Recipient.from_str(made.public)
    identity = pyrage.x25519.Identity.from_str(_open(made.value).decode())
    assert pyrage.decrypt(pyrage.encrypt(b"hello", [recipient]), [identity]) == b"hello"


@pytest.mark.parametrize("recipe", Recipe)
def test_a_key_pair_has_a_public_half_and_nothing_else_has(recipe: Recipe) -> None:
    made = generate(recipe, 2048 if recipe is Recipe.RSA else None)
    assert (made.public is not None) == (recipe in KEY_PAIRS)
    if made.public is not None:
        assert "PRIVATE" not in made.public
        assert "SECRET" not in made.public
