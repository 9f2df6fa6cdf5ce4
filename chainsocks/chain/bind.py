"""BIND: have a peer connect to the far end of a chain, or to ourselves when it has no hop (RFC 1928 section 4).

1. All hops but the last are asked to CONNECT, and the last one to BIND. Its two replies tell the address that the peer
   is to connect to, and the peer's own.
2. Only the peer that was named may connect, from any of its ports; 0.0.0.0 or :: stands for anyone. A stranger's
   connection is closed and the wait goes on: to end it, as the SOCKS4 memo has it, would let anybody end it.
3. An address of zeros in a hop's first reply means the hop's own, and is told as that.
4. The dial's laws hold here too. The wait for the peer has its own limit, `bind`, beside the dial's.
"""

from __future__ import annotations

import errno
import logging
import math
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

import anyio
from anyio.abc import ByteStream, SocketAttribute

from chainsocks.chain.causes import errno_of, explain_connect_error
from chainsocks.chain.legs import Leg
from chainsocks.chain.network import CancelScope, Network
from chainsocks.chain.walk import OPEN, OnStep, Upstream, Walk
from chainsocks.config.chains import Route
from chainsocks.config.models import Timeouts
from chainsocks.errors import Cause, ConnectError, Step
from chainsocks.protocol.address import Address, AddressType, address_of
from chainsocks.protocol.errors import ProtocolError
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command, describe_reply

__all__ = ["LISTEN", "BindNetwork", "BindWalk", "IPAddress", "Listener"]

IPAddress = IPv4Address | IPv6Address

LISTEN = Step.LISTEN
"""The step in which we open a port of our own; `State.SECOND_REPLY` is the wait for the peer, there as at a hop."""

ELSEWHERE = {AddressType.IPV4: Address("192.0.2.1", 0), AddressType.IPV6: Address("2001:db8::1", 0)}
"""Addresses that nobody has (RFC 5737, RFC 3849): the way to them is the way out of this network."""

log = logging.getLogger("chainsocks.dial")


class Listener(Protocol):
    """A port that a peer can connect to."""

    @property
    def address(self) -> Address:
        """Where it listens."""

    async def accept(self) -> tuple[ByteStream, Address]:
        """Wait for a connection and return it with its peer's address, or raise `OSError`."""

    async def aclose(self) -> None:
        """Listen no more."""


class BindNetwork(Network, Protocol):
    """What lies below a BIND."""

    async def listen(self, address: Address) -> Listener:
        """Listen on an IP address of ours, on a port of the kernel's choice for port 0, or raise `OSError`."""

    def own_address(self, peer: Address) -> Address:
        """Return our address on the route to an IP address, or raise `OSError`."""


