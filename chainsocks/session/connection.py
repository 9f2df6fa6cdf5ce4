"""An accepted connection, as its session gets it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import NamedTuple

from anyio.abc import ByteStream, SocketAttribute

from chainsocks.config.listeners import Listener
from chainsocks.config.models import Server
from chainsocks.errors import RequestRefused
from chainsocks.network import DatagramSocket
from chainsocks.protocol.address import Address, address_of, canonical
from chainsocks.protocol.dns import Query
from chainsocks.protocol.messages import ReplyCode
from chainsocks.protocol.proxy_protocol import UNKNOWN, Ends, encode_header
from chainsocks.session.own_listeners import is_own

__all__ = ["Connection", "Earlier", "arrival", "connects_here", "ends_of", "proxy_header"]

[DEFAULT_LISTENER] = Server().listen


class Earlier(NamedTuple):
    """What a session leaves to the next one on its connection."""

    client: ByteStream
    """The stream to go on with: that of the connection, or TLS over it."""
    certificate: str = ""
    """The name in the client's certificate."""
    heard: bytes = b""
    """What the client has sent already, behind its last request."""


class Connection(NamedTuple):
    """A client's connection, where it came from, and by which listener. Its session closes `client`."""

    client: ByteStream
    name: str
    """The client's address for the log."""
    host: str = ""
    """The client's IP address, if it has one."""
    listener: Listener = DEFAULT_LISTENER
    told: Ends | None = None
    """The client that a load balancer has told of, in whose place `client` is connected to that."""
    target: Address | None = None
    """Where the connection was going to, if the network tells that; None where the client asks for it."""
    datagrams: DatagramSocket | None = None
    """What has the datagrams of the client, which uses no SOCKS; None for a client with a connection."""
    question: Query | None = None
    """What the client asks, with an answer as its only data; None for other protocols than DNS."""
    earlier: Earlier | None = None
    """What an earlier session on the connection leaves to this one, both of them of plain HTTP."""


def ends_of(client: ByteStream) -> Ends | None:
    """Return the ends of a connection; None on a unix socket.

    Raises:
        OSError: the client is gone.
    """
    source = client.extra(SocketAttribute.remote_address, None)
    destination = client.extra(SocketAttribute.local_address, None)
    if not isinstance(source, tuple) or not isinstance(destination, tuple):
        return None
    return Ends(address_of(source), address_of(destination))


def connects_here(told: Ends, real: Ends | None) -> bool:
    """Return whether a client has connected to its load balancer at an address that this machine has.

    `real` are the ends of the load balancer's own connection; None on a unix socket. Loopback is this machine's only if
    the load balancer is on it.
    """
    if ip_address(told.destination.host).is_loopback:
        return real is None or _is_of_this_machine(real.source.host)
    return is_own(told.destination.host)


def arrival(client: ByteStream, told: Ends | None) -> Address:
    """Return the address of this machine by which a client came in, with port 0.

    That is the one that the client has connected to, where a load balancer tells of it and this machine has it.

    Raises:
        RequestRefused: the client is gone, or has come by a unix socket.
    """
    try:
        ends = ends_of(client)
    except OSError:
        raise RequestRefused("the client is gone", ReplyCode.TTL_EXPIRED) from None
    if told and connects_here(told, ends):
        ends = told
    if ends is None:
        what = 'source = "same" needs a client that came in by an IP address; this one came by a unix socket'
        raise RequestRefused(what, ReplyCode.GENERAL_FAILURE)
    here = canonical(ends.destination)
    return Address(here.host, 0, scope=here.scope)


def _is_of_this_machine(host: str) -> bool:
    return is_own(host) or ip_address(host).is_loopback  # of 127.0.0.0/8, the former is true for one only


def proxy_header(client: ByteStream, told: Ends | None) -> bytes:
    """Return the header that tells another proxy of a client; `told` is what a load balancer has told of it.

    Raises:
        RequestRefused: the client is gone.
    """
    try:
        ends = told or ends_of(client)
    except OSError:
        raise RequestRefused("the client is gone", ReplyCode.TTL_EXPIRED) from None
    return encode_header(ends) if ends else UNKNOWN
