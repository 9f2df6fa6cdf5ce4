"""Warm ways: ways that are opened before a request comes, up to the readiness of the last hop for it.

What it is for
    A dial through n hops talks to one hop after the other, each time through all hops before it. With a round trip of
    r on each link that takes (n+1)^2 r, and more with logins. Nearly all of it does not depend on the destination. With
    ``warm = 2``, a chain keeps two ways open on which only the request is left to do (`chainsocks.chain.readiness`). A
    request that finds one takes (n+1) r: through all links, the connect of the last hop, and back. That is what the
    links themselves take. `python -m benchmarks.pipelining` measures it.

    Pipelining (`chainsocks.chain.pipeline`) saves less, and needs hops that support it. Warm ways work with any server,
    because each message is sent in its turn. Both may be on.

The life of a way
    One task owns a way from its first connect on. It opens the way like any dial, with a limit for each step. Then it
    waits for the hop to say something, until a request takes the way. A hop that speaks, hangs up or breaks the way
    before it is asked ends it: nothing that comes unasked may be taken for an answer. So does the age of the way. A
    way that is taken belongs to the session that took it, and never comes back: no byte of one session can reach
    another one.

    A request takes the way that has been ready for the longest time. The pool has the task of the way stop reading, and
    only when it has stopped, without a byte, is the stream handed over.

How many
    As few as are enough, up to `Chain.warm`. The first request opens one. A request that finds none ready asks for one
    more than before. What stayed ready all through a `PERIOD` is not replaced any more. After `Chain.warm_idle` without
    a request there is none. All chains together hold no more ways than `run` is given files for.

Which ones
    Where the chain leaves a choice, those along the routes that the next requests would be given: the turns of
    ``round-robin`` and the draws of ``random`` are looked at ahead of time, ``sticky`` is asked for the clients and
    hosts of the last requests. A member of a ``fastest`` group whose dial time is due is measured by a request that
    takes no warm way. A request that is given another route does without. Routes with a hop in backoff are not opened.

How old
    A server ends connections that send no request. When is its own affair: ours after 10 s, others after a minute, or
    never. When a hop has hung up, later ways along the same route are replaced when they have reached `MARGIN` of that
    age. A hop that was restarted looks the same, so what was learnt is forgotten after `MEMORY`. `Chain.warm_age` is
    the limit in any case: a firewall may have forgotten an old connection without a word.

What counts as a failure
    That a hop hangs up on a way without a request is none. That a way cannot be opened is: a hop that is certainly
    guilty (`chainsocks.chain.blame`) goes into backoff if the chain can do without it, as after a health check. The
    next attempt waits as long as a backoff would. So it does after a way that its hop ended at once.

What it costs
    A connection through all hops for each way, most of them for nothing where requests are rare, and some 7 KiB of
    memory. Hops see connections come and go without requests. That is why it is off by default.

Alternatives
    - Keep only the first hop greeted: a 1-hop session took 46 ms instead of 90 over a link with r = 20 ms, and a chain
      of three gained two round trips of sixteen.
    - Send the request ahead of all answers: that is pipelining.
    - Give a way back after a session: SOCKS has no end of a session but that of the connection.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import ByteStream, TaskGroup

from chainsocks.chain.attempts import Choices
from chainsocks.chain.blame import Confidence, judge
from chainsocks.chain.health import Health
from chainsocks.chain.legs import Leg
from chainsocks.chain.readiness import make_ready
from chainsocks.chain.trip import Guard, TakeWarm, Trip
from chainsocks.config.chains import Chain, Route
from chainsocks.config.hops import Hop, Identity
from chainsocks.config.models import HealthSettings, Timeouts
from chainsocks.errors import DialError
from chainsocks.net.tls import end_and_close
from chainsocks.network import Network
from chainsocks.observe.privacy import shown
from chainsocks.protocol.address import UNSPECIFIED, printable
from chainsocks.routing.isolation import Circumstances, isolated
from chainsocks.routing.pick import choose

__all__ = ["BRIEF", "MARGIN", "MEMORY", "PERIOD", "WarmWays"]

PERIOD = 60
"""Seconds after which ways that were never needed are given up."""

MARGIN = 0.8
"""The part of the age at which a hop has hung up that later ways may reach."""

MEMORY = 600
"""Seconds for which such an age is remembered."""

LOOK = 1
"""Seconds after which a chain with a choice looks anew which routes would be taken."""

BRIEF = 1
"""Seconds that a way has to last: the next attempt is delayed after one that its hop has ended sooner."""

log = logging.getLogger("chainsocks.warm")

RouteKey = tuple[Identity, ...]


@dataclass(frozen=True, slots=True)
class _Means:
    """What ways are opened with."""

    timeouts: Timeouts
    network: Network
    choices: Choices
    settings: HealthSettings
    isolation_key: bytes


class WarmWays:
    """The warm ways of all `chains` that have some. `run` owns them; without it there are none."""

    def __init__(
        self,
        chains: Iterable[Chain],
        timeouts: Timeouts,
        network: Network,
        choices: Choices,
        settings: HealthSettings,
        isolation_key: bytes,
    ) -> None:
        means = _Means(timeouts, network, choices, settings, isolation_key)
        self._stocks = {chain.name: _Stock(chain, means) for chain in chains if chain.warm}

    def follow(self, former: WarmWays) -> None:
        """Keep as many ways open as `former` does, which is about to end, for chains of the same name."""
        for name, stock in self._stocks.items():
            if name in former._stocks:
                stock.follow(former._stocks[name])

    def source(self, chain: Chain, key: bytes) -> TakeWarm | None:
        """Return what hands over the warm ways of `chain` to a request; None where there are none.

        Chains are distinguished by name, for their logins may depend on the session. `key` tells the request from
        others where members of groups are sticky.
        """
        stock = self._stocks.get(chain.name)
        return partial(stock.take, key) if stock else None

    async def run(self, guard: Guard | None = None, files: Callable[[], float] = lambda: math.inf) -> None:
        """Keep ways open until cancelled, and close them then.

        `guard` judges each address before it is connected to. `files` returns how many ways there may be at a time.
        """
        async with anyio.create_task_group() as tasks:
            for stock in self._stocks.values():
                tasks.start_soon(stock.run, tasks, guard, lambda: self._count < files())

    @property
    def _count(self) -> int:
        return sum(stock.count for stock in self._stocks.values())


@dataclass(slots=True, eq=False)
class _Way:
    """A way that is ready, and the task that waits for its hop to speak."""

    key: RouteKey
    route: Route
    stream: ByteStream
    ready_since: float
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    is_wanted: bool = False
    """Whether a request waits for the task to stop reading."""
    is_released: bool = False
    """Whether the stream belongs to that request."""
    stopped: anyio.Event = field(default_factory=anyio.Event)

    async def wait(self, deadline: float) -> bool:
        """Read until a request wants the way or `deadline` comes; return whether the hop has ended the way before.

        The stream is closed unless it was released.
        """
        ended = True
        try:
            with self.scope:
                self.scope.deadline = deadline
                try:
                    await self.stream.receive(1)
                except (EndOfStream, BrokenResourceError, ClosedResourceError):
                    pass
            ended = not self.scope.cancelled_caught
            self.is_released = self.is_wanted and not ended
        finally:
            self.stopped.set()
            if not self.is_released:
                await end_and_close(self.stream)
        return ended

    async def release(self) -> ByteStream | None:
        """Have the task stop reading; return the stream, or None if the hop has spoken or ended it."""
        self.is_wanted = True
        self.scope.cancel()
        try:
            await self.stopped.wait()
        except BaseException:
            self.is_wanted = False
            if self.is_released:
                await end_and_close(self.stream)
            raise
        return self.stream if self.is_released else None


@dataclass(slots=True)
class _Failures:
    """Ways along a route that could not be opened, or that their hops ended at once."""

    count: int = 0
    """In a row."""
    retry_at: float = -math.inf


class _Stock:
    """The ways of one chain."""

    def __init__(self, chain: Chain, means: _Means) -> None:
        self._chain = chain
        self._means = means
        self._now = means.network.now
        self._health: Health = means.choices.health
        self.count = 0
        """Ways that are ready or being opened."""
        self._ready: list[_Way] = []
        """The one that has been ready for the longest time is the first."""
        self._opening: Counter[RouteKey] = Counter()
        self._level = 0
        """How many ways there are to be."""
        self._spare = math.inf
        """The least number of ways that a request has left behind in this period."""
        self._period_ends = math.inf
        self._last_request = -math.inf
        self._keys: dict[bytes, None] = {}
        """Of the last requests, the latest one last."""
        self._ages: dict[RouteKey, tuple[float, float]] = {}
        """The greatest age of ways along a route, and until when that is remembered."""
        self._failures: dict[RouteKey, _Failures] = {}
        self._changed = anyio.Event()

    def follow(self, former: _Stock) -> None:
        """Go on with the demand that another stock has seen."""
        self._level = min(former._level, self._chain.warm)
        self._period_ends = former._period_ends
        self._last_request = former._last_request
        self._keys = dict([*former._keys.items()][-self._chain.warm :])
        self._ages, self._failures = dict(former._ages), former._failures

    async def take(self, key: bytes, route: Route) -> ByteStream | None:
        """Hand over a way along `route` that is ready; the caller closes it. None if there is none."""
        self._note_request(key)
        wanted, stream = _key_of(route.hops), None
        try:
            while stream is None and (way := self._first(wanted)):
                self._ready.remove(way)
                stream = await way.release()
        finally:
            self._changed.set()
        if stream is None:
            self._level = min(self._level + 1, self._chain.warm)
        else:
            self._spare = min(self._spare, len(self._ready))
        return stream

    def _first(self, wanted: RouteKey) -> _Way | None:
        return next((way for way in self._ready if way.key == wanted), None)

    def _note_request(self, key: bytes) -> None:
        now = self._last_request = self._now()
        self._keys.pop(key, None)
        self._keys[key] = None
        if len(self._keys) > self._chain.warm:
            del self._keys[next(iter(self._keys))]
        if self._period_ends == math.inf:
            self._period_ends = now + PERIOD

    async def run(self, tasks: TaskGroup, guard: Guard | None, may_open: Callable[[], bool]) -> None:
        """Open and close ways as they are needed, until cancelled; each way has a task in `tasks`."""
        self._ready.clear()
        while True:
            self._changed = anyio.Event()
            self._settle_level()
            lacking = self._drop_unneeded()
            for route in lacking:
                if self._may_retry_at(route) <= self._now() and may_open():
                    self.count += 1
                    self._opening[_key_of(route.hops)] += 1
                    tasks.start_soon(self._keep, route, guard)
            with anyio.CancelScope(deadline=self._next_change(lacking)):
                await self._changed.wait()

    def _may_retry_at(self, route: Route) -> float:
        failures = self._failures.get(_key_of(route.hops))
        return failures.retry_at if failures else -math.inf

    def _next_change(self, lacking: list[Route]) -> float:
        """Return when something is due that no request or way tells of."""
        if not self._level:
            return math.inf
        due = min(self._last_request + self._chain.warm_idle, self._period_ends)
        if not self._chain.route:
            due = min(due, self._now() + LOOK)
        retries = map(self._may_retry_at, lacking)
        return min([due, *(when for when in retries if when > self._now())])

    def _settle_level(self) -> None:
        """Lower the number of ways by those that were not needed."""
        now = self._now()
        if now >= self._last_request + self._chain.warm_idle:
            self._level, self._spare, self._period_ends = 0, math.inf, math.inf
        elif now >= self._period_ends:
            self._level = 1 if self._spare == math.inf else max(1, self._level - int(self._spare))
            self._spare, self._period_ends = math.inf, now + PERIOD

    def _drop_unneeded(self) -> list[Route]:
        """Close the ways that are not needed; return the routes along which ways are lacking.

        Ways along other routes stay until those that take their places are ready, unless a hop is in backoff.
        """
        routes = self._next_routes()
        lacking, others = Counter({key: count for key, (_, count) in routes.items()}), list[_Way]()
        for way in [*self._ready]:
            if lacking[way.key] > 0:
                lacking[way.key] -= 1
            elif self._is_avoided(way.route):
                self._drop(way)
            else:
                others.append(way)
        for way in others[: max(0, len(self._ready) - self._level)]:
            self._drop(way)
        lacking.subtract(self._opening)
        return [route for key, (route, _) in routes.items() for _ in range(lacking[key])]

    def _next_routes(self) -> dict[RouteKey, tuple[Route, int]]:
        """Return the routes that the next requests would be given, and how many ways there are to be along each."""
        chain, health, found = self._chain, self._health, dict[RouteKey, tuple[Route, int]]()
        if chain.route:
            return {} if self._is_avoided(chain.route) else {_key_of(chain.route.hops): (chain.route, self._level)}
        keys = [*reversed(self._keys)]
        for ahead in range(self._level):
            orders = self._means.choices.picks.orders(chain, keys[ahead % len(keys)], _Settled(health), ahead)
            route = choose(chain, orders, (), health)
            if route and not self._is_avoided(route):
                key = _key_of(route.hops)
                found[key] = route, found[key][1] + 1 if key in found else 1
        return found

    def _is_avoided(self, route: Route) -> bool:
        return any(map(self._health.in_backoff, route.hops))

    def _drop(self, way: _Way) -> None:
        self._ready.remove(way)
        way.scope.cancel()

    async def _keep(self, route: Route, guard: Guard | None) -> None:
        """Open a way, and keep it until it is taken or has to end."""
        try:
            await self._open_and_wait(route, guard)
        except Exception as error:
            self._note_unlucky(_key_of(route.hops))
            log.error("a bug in chainsocks ended a warm way: %s: %s", type(error).__name__, shown(error))
            log.debug("where it happened", exc_info=error)
        finally:
            self.count -= 1
            self._changed.set()

    async def _open_and_wait(self, route: Route, guard: Guard | None) -> None:
        key = _key_of(route.hops)
        try:
            stream = await self._open(route, guard)
        finally:
            self._opening[key] -= 1
        if stream is None:
            return
        way = _Way(key, route, stream, self._now())
        self._ready.append(way)
        self._changed.set()
        try:
            has_ended = await way.wait(way.ready_since + self._greatest_age(key))
        finally:
            if way in self._ready:
                self._ready.remove(way)
        age = self._now() - way.ready_since
        if has_ended:
            self._ages[key] = age * MARGIN, self._now() + MEMORY
            log.debug("= %s: a hop has ended a warm way after %.1f s", self._name, age)
        if has_ended and age < BRIEF:
            self._note_unlucky(key)
        else:
            self._failures.pop(key, None)

    async def _open(self, route: Route, guard: Guard | None) -> ByteStream | None:
        """Open a way along `route`; return None if that has failed."""
        means, health = self._means, self._health
        circumstances = Circumstances(means.isolation_key)
        own = Route(route.chain, tuple(isolated(hop, circumstances) for hop in route.hops))
        trip = Trip(own, UNSPECIFIED, means.timeouts, means.network, guard=guard)
        try:
            stream = await trip.run(make_ready)
        except DialError as error:
            if not self._blame(error, trip.leg):
                is_first = self._note_unlucky(_key_of(route.hops)) == 1
                log.log(logging.WARNING if is_first else logging.DEBUG, "no warm way: %s: %s", self._name, error)
            return None
        health.record_connects(own.hops[:-1])
        health.record_greeting(own.hops[-1])
        return stream

    def _blame(self, error: DialError, leg: Leg | None) -> bool:
        """Put the hop that has failed for certain into backoff, and return True, if the chain can do without it."""
        verdict = judge(error, leg)
        if verdict.confidence is not Confidence.CERTAIN or not verdict.suspects:
            return False
        suspect = verdict.suspects[0]
        if self._chain.can_replace(suspect.hop):
            self._health.record_failure(suspect, error)
            return True
        return False

    def _greatest_age(self, key: RouteKey) -> float:
        age, until = self._ages.get(key, (math.inf, math.inf))
        if self._now() >= until:
            del self._ages[key]
            age = math.inf
        return min(max(age, BRIEF), self._chain.warm_age)

    def _note_unlucky(self, key: RouteKey) -> int:
        """Delay the next attempt along a route, each time longer; return how many have failed in a row."""
        failures, settings = self._failures.setdefault(key, _Failures()), self._means.settings
        failures.retry_at = self._now() + min(settings.rest * 2.0**failures.count, settings.longest_rest)
        failures.count += 1
        return failures.count

    @property
    def _name(self) -> str:
        return f"chain {printable(self._chain.name)}"


@dataclass(frozen=True, slots=True)
class _Settled:
    """What is known of hops, apart from dial times that are to be measured: a `chainsocks.routing.pick.Known`."""

    health: Health

    def in_backoff(self, hop: Hop) -> bool:
        """Tell whether requests avoid it."""
        return self.health.in_backoff(hop)

    def dial_time(self, hop: Hop) -> float | None:
        """Return the seconds that dials through it take."""
        return self.health.dial_time(hop)

    def wants_measuring(self, hop: Hop) -> bool:
        """Tell that it need not be measured: a request that measures takes no warm way."""
        return False


def _key_of(hops: Iterable[Hop]) -> RouteKey:
    """Return what distinguishes routes. A login that is made up for a session is no part of it."""
    return tuple(hop.identity for hop in hops)
