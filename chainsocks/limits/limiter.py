"""The limits of a server: ``[limits]`` at work.

A reload has new limits hold from then on, also for what began before. What was counted stays.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from chainsocks.config.limits import Limit, Limits
from chainsocks.config.listeners import ListenAddress
from chainsocks.limits.bandwidth import Bandwidth, Share
from chainsocks.limits.board import Column
from chainsocks.limits.logins import FailedLogins
from chainsocks.limits.sessions import LimitReached, SessionLimits
from chainsocks.limits.trust import Trust
from chainsocks.shares import client_of

__all__ = ["Limiter", "open_limiter"]


def _ignore(limit: Limit) -> None:
    """Count nothing."""


class Limiter:
    """See the module. `now` returns seconds on a clock that never goes back.

    `count` is called each time that a limit has refused, ended or dropped something. `others` are the other workers.
    """

    __slots__ = ("_failed_logins", "_now", "_trust", "bandwidth", "count", "sessions")

    def __init__(
        self,
        now: Callable[[], float],
        limits: Limits,
        count: Callable[[Limit], None] | None = None,
        others: Column | None = None,
    ) -> None:
        self.count = count or _ignore
        self._now = now
        self._failed_logins: FailedLogins | None = None
        self.bandwidth = Bandwidth(now, self.count, others)
        self.sessions = SessionLimits(now, others)
        self.change(limits)

    def change(self, limits: Limits) -> None:
        """Have other limits from now on."""
        self._trust = Trust(limits)
        self.sessions.change(limits)
        self.bandwidth.change(limits.bandwidth, limits.bandwidth_per_user)
        if limits.failed_logins is None:
            self._failed_logins = None
        elif self._failed_logins is None:
            self._failed_logins = FailedLogins(self._now, limits.failed_logins, lambda: self.count(Limit.FAILED_LOGINS))
        else:
            self._failed_logins.most = limits.failed_logins

    def share(self, host: str, account: str, listener: ListenAddress) -> Share | None:
        """Return a client's share of the bandwidth, for one relay that closes it; None if it has no limit."""
        return None if self._trust.covers(host, listener) else self.bandwidth.share_of(account)

    def failed_logins(self, host: str, listener: ListenAddress) -> FailedLogins | None:
        """Return what may delay the logins of a client; None if nothing does."""
        return None if self._failed_logins is None or self._trust.covers(host, listener) else self._failed_logins

    def refusal(self, session: object, host: str, account: str, listener: ListenAddress) -> LimitReached | None:
        """Count a session whose request is complete; return what it is refused for, if it is.

        `host` is the client's IP address, "" for a unix socket, and `account` its client with its login
        (`chainsocks.shares.client_of`).
        """
        if self._trust.covers(host, listener):
            return None
        return self.sessions.enter(session, client_of(host), account)


@asynccontextmanager
async def open_limiter(
    now: Callable[[], float],
    limits: Limits,
    count: Callable[[Limit], None] | None = None,
    others: Column | None = None,
) -> AsyncIterator[Limiter]:
    """Make a limiter, and give the turns of its bandwidth for as long as the block runs."""
    limiter = Limiter(now, limits, count, others)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(limiter.bandwidth.run)
        yield limiter
        nursery.cancel_scope.cancel()
