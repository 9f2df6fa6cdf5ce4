"""Passwords of this server's users: hashes by scrypt (RFC 7914), or plain ones from the environment.

A hash is written ``scrypt:N:r:p:SALT:HASH``, salt and hash in unpadded base64url. Neither form shows in ``repr``.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field, replace
from typing import Protocol

__all__ = ["SCHEME", "HashedPassword", "Password", "PlainPassword", "hash_password", "parse_hash"]

SCHEME = "scrypt"
"""The first part of a hash as it is written."""

_N, _R, _P = 2**14, 8, 1  # 16 MiB and some 50 ms: the interactive setting of the scrypt paper
_MAX_MEMORY = 64 * 1024 * 1024  # the most that a configured hash may cost per login
_MAX_WORK = 8 * _N * _R * _P
_SALT_SIZE, _HASH_SIZE = 16, 32
_LINE = re.compile(r"scrypt:([0-9]{1,9}):([0-9]{1,9}):([0-9]{1,9}):([A-Za-z0-9_-]+):([A-Za-z0-9_-]+)")


class Password(Protocol):
    """Verifies passwords."""

    def matches(self, password: bytes) -> bool:
        """Return whether `password` is right. May take tens of milliseconds of CPU: call it in a thread."""


@dataclass(frozen=True, slots=True)
class PlainPassword:
    """A password in plain text, from the environment."""

    password: bytes = field(repr=False)

    def matches(self, password: bytes) -> bool:
        """Compare in constant time, whatever the lengths are."""
        return hmac.compare_digest(*(hashlib.sha256(each).digest() for each in (self.password, password)))


@dataclass(frozen=True, slots=True)
class HashedPassword:
    """A scrypt hash with its parameters."""

    n: int
    r: int
    p: int
    salt: bytes = field(repr=False)
    hash: bytes = field(repr=False)

    def matches(self, password: bytes) -> bool:
        """Hash `password` the same way and compare in constant time."""
        return hmac.compare_digest(self.hash, _scrypt(password, self.salt, self.n, self.r, self.p, len(self.hash)))

    @property
    def setting(self) -> tuple[int, int, int]:
        """The parameters that decide how long a check takes."""
        return self.n, self.r, self.p

    def decoy(self) -> HashedPassword:
        """Return a hash of no password, whose checks take as long as those of this one."""
        return replace(self, salt=os.urandom(len(self.salt)), hash=os.urandom(len(self.hash)))

    def __str__(self) -> str:
        return f"scrypt:{self.n}:{self.r}:{self.p}:{_encode(self.salt)}:{_encode(self.hash)}"


def hash_password(password: bytes) -> HashedPassword:
    """Hash a password with a new salt."""
    salt = os.urandom(_SALT_SIZE)
    return HashedPassword(_N, _R, _P, salt, _scrypt(password, salt, _N, _R, _P, _HASH_SIZE))


def parse_hash(text: str) -> HashedPassword:
    """Read a hash as ``chainsocks hash-password`` prints it.

    Raises:
        ValueError: it is not one, or too expensive; the message does not show it.
    """
    expected = "expected scrypt:N:r:p:SALT:HASH, as `chainsocks hash-password` prints it"
    line = _LINE.fullmatch(text)
    if line is None:
        raise ValueError(expected)
    n, r, p = (int(number) for number in line.group(1, 2, 3))
    try:
        salt, digest = (_decode(part) for part in line.group(4, 5))
    except ValueError:
        raise ValueError(expected) from None
    if n < 2 or n & (n - 1) or n.bit_length() > 16 * r or p < 1:  # RFC 7914 section 2
        raise ValueError("N must be a power of two, from 2 to less than 2**(16 * r), and p at least 1")
    if 128 * r * (n + p + 2) > _MAX_MEMORY or n * r * p > _MAX_WORK:
        raise ValueError("each login would cost more than 64 MiB, or 8 times the work of `chainsocks hash-password`")
    if len(digest) < 16:
        raise ValueError("the hash is incomplete; run `chainsocks hash-password` again")
    return HashedPassword(n, r, p, salt, digest)


def _scrypt(password: bytes, salt: bytes, n: int, r: int, p: int, size: int) -> bytes:
    # OpenSSL counts 128 * r * (n + p + 2), and a little more.
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=_MAX_MEMORY + 2**20, dklen=size)


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
