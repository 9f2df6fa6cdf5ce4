"""Check logins against the declared users, off the event loop, and fairly between clients.

1. A keyed digest recognises a login that was right once: it is accepted at once, whatever waits.
2. A hash by scrypt is slow on purpose. There are `THREADS` for it, shared out as `chainsocks.shares` says, by address:
   one hash at a time for each. Behind one address, the usernames take turns.
3. Equal logins of one client are checked once. A check that is no longer waited for is dropped, unless its hash is
   under way; the thread is free when that has ended.
4. Every check takes the same time, also for plain passwords and unknown names: it hashes once for each setting of
   scrypt that the users have. Where no password is hashed, no check needs a thread.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import trio
from outcome import Outcome

from chainsocks.config.models import User
from chainsocks.config.passwords import HashedPassword, PlainPassword
from chainsocks.protocol.messages import Method, UsernamePassword
from chainsocks.shares import FairQueue, Shares

__all__ = ["Known", "Logins"]

_REQUIRED = (Method.USERNAME_PASSWORD,)
_OPTIONAL = (Method.NO_AUTHENTICATION_REQUIRED, Method.USERNAME_PASSWORD)

THREADS = 2
"""Logins hashed at once: strangers can start it."""

StartThread = Callable[[Callable[[], bool], Callable[[Outcome[bool]], None]], None]


@dataclass(frozen=True, slots=True)
class Known:
    """Logins that were right before."""

    key: bytes = field(default_factory=lambda: os.urandom(32), repr=False)
    """That of the digests."""
    usernames: dict[bytes, bytes] = field(default_factory=dict)
    """By the digests."""


class _Check:
    """A login that waits for a thread, or for its hash; with the outcome, `done` is set."""

    __slots__ = ("done", "login", "outcome", "wanted")

    def __init__(self, login: UsernamePassword) -> None:
        self.login = login
        self.wanted = 0
        """How many wait for it."""
        self.done = trio.Event()
        self.outcome: bool | OSError = False


class Logins:
    """The declared users, and the logins that were right before. For `start_thread` see `Resolver`."""

    def __init__(
        self,
        users: Sequence[User],
        start_thread: StartThread = trio.lowlevel.start_thread_soon,
        known: Known | None = None,
    ) -> None:
        self._passwords = {user.name.encode(): user.password for user in users}
        self._nobody = PlainPassword(os.urandom(32))
        hashed = [user.password for user in users if isinstance(user.password, HashedPassword)]
        self._decoys = {password.setting: password.decoy() for password in hashed}
        self._is_slow = not all(isinstance(user.password, PlainPassword) for user in users)
        self._known = known or Known()
        self._start_thread = start_thread
        self._checks: dict[tuple[str, bytes], _Check] = {}
        self._threads = Shares(THREADS, reserve=THREADS - 1)
        self._waiting = FairQueue[tuple[bytes, _Check]](self._threads)

    def renewed(self, users: Sequence[User]) -> Logins:
        """Make those of other users. Logins of users whose passwords are the same remain known."""
        same = {name for user in users if self._passwords.get(name := user.name.encode()) == user.password}
        usernames = {digest: name for digest, name in self._known.usernames.copy().items() if name in same}
        return Logins(users, self._start_thread, Known(self._known.key, usernames))

    @property
    def required(self) -> bool:
        """Whether clients have to log in."""
        return bool(self._passwords)

    @property
    def methods(self) -> tuple[Method, ...]:
        """The SOCKS5 methods to accept. Without users a client may still log in, with anything, if it insists."""
        if self.required:
            return _REQUIRED
        return _OPTIONAL

    def is_known(self, login: UsernamePassword) -> bool:
        """Whether a login needs no check: it was right before, or no login is required."""
        return not self.required or self._digest(login) in self._known.usernames

    async def accept(self, login: UsernamePassword, client: str = "") -> bool:
        """Return whether a login is right; True for any login where none is required.

        Raises:
            OSError: no thread can be started.
        """
        if self.is_known(login):
            return True
        digest = self._digest(login)
        if not self._is_slow:
            return self._note(digest, login, right=self._is_right(login))
        key = client, digest
        check = self._checks.get(key)
        if check is None:
            check = self._checks[key] = _Check(login)
            self._waiting.put(client, (digest, check), login.username)
            self._start_waiting()
        check.wanted += 1
        try:
            await check.done.wait()
        finally:
            check.wanted -= 1
            if not check.wanted and self._checks.get(key) is check:
                del self._checks[key]
        if isinstance(check.outcome, OSError):
            raise OSError(*check.outcome.args)
        return check.outcome

    def _start_waiting(self) -> None:
        """Start checks that wait, as far as there are threads for their clients."""
        while entry := self._waiting.take():
            client, (digest, check) = entry
            if digest in self._known.usernames:  # from another address, meanwhile
                self._end(client, digest, check, outcome=True)
            elif self._checks.get((client, digest)) is check:
                self._start(client, digest, check)

    def _start(self, client: str, digest: bytes, check: _Check) -> None:
        self._threads.take(client)
        token = trio.lowlevel.current_trio_token()

        def deliver(result: Outcome[bool]) -> None:
            try:
                token.run_sync_soon(self._finish, client, digest, check, result)
            except trio.RunFinishedError:
                pass  # the server has ended

        try:
            self._start_thread(partial(self._is_right, check.login), deliver)
        except RuntimeError:  # of the threading module
            self._threads.give_back(client)
            self._end(client, digest, check, OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)))

    def _finish(self, client: str, digest: bytes, check: _Check, result: Outcome[bool]) -> None:
        """Take the result of a thread, and give the thread to another check."""
        self._threads.give_back(client)
        try:
            outcome: bool | OSError = self._note(digest, check.login, right=result.unwrap())
        except Exception as error:  # noqa: BLE001  (out of memory, for one; it would end the server)
            outcome = OSError(errno.ENOMEM, str(error) or os.strerror(errno.ENOMEM))
        self._end(client, digest, check, outcome)
        self._start_waiting()

    def _end(self, client: str, digest: bytes, check: _Check, outcome: bool | OSError) -> None:  # noqa: FBT001
        if self._checks.get((client, digest)) is check:
            del self._checks[client, digest]
        check.outcome = outcome
        check.done.set()

    def _note(self, digest: bytes, login: UsernamePassword, *, right: bool) -> bool:
        if right:
            self._known.usernames[digest] = login.username
        return right

    def _is_right(self, login: UsernamePassword) -> bool:
        """Check a login; slow if any user's password is hashed."""
        password = self._passwords.get(login.username, self._nobody)
        setting = password.setting if isinstance(password, HashedPassword) else None
        for each, decoy in self._decoys.items():
            if each != setting:
                decoy.matches(login.password)
        return password.matches(login.password)

    def _digest(self, login: UsernamePassword) -> bytes:
        message = bytes((len(login.username),)) + login.username + login.password
        return hmac.digest(self._known.key, message, hashlib.sha256)
