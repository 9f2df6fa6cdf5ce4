"""Delays of login checks, for addresses that have had too many wrong logins.

1. An address may have `failed_logins` wrong logins. After that one and each further one, its next check is delayed: by
   `FIRST` seconds, then by twice as long each time, up to `LONGEST`. Then one login is checked at a time.
2. One wrong login is forgiven after each `FORGIVEN` seconds without another. A right one forgives nothing: an
   attacker may have a login, too.
3. A delayed login waits with its connection, if its time is long enough and fewer than `WAITING` wait; it is refused
   otherwise, without a check.
4. No more logins are under way than may be wrong, so that guesses do not come all at once.
5. Logins that were right before are not checked, and so are not delayed (`chainsocks.session.login`).

The memory is bounded. Wrong logins are counted by address, which does not slow down an attacker with very many
addresses. Counted by username, they would let any stranger lock a user out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

__all__ = ["FIRST", "FORGIVEN", "LONGEST", "MOST", "WAITING", "FailedLogins", "LoginDelayed", "LoginTurn"]

FIRST, LONGEST = 1.0, 60.0
"""Seconds of the first delay, and of the longest."""

FORGIVEN = 60.0
"""Seconds without a wrong login until one is forgiven. With one after each `LONGEST` delay, the next is as long."""

WAITING = 8
"""Delayed logins of an address that wait."""

MOST = 65_536
"""Addresses in memory. Beyond that, the one whose last wrong login is the oldest is forgotten."""


class LoginDelayed(Exception):
    """A login that would have to wait for too long, because its address has had `most` wrong ones or more.

    `seconds` are left until the next one of its address is checked.
    """

    def __init__(self, most: int, seconds: float) -> None:
        super().__init__(most, seconds)
        self.most = most
        self.seconds = seconds


class LoginTurn:
    """The turn of one login to be checked."""

    __slots__ = ("is_wrong",)

    def __init__(self) -> None:
        self.is_wrong = False
        """Whether the check has shown that; for its owner to set."""


class _Address:
    __slots__ = ("checked", "checking", "failures", "noted", "until", "waiting")

    def __init__(self, now: float) -> None:
        self.failures = 0
        self.noted = now
        """When the last one was added or forgiven."""
        self.until = now
        """When the next login may be checked."""
        self.checking = 0
        self.waiting = 0
        self.checked = trio.lowlevel.ParkingLot()

    def forgive(self, now: float) -> None:
        forgiven = int((now - self.noted) / FORGIVEN)
        self.failures = max(0, self.failures - forgiven)
        self.noted += forgiven * FORGIVEN


class FailedLogins:
    """See the module. `most` is ``failed_logins``, and may be changed; `now` is trio's clock."""

    def __init__(self, now: Callable[[], float], most: int, count: Callable[[], None]) -> None:
        self.most = most
        self._now = now
        self._count = count
        self._addresses: dict[str, _Address] = {}  # the one with the last failure comes last

    def __len__(self) -> int:
        """Return how many addresses are in memory."""
        return len(self._addresses)

    @asynccontextmanager
    async def turn(self, address: str, latest: float) -> AsyncIterator[LoginTurn]:
        """Wait until a login of an address may be checked; it is checked in the block.

        `count` is called for a login that is delayed.

        Raises:
            LoginDelayed: that would be after `latest`, or too many wait.
        """
        entry = self._addresses.get(address)
        if entry is None:
            entry = self._addresses[address] = _Address(self._now())
        entry.forgive(self._now())
        if self._is_delayed(entry):
            self._count()
        turn = LoginTurn()
        try:
            await self._wait(entry, latest)
            entry.checking += 1
            try:
                yield turn
            finally:
                entry.checking -= 1
                if turn.is_wrong:
                    self._note_failure(address, entry)
                entry.checked.unpark_all()
        finally:
            self._forget(address, entry)

    def _is_delayed(self, entry: _Address) -> bool:
        return entry.failures >= self.most and (entry.until > self._now() or entry.checking > 0)

    async def _wait(self, entry: _Address, latest: float) -> None:
        entry.waiting += 1
        try:
            while True:
                now = self._now()
                entry.forgive(now)
                if entry.failures >= self.most:
                    if entry.until > latest or entry.waiting > WAITING:
                        raise LoginDelayed(self.most, max(0.0, entry.until - now))
                    if entry.until > now:
                        await trio.sleep_until(entry.until)
                        continue
                    if not entry.checking:
                        return
                elif entry.failures + entry.checking < self.most:
                    return
                await entry.checked.park()
        finally:
            entry.waiting -= 1

    def _note_failure(self, address: str, entry: _Address) -> None:
        now = self._now()
        entry.forgive(now)
        entry.failures += 1
        entry.noted = now
        if entry.failures >= self.most:
            entry.until = now + min(FIRST * 2.0 ** min(entry.failures - self.most, 10), LONGEST)
        if self._addresses.pop(address, None) is entry:
            self._addresses[address] = entry

    def _forget(self, address: str, entry: _Address) -> None:
        """Free the memory of what is forgiven, and of the oldest if there is too much."""
        if not (entry.failures or entry.checking or entry.waiting) and self._addresses.get(address) is entry:
            del self._addresses[address]
        for _ in range(2):
            oldest = next(iter(self._addresses), None)
            if oldest is None:
                return
            first = self._addresses[oldest]
            first.forgive(self._now())
            is_used = first.checking or first.waiting
            if is_used or (first.failures and len(self._addresses) <= MOST):
                return
            del self._addresses[oldest]
