"""BIND: have a peer connect to the far end of a chain, or to this machine when it has no hop (RFC 1928 section 4).

1. All hops but the last are asked to CONNECT, and the last one to BIND. Its two replies tell the address that the peer
   is to connect to, and the peer's own.
2. Only the peer that was named may connect, from any of its ports; 0.0.0.0 or :: stands for anyone. A stranger's
   connection is closed and the wait goes on: if it ended the wait, as the SOCKS4 memo has it, any stranger could.
3. An address of zeros in a hop's first reply means the hop's own, and is reported as that.
4. The wait for the peer has its own limit, `bind`, beside the dial's.
"""

from __future__ import annotations

import errno
import logging
from abc import ABC, abstractmethod
from ipaddress import IPv4Address, IPv6Address, ip_address

import anyio
from anyio.abc import ByteStream, SocketAttribute

from chainsocks.chain.connect_errors import errno_of, explain_connect_error
from chainsocks.chain.legs import Leg
from chainsocks.chain.limit import Limit
from chainsocks.chain.operations import Upstream
from chainsocks.chain.readiness import carry_out
from chainsocks.chain.steps import Followed, broken, negotiate, plan_to, resolve
from chainsocks.chain.trip import OPEN, Trip
from chainsocks.errors import Cause, ConnectError, RequestRefused, Step
from chainsocks.network import PortListener
from chainsocks.observe.privacy import private, shown
from chainsocks.protocol.address import Address, AddressType, address_of, canonical
from chainsocks.protocol.errors import ProtocolError
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command, ReplyCode
from chainsocks.sockets import EgressError

__all__ = ["LISTEN", "Binding", "IPAddress", "bind"]

IPAddress = IPv4Address | IPv6Address

LISTEN = Step.LISTEN
"""The step that opens a local port; `State.SECOND_REPLY` is the wait for the peer, at a local port as at a hop's."""

ELSEWHERE = {AddressType.IPV4: Address("192.0.2.1", 0), AddressType.IPV6: Address("2001:db8::1", 0)}
"""Documentation addresses (RFC 5737, RFC 3849): the route to them is the route out of this network."""

MAX_STRANGERS = 4
"""Addresses that are named when the peer does not come."""

log = logging.getLogger("chainsocks.dial")


class Binding(ABC):
    """A port that waits for one connection. `accept` it once, and call `aclose` in any case."""

    def __init__(self, trip: Trip, address: Address) -> None:
        self.trip = trip
        self.address = address
        """Where the peer is to connect to."""

    async def accept(self, limit: Limit) -> Upstream:
        """Wait for the peer, inside `limit`; the result's `bound` is the peer's address.

        *Closing*: the upstream is the caller's. The port is closed when this returns or raises.

        Raises:
            DialError: one of its subclasses, by cause.
        """
        self.trip.go_on(limit)
        try:
            return await self._accept()
        finally:
            await self.aclose()

    @abstractmethod
    async def _accept(self) -> Upstream: ...

    @abstractmethod
    async def aclose(self) -> None:
        """Close what is open and was not handed over."""


async def bind(trip: Trip, advertised: IPAddress | None = None) -> Binding:
    """Open a port at the last hop, or here where there is none, for a connection from the trip's destination.

    `advertised` is the address to report for local ports to peers of its family. The port listens on it if it is this
    machine's; otherwise it belongs to a NAT, and the port listens where the route to the peer begins.

    Raises:
        DialError: one of its subclasses, by cause. Nothing is left open.
        RequestRefused: the protocol of the last hop has no BIND.
    """
    return await _bind_at_hop(trip) if trip.route.hops else await _bind_here(trip, advertised)


# At the last hop.


class _HopBinding(Binding):
    """A port at the last hop, whose second reply says that the peer has connected."""

    def __init__(self, trip: Trip, leg: Leg, way: Followed) -> None:
        super().__init__(trip, _reported(way.reply.bound, leg, way.stream))
        self._leg = leg
        self._handshake = way.handshake
        self._stream: ByteStream | None = way.stream

    async def _accept(self) -> Upstream:
        trip, leg, handshake, stream = self.trip, self._leg, self._handshake, self._stream
        if stream is None or handshake is None:
            raise RuntimeError("a binding is accepted once")
        trip.allow(trip.timeouts.bind, trip.destination)
        trip.enter(leg, State.SECOND_REPLY)
        try:
            handshake.expect_second_reply()
        except ProtocolError as error:
            raise broken(trip, leg, handshake, error) from None
        await negotiate(trip, leg, handshake, stream, is_new=False)
        reply = handshake.reply
        if not reply.succeeded:
            problem = f"it granted the port, and then refused {leg.target}: {reply.described}"
            raise trip.refused(problem, Cause.REFUSED, reply.code)
        self._stream = None
        trip.enter(None, OPEN)
        return Upstream(stream, reply.bound, handshake.trailing_data)

    async def aclose(self) -> None:
        stream, self._stream = self._stream, None
        if stream:
            await anyio.aclose_forcefully(stream)


