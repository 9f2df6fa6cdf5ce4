"""How many sessions a client may have at a time, and may begin in a second.

1. A session counts from its complete request to its end: for its address, and for its user if it has logged in. What an
   identd says is no login.
2. A request over a limit is refused, and does not count. So neither does a client that comes back at once.
3. A session that goes on as a task after the lane is asked about again, and counts once.
4. The sessions of the other workers count, too (`chainsocks.limits.board`).
5. A session that began while none of these limits was set does not count.
"""

from __future__ import annotations

from collections.abc import Callable

from chainsocks.config.limits import Limit, Limits
from chainsocks.errors import RequestRefused
from chainsocks.limits.board import Column
from chainsocks.limits.buckets import Buckets
from chainsocks.protocol.messages import ReplyCode

__all__ = ["LimitReached", "SessionLimits"]


class LimitReached(RequestRefused):
    """A request that one of ``[limits]`` refuses.

    The reply is 02, "connection not allowed by ruleset" (RFC 1928 section 6): what the operator wrote forbids the
    request. 01 would be a fault of the server, and the codes from 03 on speak of the destination. SOCKS4 has 91.
    """

    def __init__(self, limit: Limit, most: float) -> None:
        super().__init__(f"{limit} ({most:g}) is reached", ReplyCode.NOT_ALLOWED_BY_RULESET)
        self.limit = limit
        self.most = most

    def __reduce__(self) -> tuple[type[LimitReached], tuple[Limit, float]]:
        return type(self), (self.limit, self.most)


class SessionLimits:
    """See the module. A session is known by any object that is its own."""

    __slots__ = ("_buckets", "_held", "_is_on", "_limits", "_now", "_others", "counted")

    def __init__(self, now: Callable[[], float], others: Column | None = None) -> None:
        self._now = now
        self._others = others
        self._limits = Limits()
        self._is_on = False
        self._buckets: Buckets | None = None
        self._held: dict[str, int] = {}
        self.counted: dict[object, tuple[str, str]] = {}
        """The address and the account of each session that counts; empty while nothing is limited."""

    def change(self, limits: Limits) -> None:
        """Have other limits from now on. A lower one ends no session."""
        self._limits = limits
        rate = limits.new_per_second
        self._is_on = any(each is not None for each in (limits.sessions_per_client, limits.sessions_per_user, rate))
        if rate is None:
            self._buckets = None
        elif self._buckets is not None:
            self._buckets.rate = rate
        else:
            self._buckets = Buckets(rate)

    def enter(self, session: object, address: str, account: str) -> LimitReached | None:
        """Count a session whose request is complete; return what it is refused for, if it is.

        `address` and `account` are its clients by `chainsocks.shares.client_of`, without and with its login.
        """
        limits = self._limits
        if session in self.counted or not self._is_on:
            return None
        is_user = account != address
        refusal = None
        if (most := limits.sessions_per_client) is not None and self._count(address) >= most:
            refusal = LimitReached(Limit.SESSIONS_PER_CLIENT, most)
        elif is_user and (most := limits.sessions_per_user) is not None and self._count(account) >= most:
            refusal = LimitReached(Limit.SESSIONS_PER_USER, most)
        elif self._buckets is not None and not self._buckets.take(account, self._now()):
            refusal = LimitReached(Limit.NEW_PER_SECOND, self._buckets.rate)
        if refusal:
            return refusal
        self.counted[session] = address, account
        for client in (address, account) if is_user else (address,):
            self._held[client] = self._held.get(client, 0) + 1
            if self._others:
                self._others.add(client, 1)
        return None

    def leave(self, session: object) -> None:
        """Count a session no more; one that does not count is ignored."""
        if entry := self.counted.pop(session, None):
            for client in {*entry}:
                if self._others:
                    self._others.add(client, -1)
                left = self._held[client] - 1
                if left:
                    self._held[client] = left
                else:
                    del self._held[client]

    def is_full(self, address: str) -> bool:
        """Whether any request from an address is refused now."""
        most = self._limits.sessions_per_client
        return most is not None and self._count(address) >= most

    def _count(self, client: str) -> int:
        """Return the sessions of a client, in all workers."""
        return self._held.get(client, 0) + (self._others.of_others(client) if self._others else 0)
