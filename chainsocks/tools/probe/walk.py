"""The walk of a probe: the server's own dial, which may stop where the last hop is ready to be asked.

1. It is `chainsocks.chain.dial.Walk`, under the limits of the configuration: what it meets, the server meets.
2. Without a destination the last hop is asked for nothing: the walk ends with its method negotiation and its login.
   SOCKS4 has neither, so there it ends with the connection to the hop.
3. Whatever it opens is closed before it is told of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream

from chainsocks.chain.dial import Network, OnStep, Walk
from chainsocks.chain.legs import Leg, open_handshake
from chainsocks.config.hops import Chain
from chainsocks.config.models import Timeouts
from chainsocks.errors import DialError, DialTimeout, HopRefused, Place
from chainsocks.protocol.address import UNSPECIFIED, Address
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Reply, ReplyCode
from chainsocks.tools.steps import Taken, Trail, hop_names

__all__ = ["Failure", "Walked", "walk", "walk_repeatedly"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Where a walk ended, and why."""

    error: DialError
    position: int | None
    """The hop's place in the chain, from 1; None where it is the destination, reached directly."""
    code: int | None = None
    """What the hop answered to our request, where that was a refusal."""
    chain_is_over: bool = False
    """Whether the time for the whole chain was over, and not that of the step."""


@dataclass(frozen=True, slots=True)
class Walked:
    """One walk, as far as it went."""

    chain: Chain
    destination: Address | None
    """What the last hop was asked for, or what was connected to directly; None where the walk ended before that."""
    taken: tuple[Taken, ...]
    failure: Failure | None = None
    steps: Mapping[int, Sequence[Taken]] = field(init=False)
    """Those of each hop, by its place in the chain."""

    def __post_init__(self) -> None:
        names = hop_names(self.chain.hops)
        steps = {
            position: [step for step in self.taken if step.place.hop == name] for position, name in enumerate(names, 1)
        }
        object.__setattr__(self, "steps", steps)

    @property
    def seconds(self) -> float:
        """All of it together."""
        return sum(step.seconds for step in self.taken)

    @property
    def passed(self) -> int:
        """How many hops, from the first one on, have done what they were asked to."""
        if self.failure is None:
            return len(self.chain.hops)
        # A chain that cannot be is seen before anything is opened: then no hop before the guilty one has taken a step.
        return sum(bool(self.steps[position]) for position in range(1, self.failure.position or 1))

    @property
    def answered(self) -> int:
        """How many have, or have at least refused it; those can be asked for more."""
        return self.passed + (self.failure is not None and self.failure.code is not None)


async def walk(
    chain: Chain,
    destination: Address | None,
    timeouts: Timeouts,
    network: Network,
    on_step: OnStep = lambda place: None,
) -> Walked:
    """Walk a chain, once."""
    await anyio.lowlevel.checkpoint()  # has anyio load what it needs now, and not in the middle of a step
    trail = Trail(network.now)

    def note(place: Place) -> None:
        trail.note(place)
        on_step(place)

    step = _ProbeWalk(chain, destination, timeouts, network, note)
    error: DialError | None = None
    with network.open_scope(math.inf) as scope:
        try:
            upstream = await step.go(scope)
            await anyio.aclose_forcefully(upstream.stream)
        except DialError as caught:
            error = caught
    if scope.cancelled_caught:
        error = step.timeout()
    if error:
        trail.end(step.ended(error))
    return Walked(chain, destination, trail.taken, step.explain(error) if error else None)


async def walk_repeatedly(
    count: int,
    chain: Chain,
    destination: Address | None,
    timeouts: Timeouts,
    network: Network,
    on_step: OnStep = lambda place: None,
) -> Walked:
    """Walk so many times, one after the other, and return the median of each step; or the first walk that fails."""
    walks = []
    for _ in range(count):
        walked = await walk(chain, destination, timeouts, network, on_step)
        if walked.failure:
            return walked
        walks.append(walked)
    times: dict[Place, list[float]] = {}
    for step in (step for walked in walks for step in walked.taken):
        times.setdefault(step.place, []).append(step.seconds)
    return Walked(chain, destination, tuple(Taken(place, median(seconds)) for place, seconds in times.items()))


class _ProbeWalk(Walk):
    """See the module."""

    __slots__ = ("_chain_is_over", "_has_destination")

    def __init__(
        self, chain: Chain, destination: Address | None, timeouts: Timeouts, network: Network, on_step: OnStep
    ) -> None:
        super().__init__(chain, destination or UNSPECIFIED, timeouts, network, on_step)
        self._has_destination = destination is not None
        self._chain_is_over = False

    def timeout(self) -> DialTimeout:
        """Say which limit was not kept, and keep that in mind for `explain`."""
        self._chain_is_over = self._began + self._total < self._started + self._limit
        return super().timeout()

    def ended(self, error: DialError) -> float:
        """Return the moment of an error of this walk; what came behind it was only to clear away."""
        return self._started + error.elapsed

    def explain(self, error: DialError) -> Failure:
        """Add to an error of this walk what its words do not tell."""
        leg = self._leg
        code = self._handshake.reply.code if leg and isinstance(error, HopRefused) else None
        return Failure(error, leg.position if leg else None, code, self._chain_is_over)

    async def _ask(self, leg: Leg, stream: ByteStream) -> tuple[Reply, bytes]:
        if leg.following or self._has_destination:
            return await super()._ask(leg, stream)
        hop = leg.hop
        self._allow(self._timeouts.hop if hop.timeout is None else hop.timeout, hop.address)
        await self._negotiate(leg, open_handshake(hop, UNSPECIFIED), stream, State.REQUEST)
        return Reply(ReplyCode.SUCCEEDED), b""

    @property
    def _purpose(self) -> str:
        asks_nothing = self._leg is not None and not self._leg.following and not self._has_destination
        return "" if asks_nothing else super()._purpose
