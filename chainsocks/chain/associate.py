"""Open a UDP association at every hop of a chain, each through the hops before it (RFC 1928 section 6 and 7).

::

    us ─────────────────────────────> paris    UDP ASSOCIATE, one TCP connection
    us ──────> paris ───────────────> osaka    UDP ASSOCIATE, another one
    us ──────> paris ──────> osaka ─> lima     UDP ASSOCIATE, and so on

1. It fails closed: if one hop has no association, there is none.
2. The limits are those of a dial: one for each step, and one for all of it together.
3. Datagrams for a hop go to the hop's own host, and to the port that the hop reports (`relay_of`). The host that it
   reports is not believed by default: it could be anyone's.
4. A relay is known by its IP address: otherwise its datagrams could not be told from a stranger's.
5. When it fails, all connections are closed before the error leaves.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

import anyio
from anyio.abc import ByteStream, SocketAttribute

from chainsocks.chain.legs import Leg
from chainsocks.chain.readiness import carry_out
from chainsocks.chain.steps import follow, plan_to, unasked
from chainsocks.chain.trip import OPEN, Trip
from chainsocks.config.choices import UdpRelay
from chainsocks.config.hops import Hop, Identity
from chainsocks.datagrams import Recent
from chainsocks.errors import Cause, HopProtocolError
from chainsocks.protocol.address import UNSPECIFIED, Address, AddressType, address_of, canonical, printable, with_scope
from chainsocks.protocol.messages import Command

__all__ = ["Association", "associate", "relay_of"]

_PRIVATE = (
    ip_network("10.0.0.0/8"),
    ip_network("172.16.0.0/12"),
    ip_network("192.168.0.0/16"),
    ip_network("100.64.0.0/10"),
    ip_network("127.0.0.0/8"),
    ip_network("169.254.0.0/16"),
    ip_network("fc00::/7"),
    ip_network("fe80::/10"),
    ip_network("::1/128"),
)
"""Addresses that a hop may have in its own network, and not in ours (RFC 1918, 3927, 4193, 4291, 6598)."""

_warned = Recent[tuple[Identity, str], bool](256)
"""The hops whose reported hosts were logged."""

log = logging.getLogger("chainsocks.dial")


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
        last = len(trip.route.hops)
        for stop in range(1, last + 1):
            plan = plan_to(trip, UNSPECIFIED, Command.UDP_ASSOCIATE, stop)
            way = await (carry_out if stop == last else follow)(trip, plan)
            opened.push_async_callback(anyio.aclose_forcefully, way.stream)
            streams[str(trip.place.who)] = way.stream
            if way.trailing_data:
                raise unasked(trip, way.trailing_data)
            relays.append(relay_of(trip, plan[-1], way.stream, way.reply.bound))
        opened.pop_all()
    trip.enter(None, OPEN)
    return Association(streams, tuple(relays), trip.route.hops)


def relay_of(trip: Trip, leg: Leg, stream: ByteStream, bound: Address) -> Address:
    """Return where the hop takes datagrams, as its `Hop.udp_relay` has it. `bound` is what the hop reports.

    A reported address of zeros stands for the hop's own address.

    Raises:
        HopProtocolError: the relay's host is a name, or it has no port.
    """
    hop, bound = leg.hop, canonical(bound)
    own = canonical(_peer_of(stream, hop.address) if leg.previous is None else hop.address)
    is_ip = bound.type is not AddressType.DOMAINNAME
    host, port = own.host, bound.port
    if isinstance(hop.udp_relay, Address):
        host, port = hop.udp_relay.host, hop.udp_relay.port or port
    elif hop.udp_relay is UdpRelay.REPORTED and not (is_ip and ip_address(bound.host).is_unspecified):
        host = bound.host
    relay = with_scope(canonical(Address(host, port)), own.scope)
    if relay.type is AddressType.DOMAINNAME:
        problem = f"its relay is at {relay}: a name, by which no datagram can be recognised; set its udp_relay"
        raise trip.error(HopProtocolError, problem, Cause.UNUSABLE)
    if not relay.port:
        raise trip.error(HopProtocolError, "its relay has no port", Cause.UNUSABLE)
    if hop.udp_relay is UdpRelay.HOP and not _is_plausible(bound, own, hop):
        _warn_once(hop, bound, relay)
    return relay


def _is_plausible(bound: Address, own: Address, hop: Hop) -> bool:
    """Whether a hop with that address may well report `bound`: it may be behind a NAT, or in a container."""
    if bound.type is AddressType.DOMAINNAME:
        return bound.host.lower() == hop.address.host.lower()
    ip = ip_address(bound.host)
    return bound.packed == own.packed or ip.is_unspecified or any(ip in network for network in _PRIVATE)


def _warn_once(hop: Hop, bound: Address, relay: Address) -> None:
    """Log that the reported address is not used, once for each hop and host that it reports."""
    key = hop.identity, bound.host
    if not _warned.get(key):
        _warned[key] = True
        log.warning(
            'hop %s reports %s for its datagrams, and gets them at its own host, %s; udp_relay = "reported" '
            "sends them where it reports, udp_relay = ADDRESS to another place",
            printable(hop.name),
            bound,
            relay,
        )


def _peer_of(stream: ByteStream, otherwise: Address) -> Address:
    """Return the address that a stream is connected to, or `otherwise` where it has none."""
    name = stream.extra(SocketAttribute.remote_address, None)
    return address_of(name) if isinstance(name, tuple) else otherwise
