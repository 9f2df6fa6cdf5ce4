"""What the hops of a walk keep of that which is sent ahead of their answers, beside what is written of them.

1. Asked is whoever was reached, all at the same time up to a bound, for a hop that loses something is silent until its
   limit. Where it may be pipelining itself that broke the walk, how far one gets is found out in order first.
2. A hop is asked to connect to nobody whom it does not know already: to the next hop, to itself, or to the hop before,
   until that tells. The destination takes no part.
3. Only what is known to be lost is held against what is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import trio

from chainsocks.chain.pipeline_check import Finding, Support, check_pipelining
from chainsocks.config.chains import Chain, Route, hops_of
from chainsocks.config.hops import Hop, Pipeline
from chainsocks.config.models import Timeouts
from chainsocks.errors import ConnectError, HopRefused, UnsupportedAddress
from chainsocks.network import Network
from chainsocks.protocol.address import Address
from chainsocks.tools.probe.members import Member, Seat
from chainsocks.tools.probe.walk import Walked, walk

__all__ = ["Fitness", "Kept", "find_fitness", "may_be_pipelining"]

AT_ONCE = 8
"""So many hops are asked at the same time: each costs one connection through all hops before it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What was found out about a hop at its place."""

    hop: Hop
    finding: Finding
    written: Pipeline
    """What is written of it, by itself or by its chain."""
    is_last: bool
    """Whether the destination follows: nothing is ever sent behind its request there."""

    @property
    def fit(self) -> Pipeline:
        """The most that may stand on its chain for its sake."""
        if self.is_last and self.finding.own is Support.SUPPORTED:
            return Pipeline.CHAIN
        return self.finding.pipeline

    @property
    def lost(self) -> str | None:
        """Say what is written to be kept, and is lost; None where that is nothing. Its own setting holds anywhere."""
        needs_more = self.written is Pipeline.CHAIN and (self.hop.pipeline is not None or not self.is_last)
        if self.written is not Pipeline.OFF and self.finding.own is Support.UNSUPPORTED:
            return "its own messages where they come at once"
        return "what comes behind its request" if needs_more and self.finding.behind is Support.UNSUPPORTED else None


@dataclass(frozen=True, slots=True)
class Fitness:
    """What was found out about all hops that were reached."""

    hops: Mapping[int, Kept] = field(default_factory=dict)
    """Those of the walk that is shown, by their positions."""
    members: Mapping[Seat, Kept] = field(default_factory=dict)
    """Those that are not in it."""


def may_be_pipelining(walked: Walked) -> bool:
    """Whether a walk may have failed only because something was sent ahead."""
    failure = walked.failure
    if failure is None or isinstance(failure.error, ConnectError | HopRefused | UnsupportedAddress):
        return False
    hops, pipeline = walked.route.hops[: failure.position], walked.route.chain.pipeline
    return any(hop.pipelined(pipeline) is not Pipeline.OFF for hop in hops)


async def find_fitness(walked: Walked, others: Sequence[Member], timeouts: Timeouts, network: Network) -> Fitness:
    """Ask the hops of a walk, and each of the members beside it on its own way."""
    asker = _Asker(timeouts, network)
    hops: dict[int, Kept] = {}
    members: dict[Seat, Kept] = {}

    async def find(position: int) -> None:
        hops[position] = await asker.ask(walked.route, position)

    async def find_member(member: Member, way: Walked) -> None:
        if member.position <= await asker.reached(way):
            members[member.seat] = await asker.ask(way.route, member.position)

    async with trio.open_nursery() as nursery:
        for member in others:
            if member.walked:
                nursery.start_soon(find_member, member, member.walked)
        for position in range(1, 1 + await asker.reached(walked)):
            nursery.start_soon(find, position)
    return Fitness(dict(sorted(hops.items())), members)


class _Asker:
    """Whoever asks hops, not too many at a time."""

    def __init__(self, timeouts: Timeouts, network: Network) -> None:
        self._timeouts = timeouts
        self._network = network
        self._room = trio.CapacityLimiter(AT_ONCE)

    async def reached(self, walked: Walked) -> int:
        """Return how many hops of a walk have answered, or would if they were sent one message at a time."""
        if not may_be_pipelining(walked):
            return walked.answered
        hops = tuple(replace(hop, pipeline=Pipeline.OFF) for hop in walked.route.hops)
        route = Route(Chain(*hops, dial=walked.route.chain.dial), hops)
        async with self._room:
            return (await walk(route, None, self._timeouts, self._network)).answered

    async def ask(self, route: Route, position: int) -> Kept:
        """Ask one hop, with one target after the other until it is known what it keeps."""
        chain, hop = route.chain, route.hops[position - 1]
        timeouts = self._timeouts if chain.dial is None else replace(self._timeouts, dial=chain.dial)
        before = Route(chain, route.hops[: position - 1])
        tried: list[Finding] = []
        async with self._room:
            for target in _targets(route, position):
                tried.append(await check_pipelining(hop, timeouts, self._network, before=before, target=target))
                if _tells_all(tried[-1]):
                    break
        best = max(tried, key=lambda found: (_tells_all(found), found.own is not Support.UNKNOWN))
        return Kept(hop, best, hop.pipelined(chain.pipeline), _is_last(route, position))


def _tells_all(found: Finding) -> bool:
    return found.own is Support.UNSUPPORTED or found.behind is not Support.UNKNOWN


def _targets(route: Route, position: int) -> Iterator[Address]:
    """Return the SOCKS servers that a hop may be asked for, the likeliest first; those that speak SOCKS5 are likelier.

    What comes behind a request is a greeting of SOCKS5.
    """
    hops, index = route.hops, position - 1
    known = [*hops[index + 1 : index + 2], hops[index], *hops[:index][-1:]]
    yield from dict.fromkeys(hop.address for hop in sorted(known, key=_speaks_another))


def _speaks_another(hop: Hop) -> bool:
    return hop.kind.open_greeting is None


def _is_last(route: Route, position: int) -> bool:
    """Whether nobody ever follows: where hops may be left out, that holds for the last place of the chain only."""
    chain, hop = route.chain, route.hops[position - 1]
    if not chain.skip_dead:
        return position == len(route.hops)
    return hop in hops_of(chain.hops[-1:]) and hop not in hops_of(chain.hops[:-1])
