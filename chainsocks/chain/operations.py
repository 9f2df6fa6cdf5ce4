"""What a trip can be made for. Each operation is a plain coroutine of a `Trip`, to be read alone.

`open_connection` is here, `greet` too. BIND, UDP ASSOCIATE, RESOLVE and the check for pipelining support have modules
of their own beside this one (`bind`, `associate`, `resolve`, `pipeline_check`). The server, the library, the health
checks and the probe run all of them through `chainsocks.chain.dialer` and `chainsocks.chain.trip`.
"""

from __future__ import annotations

from dataclasses import dataclass

import anyio
from anyio.abc import ByteStream

from chainsocks.chain.legs import Leg
from chainsocks.chain.steps import follow, hop_limit, negotiate, plan_to, unasked
from chainsocks.chain.trip import OPEN, Trip
from chainsocks.protocol.address import UNSPECIFIED, Address
from chainsocks.protocol.messages import Command

__all__ = ["Upstream", "close_upstream", "greet", "open_connection", "reach"]


@dataclass(frozen=True, slots=True)
class Upstream:
    """An open way to the destination. The caller of the operation closes `stream`."""

    stream: ByteStream
    bound: Address
    """BND.ADDR: the last hop's, or the local address when direct."""
    trailing_data: bytes
    """Bytes of the destination that came with the last hop's reply, before anything read from `stream`."""


async def open_connection(trip: Trip, command: Command = Command.CONNECT) -> Upstream:
    """Connect to the destination through all hops of the route, or directly.

    `command` is what the last hop is asked for.

    Raises:
        DialError: one of its subclasses, by cause.
    """
    way = await follow(trip, plan_to(trip, trip.destination, command))
    trip.enter(None, OPEN)
    return Upstream(way.stream, way.reply.bound, way.trailing_data)


async def close_upstream(upstream: Upstream) -> None:
    """Close a connection that is not wanted any more."""
    await anyio.aclose_forcefully(upstream.stream)


async def greet(trip: Trip) -> None:
    """Go as far as the last hop's readiness for a request, send it none, and close the connection.

    The last hop is greeted and logged in to, so that no hop or destination behind it hears of this. Where the
    protocol has no message before the request (`HopKind.open_greeting`), the operation ends with the connection to it.

    Raises:
        DialError: one of its subclasses, by cause.
        ValueError: the route has no hop.
    """
    if not trip.route.hops:
        raise ValueError("the direct way has no hop to greet")
    plan = plan_to(trip, UNSPECIFIED)
    stream = await reach(trip, plan)
    last = plan[-1]
    try:
        if open_greeting := last.hop.kind.open_greeting:
            trip.allow(hop_limit(trip, last), None)
            stream = await negotiate(trip, last, open_greeting(last.hop.credentials), stream)
    finally:
        await anyio.aclose_forcefully(stream)
    trip.enter(None, OPEN)


async def reach(trip: Trip, plan: tuple[Leg, ...]) -> ByteStream:
    """Connect to the last hop of `plan` through those before it, and send it nothing yet."""
    way = await follow(trip, plan[:-1], plan[0])
    if way.trailing_data:
        await anyio.aclose_forcefully(way.stream)
        raise unasked(trip, way.trailing_data)
    return way.stream
