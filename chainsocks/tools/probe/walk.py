"""One walk along a route: the steps that it took with their times, and where and why it failed; and one on a warm way.

1. A walk is a trip of the server's own, with the limits of the configuration: what stops a request stops a walk.
2. Without a destination the last hop is greeted and sent no request, see `chainsocks.chain.operations.greet`. In HTTP
   nothing comes before a request, and any web server accepts the connection. So a hop that speaks it is asked for
   `LOCALHOST`, and has to answer as a proxy: whether it connects there does not matter.
3. Whatever a walk opens is closed when it returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import anyio.lowlevel
from anyio.abc import ByteStream

from chainsocks.chain.dialer import Dialer
from chainsocks.chain.legs import Leg
from chainsocks.chain.operations import close_upstream, greet, open_connection
from chainsocks.chain.readiness import make_ready
from chainsocks.chain.steps import follow, plan_to
from chainsocks.chain.trip import OnStep, Trip
from chainsocks.config.chains import Route
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.errors import DialError, HopRefused, Place
from chainsocks.net.tls import TlsStream, end_and_close
from chainsocks.protocol.address import UNSPECIFIED, Address
from chainsocks.tools.probe.certificates import Secured, secured_by
from chainsocks.tools.step_times import Taken, Trail

__all__ = ["LOCALHOST", "Walk", "WarmRequest", "ask_on_warm_way", "is_asked", "walk", "walk_repeatedly"]

LOCALHOST = Address("localhost", 9)
"""RFC 863's port, where hardly any server listens, under a name that every hop which resolves names can resolve,
without a name server (RFC 6761 section 6.3)."""


@dataclass(frozen=True, slots=True)
class Walk:
    """What came of one walk. Positions of hops count from 1."""

    route: Route
    destination: Address | None
    """What the last hop is asked for, or what is connected to directly; None if no request is sent to the last hop."""
    taken: tuple[Taken, ...]
    error: DialError | None = None
    """Why the walk failed."""
    leg: Leg | None = None
    """Where the walk failed: the hop, and what it was asked for. None at the destination of a direct way."""
    secured: Mapping[int, Secured] = field(default_factory=dict)
    """The TLS of the hops that speak it, by position, as far as the walk came."""
    chain_is_over: bool = False
    """Whether the time for the whole chain was over, and not only that of the step."""

    @property
    def failed_at(self) -> int | None:
        """The position of the hop at which the walk failed; None at the destination, or without a failure."""
        return self.leg.position if self.leg else None

    @property
    def refusal(self) -> int | None:
        """The reply code of the hop that refused the request."""
        return self.error.code if isinstance(self.error, HopRefused) else None

    @property
    def seconds(self) -> float:
        """The time of all steps."""
        return sum(step.seconds for step in self.taken)

    def steps(self, position: int) -> list[Taken]:
        """Return the steps of one hop."""
        return [step for step in self.taken if step.place.position == position]

    @property
    def passed(self) -> int:
        """How many hops, from the first on, did what they were asked to."""
        if self.error is None:
            return len(self.route.hops)
        # A route that cannot carry the destination fails before anything is opened: then no earlier hop has a step.
        return sum(bool(self.steps(position)) for position in range(1, self.failed_at or 1))

    @property
    def answered(self) -> int:
        """How many hops did so or refused it in a reply. These can be asked for more."""
        return self.passed + (self.refusal is not None)


@dataclass(frozen=True, slots=True)
class WarmRequest:
    """What came of a request on a way that was ready before it."""

    seconds: float | None
    """The time of the request alone; None if it did not succeed there."""
    problem: str = ""
    """Why it did not."""


async def walk(route: Route, destination: Address | None, dialer: Dialer, on_step: OnStep | None = None) -> Walk:
    """Walk along a route once; `on_step` is called when a step starts."""
    await anyio.lowlevel.checkpoint()  # has anyio load what it needs now, and not in the middle of a step
    now = dialer.network.now
    trail = Trail(now)

    def note(place: Place, deadline: float) -> None:
        trail.note(place, deadline)
        if on_step:
            on_step(place, deadline)

    secured: dict[int, Secured] = {}

    def note_tls(leg: Leg, stream: TlsStream) -> None:
        secured[leg.position] = secured_by(stream)

    trip = dialer.trip(route, destination or UNSPECIFIED, note)
    trip.on_tls = note_tls
    try:
        if destination:
            await close_upstream(await trip.run(open_connection))
        else:
            await trip.run(_ask_for_itself if is_asked(route.hops[-1]) else greet)
    except DialError as error:
        trail.end(now())
        return Walk(route, destination, trail.taken, error, trip.leg, secured, trip.is_over_time)
    return Walk(route, destination, trail.taken, secured=secured)


def is_asked(hop: Hop) -> bool:
    """Whether a walk without a destination asks the last hop for `LOCALHOST`, and does not just greet it."""
    return hop.protocol is HopProtocol.HTTP


async def _ask_for_itself(trip: Trip) -> None:
    """Have the last hop answer a request for `LOCALHOST`, with whatever answer a proxy gives.

    Raises:
        DialError: one of its subclasses, by cause.
    """
    try:
        way = await follow(trip, plan_to(trip, LOCALHOST))
    except HopRefused:
        if trip.leg and trip.leg.next:
            raise
    else:
        await end_and_close(way.stream)


async def ask_on_warm_way(count: int, route: Route, destination: Address, dialer: Dialer) -> WarmRequest:
    """Open a way to the readiness of its last hop, and time the request alone; the median of `count` times."""
    times: list[float] = []
    for _ in range(count):
        try:
            ready = await dialer.trip(route, UNSPECIFIED).run(make_ready)
            began = dialer.network.now()
            trip = dialer.trip(route, destination, warm=partial(_hand_over, ready))
            await close_upstream(await trip.run(open_connection))
        except DialError as error:
            return WarmRequest(None, str(error))
        if not trip.is_warm:
            return WarmRequest(None, "the way had ended before its request was answered")
        times.append(dialer.network.now() - began)
    return WarmRequest(median(times))


async def _hand_over(stream: ByteStream, _: Route) -> ByteStream:
    return stream


async def walk_repeatedly(
    count: int, route: Route, destination: Address | None, dialer: Dialer, on_step: OnStep | None = None
) -> Walk:
    """Walk `count` times, one after the other; return the median of each step, or the first walk that fails."""
    times: dict[Place, list[float]] = {}
    for _ in range(count):
        walked = await walk(route, destination, dialer, on_step)
        if walked.error:
            return walked
        for step in walked.taken:
            times.setdefault(step.place, []).append(step.seconds)
    taken = tuple(Taken(place, median(seconds)) for place, seconds in times.items())
    return Walk(route, destination, taken, secured=walked.secured)
