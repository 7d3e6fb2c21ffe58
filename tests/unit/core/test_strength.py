import random
import string

import pytest

from mcp_server.core.strength import above_floor, common_words


@pytest.mark.parametrize(
    "value",
    [
        "482913",
        "true",
        "short7Kq!x",
        "password1234",
        "P@ssw0rd2023!",
        "Summer2024!!",
        "adminadminadmin",
        "postgrespassword",
        "production-database-password",
        "qwertyuiop12",
        "1qaz2wsx3edc",
        "123456789012",
        "1234567890987654321",
        "aaaaaaaaaaaa",
        "abcabcabcabc",
        "aaaaaabbbbbb",
        "20240101-20241231",
        "abcdefghijklmnopqrstuvwxyz",
        "",
    ],
)
def test_a_guessable_value_is_below_the_floor(value: str) -> None:
    assert not above_floor(value.encode())


@pytest.mark.parametrize(
    "value",
    [
        "847362910482",
        "a1b2c3d4e5f6",
        "Zk3vQ9xT1mB7",
        "correct-horse-battery-staple",
        "пароль-секрет-тихий",
        '{"username":"app","password":"k9Qx7vB3mT8w"}',
    ],
)
def test_twelve_characters_that_are_no_few_pieces_are_above_it(value: str) -> None:
    assert above_floor(value.encode())


@pytest.mark.parametrize(
    ("alphabet", "share"),
    [
        (string.ascii_letters + string.digits, 1.0),
        (string.ascii_lowercase, 1.0),
        ("0123456789abcdef", 0.99),
        (string.punctuation, 0.97),
        (string.digits, 0.97),
    ],
)
def test_random_values_of_twelve_characters_pass(alphabet: str, share: float) -> None:
    source = random.Random(alphabet)  # noqa: S311 - reproducible
    passed = sum(above_floor("".join(source.choices(alphabet, k=12)).encode()) for _ in range(500))
    assert passed >= 500 * share


def test_a_generator_can_vouch_for_a_short_value_with_64_bits() -> None:
    assert above_floor(b"k9Qx7vB3mT8", generated_bits=64)
    assert not above_floor(b"k9Qx7vB3mT8", generated_bits=63)
    assert not above_floor(b"k9Qx7vB3mT8")


def test_twelve_means_characters_not_bytes() -> None:
    assert len("тихийпа".encode()) > 12
    assert not above_floor("тихийпа".encode())


def test_bytes_that_are_no_text_are_judged_byte_by_byte() -> None:
    assert above_floor(bytes(range(0x80, 0xA0, 1))[::3] + b"\xff\x00\x91\x13")
    assert not above_floor(b"\xff" * 40)


def test_a_megabyte_of_pieces_is_refused() -> None:
    assert not above_floor(b"a" * 2**20)
    assert not above_floor(b"password" * 2**17)


def test_the_word_list_is_lower_case_words_of_four_letters_or_more() -> None:
    words = common_words()
    assert len(words) > 300
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)
    assert min(map(len, words)) == 4
