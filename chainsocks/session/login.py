"""Check logins against the declared users, off the event loop."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence

import trio

from chainsocks.config.models import User
from chainsocks.config.passwords import HashedPassword, Password, PlainPassword, hash_password
from chainsocks.protocol.messages import Method, UsernamePassword

__all__ = ["Logins"]

THREADS = 2
"""Logins hashed at once: scrypt is slow on purpose, so that strangers must not be able to start it without bound."""


class Logins:
    """The declared users, and the logins that were right before.

    A keyed digest recognises a login that was right once, so that only a client's first session pays for scrypt.
    """

    def __init__(self, users: Sequence[User]) -> None:
        self._passwords = {user.name.encode(): user.password for user in users}
        self._key = os.urandom(32)
        self._known: set[bytes] = set()
        self._limiter = trio.CapacityLimiter(THREADS)
        self._decoy = _decoy_password(users)

    @property
    def required(self) -> bool:
        """Whether clients have to log in."""
        return bool(self._passwords)

    @property
    def methods(self) -> tuple[Method, ...]:
        """The SOCKS5 methods to accept. Without users a client may still log in, with anything, if it insists."""
        if self.required:
            return (Method.USERNAME_PASSWORD,)
        return (Method.NO_AUTHENTICATION_REQUIRED, Method.USERNAME_PASSWORD)

    async def accept(self, login: UsernamePassword) -> bool:
        """Return whether a login is right; True for any login where none is required."""
        if not self.required:
            return True
        digest = self._digest(login)
        if digest in self._known:
            return True
        # An unknown name takes as long as a wrong password, so that time does not tell them apart.
        password = self._passwords.get(login.username, self._decoy)
        right = await trio.to_thread.run_sync(
            password.matches, login.password, limiter=self._limiter, abandon_on_cancel=True
        )
        if right:
            self._known.add(digest)
        return right

    def _digest(self, login: UsernamePassword) -> bytes:
        message = bytes((len(login.username),)) + login.username + login.password
        return hmac.digest(self._key, message, hashlib.sha256)


def _decoy_password(users: Sequence[User]) -> Password:
    """Make an unknown password that is as slow to check as the slowest of the users'."""
    secret = os.urandom(32)
    slow = any(isinstance(user.password, HashedPassword) for user in users)
    return hash_password(secret) if slow else PlainPassword(secret)