class BindWalk(Walk):
    """One BIND: `bind`, tell the address, `accept`; and `aclose`, whatever came of it.

    `advertised` is the address to tell for ports of our own to peers of its family. It is listened on if it is this
    machine's; otherwise it is that of a NAT before it, and we listen where the route to the peer begins.
    """

    command = Command.BIND

    __slots__ = ("_advertised", "_bind_network", "_listener", "_peers", "_stream")

    def __init__(
        self,
        route: Route,
        destination: Address,
        timeouts: Timeouts,
        network: BindNetwork,
        on_step: OnStep | None = None,
        began: float | None = None,
        advertised: IPAddress | None = None,
    ) -> None:
        super().__init__(route, destination, timeouts, network, on_step, began)
        self._bind_network = network
        self._advertised = advertised
        self._listener: Listener | None = None
        self._stream: ByteStream | None = None
        self._peers: frozenset[IPAddress] = frozenset()
        """Who may connect; empty for anyone."""

    async def bind(self, scope: CancelScope) -> Address:
        """Go as far as the first reply, inside `scope`, and return the address that the peer is to connect to.

        Nothing is left open when this raises.

        Raises:
            DialError: one of its subclasses, by cause.
        """
        if not self._route.hops:
            self._scope = scope
            return await self._listen()
        upstream = await self.go(scope)
        self._stream = upstream.stream
        bound, hop = upstream.bound, self._route.hops[-1].address
        if bound.type is AddressType.DOMAINNAME or not _ip(bound).is_unspecified:
            return bound
        # Zeros from us would mean our own address. Of a hop known by its name, that name is what there is to tell,
        # unless we have connected to it ourselves.
        if hop.type is AddressType.DOMAINNAME and len(self._route.hops) == 1:
            reached = upstream.stream.extra(SocketAttribute.remote_address, None)
            if isinstance(reached, tuple):
                return Address(address_of(reached).host, bound.port)
        return Address(hop.host, bound.port)

    async def accept(self, scope: CancelScope) -> Upstream:
        """Wait for the peer, inside `scope`; the result's `bound` is the peer's address. Whoever calls this closes it.

        Raises:
            DialError: one of its subclasses, by cause.
        """
        self._scope = scope
        self._total = math.inf  # the dial is over: from here on it is the peer's time
        self._at(self._last_leg, State.SECOND_REPLY)
        self._allow(self._timeouts.bind, self._destination)
        try:
            return await (self._accept_from(self._listener) if self._listener else self._await_second_reply())
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close what is open and was not handed over."""
        listener, stream = self._listener, self._stream
        self._listener = self._stream = None
        if listener:
            await listener.aclose()
        if stream:
            await anyio.aclose_forcefully(stream)

    @property
    def _last_leg(self) -> Leg | None:
        plan = self._plan(self._destination, self.command)
        return plan[-1] if plan else None

    # Through a chain.

    async def _await_second_reply(self) -> Upstream:
        """Have the last hop say that the peer has come."""
        leg, stream = self._last_leg, self._stream
        if leg is None or stream is None:
            raise RuntimeError("nothing is bound: call `bind` first, and `accept` once")
        handshake = self._handshake
        try:
            handshake.expect_second_reply()
        except ProtocolError as error:
            raise self._broken(leg, handshake, error) from None
        await self._negotiate(leg, handshake, stream)
        reply = handshake.reply
        if not reply.succeeded:
            problem = f"it granted the port, and then refused {leg.target}: {describe_reply(reply.code)}"
            raise self._refused(problem, Cause.REFUSED, reply.code)
        self._stream = None
        self._at(None, OPEN)
        return Upstream(stream, reply.bound, handshake.trailing_data)

    # At a port of our own.

    async def _listen(self) -> Address:
        """Open a port for the peer; return its address, or what stands for it outside."""
        peer = self._destination
        if peer.type is AddressType.DOMAINNAME:
            found = await self._look_up(None, peer)
            self._peers = frozenset(map(_ip, found))
            peer = min(found, key=lambda address: address.type)  # IPv4 if it has one: SOCKS4 can tell no other
        elif not _ip(peer).is_unspecified:
            self._peers = frozenset({_ip(peer)})
        peer = Address(str(_ip(peer)), 0)
        self._at(None, LISTEN)
        self._allow(self._timeouts.connect, peer)
        advertised = self._advertised if self._advertised and self._advertised.version == _ip(peer).version else None
        try:
            self._listener = await self._open_port(peer, advertised)
        except OSError as error:
            raise self._failed(error) from error
        host, port = self._listener.address.host, self._listener.address.port
        if advertised:
            return Address(str(advertised), port)
        if self._peers:
            return Address(host, port)
        try:
            return Address(self._bind_network.own_address(ELSEWHERE[peer.type]).host, port)
        except OSError:
            return Address(host, port)  # zeros: wherever it is that the client has reached us

    async def _open_port(self, peer: Address, advertised: IPAddress | None) -> Listener:
        """Listen where `peer` gets to on its way to us; for anyone, everywhere."""
        network = self._bind_network
        if advertised:
            try:
                return await network.listen(Address(str(advertised), 0))
            except OSError as error:
                if errno_of(error) != errno.EADDRNOTAVAIL:
                    raise
        return await network.listen(network.own_address(peer) if self._peers else peer)

    async def _accept_from(self, listener: Listener) -> Upstream:
        """Let the peer in, and nobody else."""
        while True:
            try:
                stream, peer = await listener.accept()
            except ConnectionAbortedError:
                continue  # it was gone before we looked: accept(2)
            except OSError as error:
                raise self._failed(error) from error
            if not self._peers or _ip(peer) in self._peers:
                self._at(None, OPEN)
                return Upstream(stream, peer, b"")
            log.debug("= %s: a stranger connected, %s", self._place, peer)
            await anyio.aclose_forcefully(stream)

    def _failed(self, error: OSError) -> ConnectError:
        problem, cause = explain_connect_error(error)
        return self._error(ConnectError, problem, cause, at_destination=True, errno=errno_of(error))


def _ip(address: Address) -> IPAddress:
    """Return the IP address in `address`, as IPv4 where it is IPv4 in IPv6's clothes (RFC 4291 section 2.5.5.2)."""
    ip = ip_address(address.host)
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip
