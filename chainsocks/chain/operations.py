"""What a trip can be made for. Each operation is a plain coroutine of a `Trip`, to be read alone.

`open_connection` is here, `greet` too. BIND, UDP ASSOCIATE, RESOLVE and the check for pipelining support have modules
of their own beside this one (`bind`, `associate`, `resolve`, `pipeline_check`). The server, the library, the health
checks and the probe run all of them through `chainsocks.chain.dialer` and `chainsocks.chain.trip`.
"""

from __future__ import annotations

from typing import NamedTuple

from anyio.abc import ByteStream

from chainsocks.chain.readiness import carry_out, make_ready
from chainsocks.chain.steps import plan_to
from chainsocks.chain.trip import OPEN, Trip
from chainsocks.net.tls import end_and_close
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import Command

__all__ = ["Upstream", "close_upstream", "greet", "open_connection"]


class Upstream(NamedTuple):
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
    way = await carry_out(trip, plan_to(trip, trip.destination, command))
    trip.enter(None, OPEN)
    return Upstream(way.stream, way.reply.bound, way.trailing_data)


async def close_upstream(upstream: Upstream) -> None:
    """Close a connection that is not wanted any more."""
    await end_and_close(upstream.stream)


async def greet(trip: Trip) -> None:
    """Go as far as the last hop's readiness for a request, send it none, and close the connection.

    The greeting and the login go to the last hop, and nothing behind it is contacted. Where the
    protocol has no message before the request (`HopKind.open_greeting`), the operation ends with the connection to it.

    Raises:
        DialError: one of its subclasses, by cause.
        ValueError: the route has no hop.
    """
    await end_and_close(await make_ready(trip))
    trip.enter(None, OPEN)
