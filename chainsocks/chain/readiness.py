"""The two halves of a way: up to the readiness of the last hop for a request, and the request itself.

A way is *ready* when all hops before the last one have granted their requests, and the last hop is connected, greeted
and logged in to. `make_ready` goes that far. `carry_out` does the rest, on a way that is ready already if the trip has
one (`chainsocks.chain.warm`), otherwise along the whole plan.

1. What a way is for is not known before the request. So a way that is ready can serve any destination and command.
2. A warm way can end at any time. If it does before any byte of the answer to its request, the request is repeated
   once, along the whole plan. No byte of a client has been sent by then, and the hop is not blamed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

import anyio
from anyio.abc import ByteStream

from chainsocks.chain.legs import Leg
from chainsocks.chain.steps import (
    Followed,
    check_targets,
    follow,
    hop_limit,
    negotiate,
    plan_to,
    refusal,
    unasked,
    with_address,
)
from chainsocks.chain.trip import TakeWarm, Trip
from chainsocks.config.choices import Pipeline, Resolve
from chainsocks.errors import Cause, HopProtocolError
from chainsocks.network import reset_on_close
from chainsocks.protocol.address import UNSPECIFIED, AddressType

__all__ = ["carry_out", "make_ready", "reach"]

_ENDS = {Cause.CLOSED, Cause.RESET}
"""How a way ends that its hop has closed."""


async def make_ready(trip: Trip) -> ByteStream:
    """Go as far as the last hop's readiness for a request; the caller closes the stream.

    Where the protocol has no message before the request (`HopKind.open_greeting`), that is the connection to the hop.

    Raises:
        DialError: one of its subclasses, by cause.
        ValueError: the route has no hop.
    """
    if not trip.route.hops:
        raise ValueError("the direct way has no hop to greet")
    plan = plan_to(trip, UNSPECIFIED)
    stream = await reach(trip, plan)
    last = plan[-1]
    open_greeting = last.hop.kind.open_greeting
    if open_greeting is None:
        return stream
    try:
        trip.allow(hop_limit(trip, last), None)
        handshake = open_greeting(last.hop.credentials)
        stream = await negotiate(trip, last, handshake, stream)
        if handshake.trailing_data:
            raise unasked(trip, handshake.trailing_data)
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise
    return stream


async def reach(trip: Trip, plan: tuple[Leg, ...]) -> ByteStream:
    """Connect to the last hop of `plan` through those before it, and send it nothing yet."""
    way = await follow(trip, plan[:-1], plan[0])
    if way.trailing_data:
        await anyio.aclose_forcefully(way.stream)
        raise unasked(trip, way.trailing_data)
    return way.stream


def carry_out(trip: Trip, plan: Sequence[Leg]) -> Awaitable[Followed]:
    """Have the last hop of the route do what the last leg of `plan` says, on a warm way if the trip has one.

    Raises:
        DialError: one of its subclasses, by cause.
    """
    return _try_warm(trip, plan, trip.take_warm) if trip.take_warm and plan else follow(trip, plan)


async def _try_warm(trip: Trip, plan: Sequence[Leg], take_warm: TakeWarm) -> Followed:
    check_targets(trip, plan)
    if (stream := await take_warm(trip.route)) and (done := await _ask_at_once(trip, plan[-1], stream)):
        return done
    return await follow(trip, plan)


async def _ask_at_once(trip: Trip, leg: Leg, stream: ByteStream) -> Followed | None:
    """Send a request along a way that is ready; return None if the way has ended before any answer."""
    trip.is_warm = True
    leg = leg._replace(pipeline=Pipeline.OFF, previous_pipeline=Pipeline.OFF)
    handshake = None
    try:
        if leg.hop.resolve is Resolve.LOCAL and leg.target.type is AddressType.DOMAINNAME:
            leg = await with_address(trip, leg)
        handshake = leg.hop.kind.open_request(leg.command, leg.target, leg.hop.credentials)
        trip.allow(hop_limit(trip, leg), leg.target)
        stream = await negotiate(trip, leg, handshake, stream, is_new=False)
        if not handshake.reply.succeeded:
            raise refusal(trip, leg, handshake.reply)
    except BaseException as error:
        if trip.is_abandoned:
            reset_on_close(stream)
        await anyio.aclose_forcefully(stream)
        is_end = isinstance(error, HopProtocolError) and error.cause in _ENDS
        if is_end and handshake and not handshake.is_midway:
            trip.is_warm = False
            trip.note("the warm way had ended; the request goes on a fresh one")
            return None
        raise
    trip.completed = True
    return Followed(stream, handshake.reply, handshake.trailing_data, handshake)
