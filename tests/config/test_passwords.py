"""Passwords of our users: hashes that survive being written down, and lines that are no hash."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainsocks.config.passwords import HashedPassword, Password, PlainPassword, hash_password, parse_hash
from tests.config.files import complaint_of

SALT, HASH = "TmFDbA", "_bq-HJ00cgH4Y-InTQ_Onf7-RPH0Raaz9LhNX21NmUA"

RFC_7914 = HashedPassword(  # the second vector of section 12, cut to 32 bytes
    1024, 8, 16, b"NaCl", bytes.fromhex("fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162")
)


@pytest.fixture(scope="module")
def hashed() -> HashedPassword:
    return hash_password(b"correct horse")


def test_a_new_hash_survives_being_written_down(hashed: HashedPassword) -> None:
    assert parse_hash(str(hashed)) == hashed


def test_a_new_hash_knows_its_password(hashed: HashedPassword) -> None:
    assert hashed.matches(b"correct horse")
    assert not hashed.matches(b"incorrect horse")


def test_a_new_hash_is_written_in_unpadded_base64url(hashed: HashedPassword) -> None:
    assert re.fullmatch(r"scrypt:16384:8:1:[\w-]{22}:[\w-]{43}", str(hashed), re.ASCII)


def test_every_hash_has_its_own_salt(hashed: HashedPassword) -> None:
    again = hash_password(b"correct horse")
    assert (again.salt != hashed.salt, again.hash != hashed.hash) == (True, True)


def test_a_hash_is_scrypt_as_rfc_7914_has_it() -> None:
    assert RFC_7914.matches(b"password")


def test_a_password_from_the_environment() -> None:
    password = PlainPassword(b"geheim\xff")
    assert password.matches(b"geheim\xff")
    assert not password.matches(b"geheim")
    assert not password.matches(b"")


@pytest.mark.parametrize("password", [PlainPassword(b"geheim"), RFC_7914], ids=["plain", "hashed"])
def test_passwords_show_nothing(password: Password) -> None:
    assert not re.search(r"geheim|NaCl|\\x|salt|hash=", repr(password))


@given(
    n=st.sampled_from([2, 16, 2**14]),
    r=st.integers(1, 8),
    p=st.integers(1, 8),
    salt=st.binary(min_size=1, max_size=64),
    digest=st.binary(min_size=16, max_size=64),
)
def test_any_hash_survives_being_written_down(n: int, r: int, p: int, salt: bytes, digest: bytes) -> None:
    hashed = HashedPassword(n, r, p, salt, digest)
    assert parse_hash(str(hashed)) == hashed


@given(st.text() | st.lists(st.text(), min_size=5, max_size=5).map(lambda fields: ":".join(["scrypt", *fields])))
def test_any_text_is_a_hash_or_a_value_error(text: str) -> None:
    try:
        hashed = parse_hash(text)
    except ValueError:
        return
    assert parse_hash(str(hashed)) == hashed


NO_HASH = "expected scrypt:N:r:p:SALT:HASH, as `chainsocks hash-password` prints it"
NO_POWER = "N must be a power of two, from 2 to less than 2**(16 * r), and p at least 1"
TOO_DEAR = "each login would cost more than 64 MiB, or 8 times the work of `chainsocks hash-password`"
CUT_SHORT = "the hash is incomplete; run `chainsocks hash-password` again"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        pytest.param("", NO_HASH, id="nothing"),
        pytest.param("correct horse", NO_HASH, id="a password as it is"),
        pytest.param(f"bcrypt:16:8:1:{SALT}:{HASH}", NO_HASH, id="another scheme"),
        pytest.param(f"SCRYPT:16:8:1:{SALT}:{HASH}", NO_HASH, id="scheme in capitals"),
        pytest.param(f"16:8:1:{SALT}:{HASH}", NO_HASH, id="no scheme"),
        pytest.param(f"scrypt:16:8:1:{SALT}", NO_HASH, id="a field missing"),
        pytest.param(f"scrypt:16:8:1:{SALT}:{HASH}:{HASH}", NO_HASH, id="a field too many"),
        pytest.param(f"scrypt:16:8:1:{SALT}:{HASH}\n", NO_HASH, id="a line end"),
        pytest.param(f"scrypt:n:8:1:{SALT}:{HASH}", NO_HASH, id="N in letters"),
        pytest.param(f"scrypt:16.0:8:1:{SALT}:{HASH}", NO_HASH, id="N with a fraction"),
        pytest.param(f"scrypt:1_6:8:1:{SALT}:{HASH}", NO_HASH, id="N as Python writes it"),
        pytest.param(f"scrypt:-16:8:1:{SALT}:{HASH}", NO_HASH, id="N negative"),
        pytest.param(f"scrypt:16:-8:1:{SALT}:{HASH}", NO_HASH, id="r negative"),
        pytest.param(f"scrypt:16:8:-1:{SALT}:{HASH}", NO_HASH, id="p negative"),
        pytest.param(f"scrypt:16::1:{SALT}:{HASH}", NO_HASH, id="r empty"),
        pytest.param(f"scrypt:1{'0' * 5000}:8:1:{SALT}:{HASH}", NO_HASH, id="N of thousands of digits"),
        pytest.param(f"scrypt:16:8:1::{HASH}", NO_HASH, id="no salt"),
        pytest.param(f"scrypt:16:8:1:{SALT}:", NO_HASH, id="no hash"),
        pytest.param(f"scrypt:16:8:1:{SALT[:-1]}:{HASH}", NO_HASH, id="a salt that no base64 ends in"),
        pytest.param(f"scrypt:16:8:1:{SALT}:{HASH[:-1]}*", NO_HASH, id="stray characters in the hash"),
        pytest.param(f"scrypt:16:8:1:{SALT}:{HASH}=", NO_HASH, id="padding"),
        pytest.param(f"scrypt:16:8:1:{SALT}:{HASH.replace('_', '/')}", NO_HASH, id="the other base64"),
        pytest.param(f"scrypt:16:8:1:{SALT}:é{HASH}", NO_HASH, id="not ASCII"),
        pytest.param(f"scrypt:0:8:1:{SALT}:{HASH}", NO_POWER, id="N zero"),
        pytest.param(f"scrypt:1:8:1:{SALT}:{HASH}", NO_POWER, id="N one"),
        pytest.param(f"scrypt:12:8:1:{SALT}:{HASH}", NO_POWER, id="N no power of two"),
        pytest.param(f"scrypt:65536:1:1:{SALT}:{HASH}", NO_POWER, id="N too large for r"),
        pytest.param(f"scrypt:16:0:1:{SALT}:{HASH}", NO_POWER, id="r zero"),
        pytest.param(f"scrypt:16:8:0:{SALT}:{HASH}", NO_POWER, id="p zero"),
        pytest.param(f"scrypt:{2**29}:8:1:{SALT}:{HASH}", TOO_DEAR, id="N of half a TiB"),
        pytest.param(f"scrypt:{2**16}:8:1:{SALT}:{HASH}", TOO_DEAR, id="N just over 64 MiB"),
        pytest.param(f"scrypt:2:999999999:1:{SALT}:{HASH}", TOO_DEAR, id="r huge"),
        pytest.param(f"scrypt:2:1:999999999:{SALT}:{HASH}", TOO_DEAR, id="p huge"),
        pytest.param(f"scrypt:{2**15}:1:{2**15}:{SALT}:{HASH}", TOO_DEAR, id="little memory, hours of work"),
        pytest.param(f"scrypt:2:104858:1:{SALT}:{HASH}", TOO_DEAR, id="r just too large"),
        pytest.param(f"scrypt:2:1:{2**19 - 3}:{SALT}:{HASH}", TOO_DEAR, id="p just too large"),
        pytest.param(f"scrypt:{2**14}:8:9:{SALT}:{HASH}", TOO_DEAR, id="just too much work"),
        pytest.param(f"scrypt:16:8:1:{SALT}:{'A' * 20}", CUT_SHORT, id="15 bytes of hash"),
    ],
)
def test_what_no_hash_is(line: str, complaint: str) -> None:
    """Refused before anything is computed, and without a word of the line."""
    assert complaint_of(parse_hash, line) == complaint


def test_a_hash_may_take_eight_times_the_work_of_ours() -> None:
    assert parse_hash(f"scrypt:{2**14}:8:8:{SALT}:{HASH}").p == 8


@pytest.mark.parametrize(
    ("n", "r", "p"),
    [
        pytest.param(2, 1, 1, id="least"),
        pytest.param(2**15, 1, 1, id="largest N for r = 1"),
        pytest.param(2, 104_857, 1, id="largest r"),
        pytest.param(2, 1, 2**19 - 4, id="largest p"),
    ],
)
def test_what_is_accepted_can_be_computed(n: int, r: int, p: int) -> None:
    assert not parse_hash(f"scrypt:{n}:{r}:{p}:{SALT}:{'A' * 22}").matches(b"password")
