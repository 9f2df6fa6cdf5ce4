"""Open a UDP association at every hop of a chain, each through the hops before it (RFC 1928 section 6 and 7).

::

    us ─────────────────────────────> paris    UDP ASSOCIATE, one TCP connection
    us ──────> paris ───────────────> osaka    UDP ASSOCIATE, another one
    us ──────> paris ──────> osaka ─> lima     UDP ASSOCIATE, and so on

1. It fails closed: if one hop has no association, there is none.
2. The limits are those of a dial: one for each step, and one for all of it together.
3. A relay is known by its IP address: otherwise its datagrams could not be told from a stranger's.
4. When it fails, all connections are closed before the error leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from ipaddress import ip_address

import anyio
from anyio.abc import ByteStream, SocketAttribute

from chainsocks.chain.legs import Leg
from chainsocks.chain.steps import follow, plan_to, unasked
from chainsocks.chain.trip import OPEN, Trip
from chainsocks.config.hops import Hop
from chainsocks.errors import Cause, HopProtocolError
from chainsocks.protocol.address import UNSPECIFIED, Address, AddressType, address_of, canonical
from chainsocks.protocol.messages import Command

__all__ = ["Association", "associate", "relay_of"]


@dataclass(frozen=True, slots=True)
class Association:
    """Associations at all hops of a route. They last as long as `streams`, which the operation's caller closes."""

    streams: Mapping[str, ByteStream]
    """By the names of the hops, with their positions: ``osaka (2 of 3)``."""
    relays: tuple[Address, ...]
    """Where each hop takes datagrams, as IP addresses."""
    hops: tuple[Hop, ...]


async def associate(trip: Trip) -> Association:
    """Open an association at every hop of the route, one after the other, within the limit for the whole chain.

    Raises:
        DialError: one of its subclasses, by cause.
    """
    streams: dict[str, ByteStream] = {}
    relays: list[Address] = []
    async with AsyncExitStack() as opened:  # closes all of them, even if a limit strikes while the first one closes
        for stop in range(1, len(trip.route.hops) + 1):
            plan = plan_to(trip, UNSPECIFIED, Command.UDP_ASSOCIATE, stop)
            way = await follow(trip, plan)
            opened.push_async_callback(anyio.aclose_forcefully, way.stream)
            streams[str(trip.place.who)] = way.stream
            if way.trailing_data:
                raise unasked(trip, way.trailing_data)
            relays.append(relay_of(trip, plan[-1], way.stream, way.reply.bound))
        opened.pop_all()
    trip.enter(None, OPEN)
    return Association(streams, tuple(relays), trip.route.hops)


def relay_of(trip: Trip, leg: Leg, stream: ByteStream, bound: Address) -> Address:
    """Return where the hop takes datagrams; a BND.ADDR of zeros stands for the hop's own address.

    Raises:
        HopProtocolError: BND.ADDR is a name, or has no port.
    """
    host = bound.host
    if bound.type is not AddressType.DOMAINNAME and ip_address(host).is_unspecified:
        host = _peer_of(stream, leg.hop.address.host) if leg.previous is None else leg.hop.address.host
    relay = canonical(Address(host, bound.port))
    if relay.type is AddressType.DOMAINNAME:
        problem = f"its relay is at {relay}: a name, by which no datagram can be recognised"
        raise trip.error(HopProtocolError, problem, Cause.UNUSABLE)
    if not relay.port:
        raise trip.error(HopProtocolError, "its relay has no port", Cause.UNUSABLE)
    return relay


def _peer_of(stream: ByteStream, otherwise: str) -> str:
    """Return the IP address that a stream is connected to, or `otherwise` where it has none."""
    name = stream.extra(SocketAttribute.remote_address, None)
    return address_of(name).host if isinstance(name, tuple) else otherwise
