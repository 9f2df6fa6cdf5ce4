"""UDP ASSOCIATE: a relay of datagrams for one client, directly or through all hops of its chain.

1. If the chain cannot or may not carry datagrams, the request is refused. No datagram ever goes around a hop.
2. The local socket is opened before any hop is asked. All sockets are closed when the session ends.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from ipaddress import ip_address

import anyio
from anyio.abc import ByteStream

from chainsocks.chain.associate import Association
from chainsocks.config.chains import Chain
from chainsocks.config.choices import Resolve
from chainsocks.config.models import Server
from chainsocks.datagrams import Tunnel
from chainsocks.egress import Egress, Family
from chainsocks.errors import RequestRefused
from chainsocks.limits.bandwidth import Share
from chainsocks.network import DatagramSocket, Network
from chainsocks.observe.tally import Tally
from chainsocks.protocol.address import Address, AddressType, canonical
from chainsocks.protocol.messages import ReplyCode, Request
from chainsocks.protocol.proxy_protocol import Ends
from chainsocks.relay.datagrams import DatagramPath, DatagramRelay
from chainsocks.relay.direct import Allowed, DirectPath, OpenUDP
from chainsocks.relay.filter import FilteredPath
from chainsocks.relay.lookups import Lookups
from chainsocks.relay.lookups import Resolve as Lookup
from chainsocks.relay.nested import NestedPath
from chainsocks.relay.throttled import ThrottledPath
from chainsocks.session.connection import connects_here, ends_of
from chainsocks.session.routing_decision import Filter
from chainsocks.session.service import Service

__all__ = ["open_datagram_relay"]


@asynccontextmanager
async def open_datagram_relay(
    client: ByteStream,
    request: Request,
    chain: Chain,
    service: Service,
    account: str,
    associate: Callable[[], Awaitable[Association]],
    tally: Tally,
    passes: Filter | None = None,
    allowed: Allowed | None = None,
    told: Ends | None = None,
    open_share: Callable[[], Share | None] = lambda: None,
    datagrams: DatagramSocket | None = None,
) -> AsyncIterator[tuple[DatagramRelay, Address]]:
    """Open what a client's association needs; yield the relay, and the address that the client sends datagrams to.

    `account` is the client, see `chainsocks.shares`. `associate` opens associations at all hops, which are closed here.
    `passes` decides which datagrams may leave (`chainsocks.relay.filter`), and `allowed` where they may go directly;
    without these all of them may, anywhere. `datagrams` has those of the client, with headers; without it a port is
    opened for them. `told` are the ends of the client's connection where a load balancer has
    told of them, and `open_share` opens the client's share of the bandwidth, if that is limited.

    *Closing*: all of it is closed at the end of the block.

    Raises:
        RequestRefused: the chain carries no datagrams, the client is not on TCP or has its share of the ports, or no
            socket can be opened.
        DialError: the way through the hops failed.
    """
    if problem := chain.carries_no_udp:
        raise RequestRefused(problem, ReplyCode.COMMAND_NOT_SUPPORTED)
    config, network = service.config, service.network
    here, there = _ends_of(client, told)
    resolve = partial(network.resolve, client=account)
    with ExitStack() as sockets:
        if datagrams:
            socket, port = datagrams, there.port
        else:
            sockets.enter_context(service.port_shares.hold(here.zoned, account))
            ports = config.server.udp_ports
            socket = _open_udp(lambda host: network.open_udp(host, ports), here.zoned, sockets)
            port = _declared_port(request.destination, there.host)
        async with AsyncExitStack() as streams:
            opener, arranged = _opener(network, chain.egress), _arranged(resolve, chain.family)
            allowed = _allowed_by(chain.family, allowed)
            way: DatagramPath = DirectPath(
                opener, arranged, config.timeouts.resolve, tally, allowed, there.scope, chain.udp_filter
            )
            if chain.hops:
                association = await associate()
                for stream in association.streams.values():
                    streams.push_async_callback(anyio.aclose_forcefully, stream)
                any_host = "::" if association.relays[0].type is AddressType.IPV6 else "0.0.0.0"
                lookups = None
                if association.hops[-1].resolve is Resolve.LOCAL:
                    lookups = Lookups(arranged, config.timeouts.resolve, tally.drops)
                outer = _open_udp(_opener(network, association.hops[0].egress), any_host, sockets)
                way = NestedPath(outer, Tunnel(association.relays), association.streams, tally, lookups)
            if share := open_share():
                streams.callback(share.close)
                way = ThrottledPath(way, share, tally.drops)
            if passes:
                way = FilteredPath(way, passes, tally.drops)
            idle = config.timeouts.udp_idle
            relay = DatagramRelay(client, socket, way, tally, host=there.host, port=port, idle=idle)
            yield relay, Address(_advertised(here.host, config.server), socket.address.port)


def _opener(network: Network, egress: Egress | None) -> OpenUDP:
    """Return what opens sockets that leave as `egress` says, for any address of a family."""
    if egress is None:
        return network.open_udp

    def open_udp(host: str) -> DatagramSocket:
        anywhere = Address(host, 0)
        if not egress.reaches(anywhere):
            raise OSError(errno.EADDRNOTAVAIL, f"{egress} is of another family")
        source = egress.source_for(anywhere)
        return network.open_udp(source.zoned if source else host, egress=egress)

    return open_udp


def _arranged(resolve: Lookup, family: Family | None) -> Lookup:
    """Return lookups whose addresses are those that `family` allows, its first ones first."""
    if family is None:
        return resolve

    async def arranged(name: Address) -> Sequence[Address]:
        return family.arrange(await resolve(name))

    return arranged


def _allowed_by(family: Family | None, allowed: Allowed | None) -> Allowed | None:
    if family is None or not family.is_strict:
        return allowed
    return lambda destination, address: family.allows(address) and (allowed is None or allowed(destination, address))


def _open_udp(open_: OpenUDP, host: str, sockets: ExitStack) -> DatagramSocket:
    try:
        socket = open_(host)
    except OSError as error:
        raise RequestRefused(f"no UDP socket: {error.strerror}", ReplyCode.GENERAL_FAILURE) from error
    sockets.callback(socket.close)
    return socket


def _ends_of(client: ByteStream, told: Ends | None) -> tuple[Address, Address]:
    """Return the address that the client sends its datagrams to, with any port, and its own."""
    try:
        ends = ends_of(client)
    except OSError:
        raise RequestRefused("the client is gone", ReplyCode.TTL_EXPIRED) from None
    if told:
        ends = _past_the_load_balancer(ends, told)
    if ends is None:
        what = "the client has no IP address that its datagrams could be known by"
        raise RequestRefused(what, ReplyCode.COMMAND_NOT_SUPPORTED)
    return ends.destination, ends.source


def _past_the_load_balancer(real: Ends | None, told: Ends) -> Ends:
    """Return the ends of the datagrams of a client behind a load balancer, which passes on TCP only.

    They come from the client's own address. They can come to the address that it has connected to, if that is one of
    this machine, and otherwise to the one that the load balancer has connected to.

    Raises:
        RequestRefused: the client cannot reach that one: there is none, it is loopback, or has another family.
    """
    if connects_here(told, real):
        return told
    here, there = real.destination if real else None, told.source
    if here is None or here.type is not there.type or ip_address(here.host).is_loopback:
        what = "the client's datagrams cannot come here past its load balancer"
        raise RequestRefused(what, ReplyCode.COMMAND_NOT_SUPPORTED)
    return Ends(there, here)


def _declared_port(declared: Address, host: str) -> int:
    """Return the only port that the client's datagrams come from, or 0 where the first one tells it.

    RFC 1928 section 4 has the client declare address and port. If the address is not the one that we see, a NAT has
    translated it, and maybe the port as well. Beside zeros a port is a hint: clients have declared one there, and sent
    from another.
    """
    declared = canonical(declared)
    return declared.port if declared.host == host else 0


def _advertised(here: str, server: Server) -> str:
    """Return the IP address to tell the client: ours, or the one before a NAT for clients from beyond this machine."""
    told, ours = server.udp_address, ip_address(here)
    return str(told) if told and told.version == ours.version and not ours.is_loopback else here