async def _bind_at_hop(trip: Trip) -> Binding:
    plan = plan_to(trip, trip.destination, Command.BIND)
    if why := plan[-1].hop.has_no_bind:
        raise RequestRefused(why, ReplyCode.COMMAND_NOT_SUPPORTED)
    way = await carry_out(trip, plan)
    trip.enter(None, OPEN)
    return _HopBinding(trip, plan[-1], way)


def _reported(bound: Address, leg: Leg, stream: ByteStream) -> Address:
    """Return the address in a hop's first reply, or the hop's own where that is zeros."""
    if bound.type is AddressType.DOMAINNAME or not _ip(bound).is_unspecified:
        return bound
    # Zeros from us would mean our own address. Of a hop declared by name, the name is all there is to report, unless it
    # is the hop that we have connected to.
    hop = leg.hop.address
    if leg.hop.is_unix:
        return bound  # it is on this machine: our own address
    if hop.type is AddressType.DOMAINNAME and leg.position == 1:
        reached = stream.extra(SocketAttribute.remote_address, None)
        if isinstance(reached, tuple):
            return Address(address_of(reached).host, bound.port)
    return Address(hop.host, bound.port)


# At a local port.


class _LocalBinding(Binding):
    """A local port; `peers` may connect to it, anyone if that is empty."""

    def __init__(self, trip: Trip, address: Address, listener: PortListener, peers: frozenset[IPAddress]) -> None:
        super().__init__(trip, address)
        self._listener: PortListener | None = listener
        self._strangers: dict[str, None] = {}
        self._peers = peers

    async def _accept(self) -> Upstream:
        trip, listener = self.trip, self._listener
        if listener is None:
            raise RuntimeError("a binding is accepted once")
        trip.allow(trip.timeouts.bind, trip.destination)
        trip.enter(None, State.SECOND_REPLY)
        while True:
            try:
                stream, peer = await listener.accept()
            except ConnectionAbortedError:
                continue  # the peer left while it was in the backlog: accept(2)
            except OSError as error:
                raise _failed(trip, error) from error
            if not self._peers or _ip(peer) in self._peers:
                trip.enter(None, OPEN)
                return Upstream(stream, peer, b"")
            log.debug("= %s: turned away a stranger%s", shown(trip.place), private(f", {peer}", ""))
            self._strangers = dict.fromkeys([*self._strangers, peer.host][:MAX_STRANGERS])
            trip.remark = f"; turned away: {', '.join(self._strangers)}"
            await anyio.aclose_forcefully(stream)

    async def aclose(self) -> None:
        listener, self._listener = self._listener, None
        if listener:
            await listener.aclose()


async def _bind_here(trip: Trip, advertised: IPAddress | None) -> Binding:
    peer, peers = trip.destination, frozenset[IPAddress]()
    if peer.type is AddressType.DOMAINNAME:
        found = await resolve(trip, None, peer)
        peers = frozenset(map(_ip, found))
        by_type = min(found, key=lambda address: address.type)  # IPv4 if there is one: SOCKS4 can report no other
        peer = found[0] if trip.route.chain.family else by_type
    elif not _ip(peer).is_unspecified:
        peers = frozenset({_ip(peer)})
    peer = Address(str(_ip(peer)), 0, scope=peer.scope)
    if advertised and advertised.version != _ip(peer).version:
        advertised = None
    trip.allow(trip.timeouts.connect, peer)
    trip.enter(None, LISTEN)
    try:
        listener = await _listen(trip, peer, advertised, named=bool(peers))
    except OSError as error:
        raise _failed(trip, error) from error
    host, port = listener.address.host, listener.address.port
    if advertised:
        host = str(advertised)
    elif not peers:
        try:
            host = trip.network.local_address(ELSEWHERE[peer.type], trip.route.chain.egress).host
        except OSError:
            pass  # zeros: the address by which the client has reached us
    return _LocalBinding(trip, Address(host, port), listener, peers)


async def _listen(trip: Trip, peer: Address, advertised: IPAddress | None, *, named: bool) -> PortListener:
    """Listen where `peer` gets to on its way to us; for anyone, on all addresses, unless the chain has a source."""
    network, egress = trip.network, trip.route.chain.egress
    if egress and not egress.reaches(peer):
        raise EgressError(errno.EADDRNOTAVAIL, f"{egress}: of another family than {peer.host}")
    if advertised:
        try:
            return await network.listen(Address(str(advertised), 0), egress)
        except OSError as error:
            if errno_of(error) != errno.EADDRNOTAVAIL:
                raise
    is_one = named or (egress and egress.source_for(peer))
    return await network.listen(network.local_address(peer, egress) if is_one else peer, egress)


def _failed(trip: Trip, error: OSError) -> ConnectError:
    problem, cause = explain_connect_error(error)
    return trip.error(ConnectError, problem, cause, at_destination=True, errno=errno_of(error))


def _ip(address: Address) -> IPAddress:
    """Return the IP address in `address`, as IPv4 where it is an IPv4-mapped one (RFC 4291 section 2.5.5.2)."""
    return ip_address(canonical(address).host)
