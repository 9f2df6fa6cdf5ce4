"""Bandwidth: the bytes a second that all relays pass together, and those of one user, shared out fairly.

1. A direction of a relay asks before it reads, and tells what it has moved. If there is nothing left, it waits. What
   its source sends stays with the kernel, whose window stops the source, and bytes are spliced as without a limit.
2. Users take turns, and the directions of a user take turns within that. In a turn, some 20 ms' worth of bytes is
   moved. An address without a login is a user here.
3. Bytes beyond the limit are taken off what may be moved next. Bytes that were not used are kept for a moment
   (`BURST`).
4. Workers tell one another which of their users move bytes, and each has the part of the limits that its users are of
   all. A user of several workers is a part of one in each, and has as many turns fewer. So the bytes of all workers
   together are limited, one worker alone may move them all, and users have the same, wherever their sessions are.
5. Datagrams do not wait: those that there is nothing left for are dropped (`chainsocks.relay.throttled`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

import trio

from chainsocks.config.limits import Limit
from chainsocks.limits.board import Column

__all__ = ["BURST", "LARGEST_TURN", "SMALLEST_TURN", "TICK", "Bandwidth", "Share", "Waiter"]

BURST = 0.1
"""Seconds whose bytes are kept, and up to twice as many after a pause."""

TURN = 0.02
"""Seconds whose bytes are moved in one turn."""

SMALLEST_TURN, LARGEST_TURN = 4 * 1024, 1024 * 1024
"""Bytes of a turn."""

TICK = 0.01
"""Seconds between two looks for what may go on, while anything waits."""

TELL = 0.1
"""Seconds between two looks at what the other workers need."""

TURNS_BEFORE_YIELD = 16
"""Turns after which other tasks run: each may take some 200 microseconds."""


WHOLE = 840
"""What one user is on the board, which has whole numbers only; up to eight workers divide it without a rest."""

_ALL, _USER = "\0all", "\0user "
"""What stands for all users, and before a user, beside the clients of other limits."""


class Waiter(Protocol):
    """What waits for its turn."""

    def resume(self) -> None:
        """Have the turn: move some bytes at once, or begin to. It must not raise."""


class _Level:
    """The bytes that may be moved now; fewer than none after too many."""

    __slots__ = ("_at", "_bytes", "_now", "_rate")

    def __init__(self, now: Callable[[], float], rate: float) -> None:
        self._now = now
        self._at = now()
        self._rate = rate
        self._bytes = rate * BURST

    @property
    def is_used_up(self) -> bool:
        """Whether nothing is left."""
        if self._bytes > 0:
            return False
        self._fill()
        return self._bytes <= 0

    @property
    def is_full(self) -> bool:
        """Whether a new one would have no more."""
        self._fill()
        return self._bytes >= self._rate * BURST

    def change(self, rate: float) -> None:
        """Have another rate from now on."""
        self._fill()
        self._rate = rate
        self._bytes = min(self._bytes, rate * BURST)

    def spend(self, size: int) -> None:
        """Note bytes that were moved."""
        self._bytes -= size

    def _fill(self) -> None:
        now = self._now()
        self._bytes = min(self._bytes + self._rate * (now - self._at), self._rate * BURST)
        self._at = now


class Share:
    """What one user may move; made by `Bandwidth.share_of`. `close` gives it back."""

    __slots__ = (
        "_bandwidth",
        "account",
        "has_moved",
        "is_listed",
        "is_told",
        "level",
        "passed",
        "users",
        "waiting",
        "workers",
    )

    def __init__(self, bandwidth: Bandwidth, account: str, level: _Level | None) -> None:
        self._bandwidth = bandwidth
        self.account = account
        self.level = level
        """Where the bytes of a user are limited."""
        self.users = 0
        """Relays that have it."""
        self.waiting: dict[Waiter, None] = {}
        self.has_moved = self.is_told = False
        """Whether it has moved bytes since the other workers were told, and whether they know that it does."""
        self.workers = 1
        """In how many workers the user moves bytes."""
        self.passed = 0
        """Turns that were passed to others, because the user has turns in other workers."""
        self.is_listed = False
        """Whether the bandwidth knows that anything waits here."""

    @property
    def turn(self) -> int:
        """Bytes to move in a turn."""
        return self._bandwidth.turn

    @property
    def may_move(self) -> bool:
        """Whether a turn can be had at once: there are bytes left, and nothing waits for them."""
        bandwidth, level = self._bandwidth, self.level
        return not (
            bandwidth.ready
            or self.waiting
            or (bandwidth.total and bandwidth.total.is_used_up)
            or (level and level.is_used_up)
        )

    def spend(self, size: int) -> None:
        """Note bytes that were moved."""
        self.has_moved = True
        if self._bandwidth.total:
            self._bandwidth.total.spend(size)
        if self.level:
            self.level.spend(size)

    def wait(self, waiter: Waiter) -> None:
        """Have `waiter` resumed when it has its turn."""
        if waiter in self.waiting:
            return
        self.waiting[waiter] = None
        self._bandwidth.count(Limit.BANDWIDTH_PER_USER if self.level and self.level.is_used_up else Limit.BANDWIDTH)
        if not self.is_listed:
            self.is_listed = True
            self._bandwidth.ready.append(self)
            self._bandwidth.wanted.set()

    def forget(self, waiter: Waiter) -> None:
        """Have `waiter` wait no more."""
        self.waiting.pop(waiter, None)

    async def wait_for_turn(self) -> None:
        """Wait until a turn can be had."""
        if self.may_move:
            return
        sleeper = _Sleeper(self)
        self.wait(sleeper)
        try:
            await sleeper.woken.wait()
        finally:
            self.forget(sleeper)
            self.spend(-sleeper.reserved)

    def close(self) -> None:
        """Give it back: a relay has ended."""
        self.users -= 1
        self._bandwidth.prune()


class _Sleeper:
    """A task that waits for its turn. Until it runs, its bytes are reserved, so that not too many are woken."""

    __slots__ = ("_share", "reserved", "woken")

    def __init__(self, share: Share) -> None:
        self._share = share
        self.reserved = 0
        self.woken = trio.Event()

    def resume(self) -> None:
        self.reserved = self._share.turn
        self._share.spend(self.reserved)
        self.woken.set()


class Bandwidth:
    """See the module. `run` serves what waits. Without limits, there are no shares. `others` are the other workers."""

    def __init__(self, now: Callable[[], float], count: Callable[[Limit], None], others: Column | None = None) -> None:
        self.count = count
        """Called for each wait."""
        self.total: _Level | None = None
        self.turn = LARGEST_TURN
        self.ready = deque[Share]()
        """Shares in which something waits, but for those whose user has used up the own limit."""
        self.wanted = trio.Event()
        self._now = now
        self._others = others
        self._told = 0
        """The users that the other workers know of, `WHOLE` for each."""
        self._limits: tuple[float | None, float | None] = None, None
        self._has_limits = trio.Event()
        self._used_up = deque[Share]()
        self._shares: dict[str, Share] = {}  # the one that was opened last comes last

    def __len__(self) -> int:
        """Return how many users are in memory."""
        return len(self._shares)

    def change(self, total: float | None, per_user: float | None) -> None:
        """Have other limits from now on, in bytes a second; None is no limit."""
        self._limits = total, per_user
        if total is not None or per_user is not None:
            self._has_limits.set()
        elif self._has_limits.is_set():
            self._has_limits = trio.Event()
        self.total = self._changed(self.total, total)
        for share in self._shares.values():
            share.level = self._changed(share.level, per_user)
        slower = min(total or math.inf, per_user or math.inf)
        self.turn = int(max(SMALLEST_TURN, min(slower * TURN, LARGEST_TURN)))

    def _changed(self, level: _Level | None, rate: float | None) -> _Level | None:
        if rate is None:
            return None
        if level is None:
            return _Level(self._now, rate)
        level.change(rate)
        return level

    def share_of(self, account: str) -> Share | None:
        """Return the share of a user, for one relay more; None without limits. The caller closes it."""
        if not self._has_limits.is_set():
            return None
        share = self._shares.pop(account, None)
        if share is None:
            share = Share(self, account, self._changed(None, self._limits[1]))
        self._shares[account] = share
        share.users += 1
        return share

    def prune(self) -> None:
        """Free the memory of one or two users without a relay, whose limit is as if it had not been used."""
        for _ in range(2):
            oldest = next(iter(self._shares.values()), None)
            if oldest is None:
                return
            del self._shares[oldest.account]
            if oldest.users or oldest.is_told or not (oldest.level is None or oldest.level.is_full):
                self._shares[oldest.account] = oldest  # it is looked at again after the others

    async def run(self) -> None:
        """Give turns, and tell the other workers, until cancelled."""
        async with trio.open_nursery() as nursery:
            if self._others:
                nursery.start_soon(self._agree, self._others)
            await self._give_turns()

    async def _agree(self, others: Column) -> None:
        """Tell the other workers which users move bytes, and have the part of the limits that is due to them."""
        while True:
            await self._has_limits.wait()
            total, per_user = self._limits
            active = 0
            for share in self._shares.values():
                is_active = share.has_moved or bool(share.waiting)
                share.has_moved = False
                if is_active is not share.is_told:
                    share.is_told = is_active
                    others.add(_USER + share.account, 1 if is_active else -1)
                if is_active:
                    share.workers = 1 + others.of_others(_USER + share.account)
                    active += WHOLE // share.workers
                    if share.level and per_user:
                        share.level.change(per_user / share.workers)
            others.add(_ALL, active - self._told)
            self._told = active
            if self.total and total:
                ours = active or WHOLE
                self.total.change(total * ours / (ours + others.of_others(_ALL)))
            await trio.sleep(TELL)

    async def _give_turns(self) -> None:
        while True:
            await self.wanted.wait()
            self._serve()
            if self.ready or self._used_up:
                await trio.sleep(0 if self._has_turn() else TICK)
            else:
                self.wanted = trio.Event()

    def _has_turn(self) -> bool:
        return bool(self.ready) and not (self.total and self.total.is_used_up)

    def _serve(self) -> None:
        """Give turns as far as there are bytes, but not too many at once."""
        self.ready.extend(self._used_up)
        self._used_up.clear()
        for _ in range(TURNS_BEFORE_YIELD):
            while self._has_turn() and self.ready[0].level and self.ready[0].level.is_used_up:
                self._used_up.append(self.ready.popleft())
            if not self._has_turn():
                return
            share = self.ready.popleft()
            if self.ready and share.passed + 1 < share.workers:
                share.passed += 1
                self.ready.append(share)
                continue
            share.passed = 0
            waiter = next(iter(share.waiting), None)
            if waiter is not None:
                del share.waiting[waiter]
            share.is_listed = bool(share.waiting)
            if share.is_listed:
                self.ready.append(share)
            if waiter is not None:
                waiter.resume()
