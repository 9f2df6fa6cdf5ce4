"""Pipelining support: test which hops of a walk have it, and find the highest setting that is safe for a whole chain.

1. A hop is asked to connect to hops that it knows already: the next one, itself, or the previous one, until the result
   is clear. The destination takes no part.
2. Where pipelining may be what made a walk fail, a walk without it shows first which hops can be reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from chainsocks.chain.dialer import Dialer
from chainsocks.chain.pipeline_check import Finding, Support, check_pipelining
from chainsocks.config.chains import Chain, Route
from chainsocks.config.choices import Pipeline
from chainsocks.config.hops import Hop
from chainsocks.errors import ConnectError, HopRefused, UnsupportedAddress
from chainsocks.protocol.address import Address
from chainsocks.tools.probe.walk import Walk, walk

__all__ = ["check_hop", "may_be_pipelining", "reachable"]


def may_be_pipelining(walk: Walk) -> bool:
    """Tell whether pipelining may be the only reason why a walk failed."""
    if walk.error is None or isinstance(walk.error, ConnectError | HopRefused | UnsupportedAddress):
        return False
    hops, pipeline = walk.route.hops[: walk.failed_at], walk.route.chain.pipeline
    return any(hop.pipelined(pipeline) is not Pipeline.OFF for hop in hops)


async def reachable(walked: Walk, dialer: Dialer) -> int:
    """Return how many hops of a walk, from the first on, can be tested: those that answer without pipelining."""
    if not may_be_pipelining(walked):
        return walked.answered
    hops = tuple(replace(hop, pipeline=Pipeline.OFF) for hop in walked.route.hops)
    chain = walked.route.chain
    route = Route(Chain(*hops, dial=chain.dial, send_proxy=chain.send_proxy), hops)
    return (await walk(route, None, dialer)).answered


async def check_hop(walk: Walk, position: int, dialer: Dialer) -> Finding:
    """Test the hop at a position of a walk, with one target after the other until the result is clear."""
    route, hop, timeouts = walk.route, walk.route.hops[position - 1], dialer.timeouts
    if route.chain.dial is not None:
        timeouts = replace(timeouts, dial=route.chain.dial)
    before = Route(route.chain, route.hops[: position - 1])
    found: list[Finding] = []
    for target in _targets(route, position):
        found.append(await check_pipelining(hop, timeouts, dialer.network, before=before, target=target))
        if _is_clear(found[-1]):
            break
    return max(found, key=lambda one: (_is_clear(one), one.own is not Support.UNKNOWN))


def _is_clear(found: Finding) -> bool:
    return found.own is Support.UNSUPPORTED or found.behind is not Support.UNKNOWN


def _targets(route: Route, position: int) -> Iterator[Address]:
    """Return the SOCKS servers that a hop may be asked for; first those with a greeting, which is what will be sent."""
    hops, index = route.hops, position - 1
    known = [*hops[index + 1 : index + 2], hops[index], *hops[:index][-1:]]
    yield from dict.fromkeys(hop.address for hop in sorted(known, key=_has_no_greeting) if not hop.is_unix)


def _has_no_greeting(hop: Hop) -> bool:
    return hop.kind.open_greeting is None
