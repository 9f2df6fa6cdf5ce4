"""The walk of a probe, with what each step took, and where it ended.

1. It is the server's own, under the limits of the configuration: what it meets, the server meets.
2. Without a destination the last hop is asked for nothing, see `chainsocks.chain.greet`.
3. Whatever it opens is closed before it is told of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import anyio.lowlevel

from chainsocks.chain.legs import Leg
from chainsocks.chain.operations import close_upstream, greet, open_connection
from chainsocks.chain.trip import OnStep, Trip
from chainsocks.config.chains import Route
from chainsocks.config.models import Timeouts
from chainsocks.errors import DialError, HopRefused, Place
from chainsocks.network import Network
from chainsocks.protocol.address import UNSPECIFIED, Address
from chainsocks.protocol.handshake import State
from chainsocks.tools.steps import Taken, Trail

__all__ = ["Failure", "Walked", "walk", "walk_repeatedly"]

_LOGINS = {
    State.SUB_NEGOTIATION: "username/password",
    State.GSSAPI_CONTEXT: "GSSAPI",
    State.GSSAPI_PROTECTION: "GSSAPI",
}
"""The steps of a login, and its name."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Where a walk ended, and why."""

    error: DialError
    leg: Leg | None
    """What the hop was asked for; None where it is the destination, reached directly."""
    chain_is_over: bool = False
    """Whether the time for the whole chain was over, and not only that of the step."""

    @property
    def position(self) -> int | None:
        """The hop's place in the route, from 1; None where it is the destination, reached directly."""
        return self.leg.position if self.leg else None

    @property
    def code(self) -> int | None:
        """What the hop answered to our request, where that was a refusal."""
        return self.error.code if isinstance(self.error, HopRefused) else None


@dataclass(frozen=True, slots=True)
class Walked:
    """One walk, as far as it went."""

    route: Route
    destination: Address | None
    """What the last hop was asked for, or what was connected to directly; None where the walk ended before that."""
    taken: tuple[Taken, ...]
    failure: Failure | None = None
    steps: Mapping[int, Sequence[Taken]] = field(init=False)
    """Those of each hop, by its place in the route."""

    def __post_init__(self) -> None:
        positions = range(1, len(self.route.hops) + 1)
        steps = {position: [step for step in self.taken if step.place.position == position] for position in positions}
        object.__setattr__(self, "steps", steps)

    @property
    def seconds(self) -> float:
        """All of it together."""
        return sum(step.seconds for step in self.taken)

    @property
    def passed(self) -> int:
        """How many hops, from the first one on, have done what they were asked to."""
        if self.failure is None:
            return len(self.route.hops)
        # A chain that cannot be is seen before anything is opened: then no hop before the guilty one has taken a step.
        return sum(bool(self.steps[position]) for position in range(1, self.failure.position or 1))

    @property
    def answered(self) -> int:
        """How many have, or have at least refused it; those can be asked for more."""
        return self.passed + (self.failure is not None and self.failure.code is not None)

    def login(self, position: int) -> str | None:
        """Say how we are known to a hop; None where it has not come to that."""
        hop, steps = self.route.hops[position - 1], [step.place.step for step in self.steps[position]]
        if hop.kind.open_greeting is None:
            return ("user id" if hop.credentials else "none") if position <= self.answered else None
        for step in steps:
            if isinstance(step, State) and step in _LOGINS:
                return _LOGINS[step]
        return "none" if State.REQUEST in steps or position <= self.answered else None


async def walk(
    route: Route,
    destination: Address | None,
    timeouts: Timeouts,
    network: Network,
    on_step: OnStep = lambda place, deadline: None,
) -> Walked:
    """Walk a route, once; `on_step` is called when a step starts."""
    await anyio.lowlevel.checkpoint()  # has anyio load what it needs now, and not in the middle of a step
    trail = Trail(network.now)

    def note(place: Place, deadline: float) -> None:
        trail.note(place, deadline)
        on_step(place, deadline)

    trip = Trip(route, destination or UNSPECIFIED, timeouts, network, note)
    try:
        if destination:
            await close_upstream(await trip.run(open_connection))
        else:
            await trip.run(greet)
    except DialError as error:
        trail.end(network.now())
        return Walked(route, destination, trail.taken, Failure(error, trip.leg, trip.is_over_time))
    return Walked(route, destination, trail.taken)


async def walk_repeatedly(
    count: int,
    route: Route,
    destination: Address | None,
    timeouts: Timeouts,
    network: Network,
    on_step: OnStep = lambda place, deadline: None,
) -> Walked:
    """Walk so many times, one after the other, and return the median of each step; or the first walk that fails."""
    walks = []
    for _ in range(count):
        walked = await walk(route, destination, timeouts, network, on_step)
        if walked.failure:
            return walked
        walks.append(walked)
    times: dict[Place, list[float]] = {}
    for step in (step for walked in walks for step in walked.taken):
        times.setdefault(step.place, []).append(step.seconds)
    return Walked(route, destination, tuple(Taken(place, median(seconds)) for place, seconds in times.items()))
