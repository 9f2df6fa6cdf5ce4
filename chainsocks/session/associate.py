"""UDP ASSOCIATE: a relay of datagrams for one client, directly or through all hops of its chain.

1. Where the chain cannot carry datagrams, or shall not, the client is told so; none of them ever goes around a hop.
2. Our own socket is opened before any hop is asked, and all of it is closed when the session ends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from ipaddress import ip_address
from typing import Protocol

import anyio
from anyio.abc import ByteStream, SocketAttribute

from chainsocks.chain.associate import Association
from chainsocks.chain.network import Network
from chainsocks.config.chains import Chain, Udp
from chainsocks.config.hops import Resolve
from chainsocks.config.models import Config, Server
from chainsocks.datagrams import Tunnel
from chainsocks.errors import RequestRefused
from chainsocks.protocol.address import Address, AddressType, canonical
from chainsocks.protocol.messages import ReplyCode, Request
from chainsocks.relay.datagrams import DatagramPath, DatagramRelay, DatagramSocket, Tally
from chainsocks.relay.direct import DirectPath
from chainsocks.relay.filter import FilteredPath
from chainsocks.relay.lookups import Lookups
from chainsocks.relay.nested import NestedPath

__all__ = ["DatagramNetwork", "open_datagram_relay"]


class DatagramNetwork(Network, Protocol):
    """The network of a dial, with UDP sockets."""

    def open_udp(self, host: str, ports: range = ...) -> DatagramSocket:
        """Open a socket bound to an IP address of ours and a free one of `ports`, or raise `OSError`."""


@asynccontextmanager
async def open_datagram_relay(
    client: ByteStream,
    request: Request,
    chain: Chain,
    config: Config,
    network: DatagramNetwork,
    associate: Callable[[], Awaitable[Association]],
    tally: Tally,
    judge: Callable[[Address], Address | None] | None = None,
) -> AsyncIterator[tuple[DatagramRelay, Address]]:
    """Open what a client's association needs; yield the relay, and the address that the client sends datagrams to.

    `associate` opens associations at all hops, which are closed here. With `judge`, no datagram goes where it does not
    let it (`chainsocks.relay.filter`).

    *Closing*: all of it is closed at the end of the block.

    Raises:
        RequestRefused: the chain is not for datagrams, the client is not on TCP, or we have no socket for it.
        DialError: the way through the hops failed.
    """
    if chain.udp is Udp.REFUSE:
        raise RequestRefused(f"chain {chain.name} carries no UDP", ReplyCode.COMMAND_NOT_SUPPORTED)
    here, there = _ends_of(client)
    with ExitStack() as sockets:
        socket = _open_udp(network, here, sockets, config.server.udp_ports)
        async with AsyncExitStack() as streams:
            way: DatagramPath = DirectPath(network.open_udp, network.resolve, config.timeouts.resolve, tally)
            if chain.hops:
                association = await associate()
                for stream in association.streams.values():
                    streams.push_async_callback(anyio.aclose_forcefully, stream)
                any_host = "::" if association.relays[0].type is AddressType.IPV6 else "0.0.0.0"
                lookups = None
                if association.hops[-1].resolve is Resolve.LOCAL:
                    lookups = Lookups(network.resolve, config.timeouts.resolve, tally.drops)
                outer = _open_udp(network, any_host, sockets)
                way = NestedPath(outer, Tunnel(association.relays), association.streams, tally, lookups)
            if judge:
                way = FilteredPath(way, judge, tally.drops)
            port = _declared_port(request.destination, there)
            idle = config.timeouts.udp_idle
            relay = DatagramRelay(client, socket, way, tally, host=there, port=port, idle=idle)
            yield relay, Address(_advertised(here, config.server), socket.address.port)


def _open_udp(network: DatagramNetwork, host: str, sockets: ExitStack, ports: range = range(1)) -> DatagramSocket:
    try:
        socket = network.open_udp(host, ports)
    except OSError as error:
        raise RequestRefused(f"no UDP socket: {error.strerror}", ReplyCode.GENERAL_FAILURE) from error
    sockets.callback(socket.close)
    return socket


def _ends_of(client: ByteStream) -> tuple[str, str]:
    """Return our IP address and the client's, as its TCP connection has them."""
    try:
        names = [client.extra(end, None) for end in (SocketAttribute.local_address, SocketAttribute.remote_address)]
    except OSError:
        raise RequestRefused("the client is gone", ReplyCode.GENERAL_FAILURE) from None
    match names:
        case [(str(here), *_), (str(there), *_)]:
            return here, there
        case _:
            what = "the client has no IP address that its datagrams could be known by"
            raise RequestRefused(what, ReplyCode.COMMAND_NOT_SUPPORTED)


def _declared_port(declared: Address, host: str) -> int:
    """Return the port that the client will use, or 0 where it has not said so (RFC 1928 section 4).

    One that comes with another address than we see has been translated on the way (NAT), and the port maybe as well.
    """
    declared = canonical(declared)
    seen_as_said = declared.host == host or declared.packed.strip(b"\0") == b""
    return declared.port if seen_as_said else 0


def _advertised(here: str, server: Server) -> str:
    """Return the IP address to tell the client: ours, or the one before a NAT for clients from beyond this machine."""
    told, ours = server.udp_address, ip_address(here)
    return str(told) if told and told.version == ours.version and not ours.is_loopback else here
