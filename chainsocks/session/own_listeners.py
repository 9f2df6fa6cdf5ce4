"""The listeners of this very server, to which none of its own connections may go.

Each session would make the next one, and the rules of the other listener would be got around. So a connection to one is
refused, for a direct way as for the first hop of a chain, and such a hop is refused at start.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import chainsocks.sockets as sockets
from chainsocks.config.chains import Chain
from chainsocks.config.groups import hops_of
from chainsocks.config.hops import Hop
from chainsocks.config.listeners import UnixPath
from chainsocks.config.models import Config
from chainsocks.errors import Problem
from chainsocks.net.outgoing import Outgoing
from chainsocks.protocol.address import Address, AddressType, canonical

__all__ = ["IPAddress", "OwnListeners", "addresses_in", "hops_that_lead_back", "is_own"]

_IPV4_INSIDE = tuple(IPv6Network(text) for text in ("::ffff:0:0/96", "64:ff9b::/96", "::/96"))
"""Prefixes before an IPv4 address: mapped (RFC 4291), NAT64 (RFC 6052), compatible (RFC 4291)."""

_6TO4 = IPv6Network("2002::/16")  # RFC 3056: the IPv4 address comes behind the prefix

_MEMORY = 5
"""Seconds for which an address is remembered to be the machine's own, or not."""

IPAddress = IPv4Address | IPv6Address


class OwnListeners:
    """The addresses at which this server listens, in all workers; kept current by the server."""

    def __init__(self) -> None:
        self._listening: Counter[Address] = Counter()
        self._ports: Counter[int] = Counter()
        self._for_datagrams: OwnListeners | None = None
        self.outgoing: Outgoing | None = None
        """What this server has opened itself, where nftables may hand that back to it."""

    @property
    def for_datagrams(self) -> OwnListeners:
        """The UDP ports among the listeners, which are addresses of their own."""
        if self._for_datagrams is None:
            self._for_datagrams = OwnListeners()
        return self._for_datagrams

    @property
    def has_datagrams(self) -> bool:
        """Whether there has been a UDP port."""
        return self._for_datagrams is not None

    def made(self, source: Address, destination: Address) -> bool:
        """Return whether a connection that nftables has redirected is one of this server's own."""
        return self.outgoing is not None and self.outgoing.has(source, destination)

    def sent_from(self, source: Address) -> bool:
        """Return whether a datagram that nftables has handed over is one of this server's own."""
        return self.outgoing is not None and self.outgoing.has_udp(source.port) and is_own(source.host)

    def take_datagrams_at(self, address: Address) -> bool:
        """Return whether a datagram to an address would come to this server; a name is not looked up."""
        return self._for_datagrams is not None and self._for_datagrams.are_at(address)

    def add(self, address: Address) -> None:
        """Add the address of a listening socket."""
        self._listening[address] += 1
        self._ports[address.port] += 1

    def remove(self, address: Address) -> None:
        """Remove an address that was added."""
        self._listening[address] -= 1
        self._ports[address.port] -= 1

    def listens_on(self, port: int) -> bool:
        """Return whether any listener has this port."""
        return bool(self._ports.get(port))

    def are_at(self, destination: Address) -> bool:
        """Return whether a connection to a destination would come to this server; a name is not looked up."""
        return destination.type is not AddressType.DOMAINNAME and self.covers(destination)

    def covers(self, address: Address) -> bool:
        """Return whether a connection to an IP address and port would come to this server."""
        if not self.listens_on(address.port):
            return False
        listening = [
            ip_address(one.host) for one, count in self._listening.items() if count and one.port == address.port
        ]
        if not any(ip.is_unspecified for ip in listening):
            return any(_meets(ip, target) for ip in listening for target in addresses_in(ip_address(address.host)))
        return any(
            target.is_loopback or target.is_unspecified or is_own(str(target))
            for target in addresses_in(ip_address(address.host))
        )


def _meets(listening: IPAddress, target: IPAddress) -> bool:
    """Return whether a connection to `target` reaches `listening`; an unspecified target is this machine."""
    return listening == target or (target.is_unspecified and listening.is_loopback)


def addresses_in(ip: IPAddress) -> list[IPAddress]:
    """Return an IP address, and the IPv4 address that stands in it if there is one."""
    if isinstance(ip, IPv4Address):
        return [ip]
    packed = ip.packed
    if ip in _6TO4:
        return [ip, IPv4Address(packed[2:6])]
    if any(ip in network for network in _IPV4_INSIDE) and int(ip) > 1:
        return [ip, IPv4Address(packed[12:])]
    return [ip]


def is_own(host: str) -> bool:
    """Return whether an IP address is one of the machine's; the answer is remembered for some seconds."""
    return _is_own_at(host, int(time.monotonic() // _MEMORY))


@lru_cache(1024)
def _is_own_at(host: str, _: int) -> bool:
    """Return whether an address is one of the machine's: the kernel would reach it from itself."""
    try:
        return sockets.local_address(Address(host, 0)).host == host
    except OSError:
        return False


_CIRCLE = "each session would make another one"


def hops_that_lead_back(config: Config) -> Iterator[Problem]:
    """Find the hops that a chain connects to first, and that are listeners of this very server.

    A hop that is declared by a name, with a port that the server listens on, is looked up; this may block.
    """
    own = OwnListeners()
    for listener in config.server.listen:
        if isinstance(listener.address, Address):
            for address in _resolved(listener.address):
                own.add(address)
    first = {hop.name: hop for chain in config.chains.values() for hop in _first_hops(chain)}
    paths = {str(each.address) for each in config.server.listen if isinstance(each.address, UnixPath)}
    for name, hop in first.items():
        if hop.is_unix:
            if str(hop.address) in paths:
                yield Problem(f"hops.{name}", f"this server listens on {hop.address}: {_CIRCLE}")
        elif own.listens_on(hop.address.port) and any(map(own.covers, _resolved(hop.address))):
            yield Problem(f"hops.{name}", f"{hop.address} is where this server listens: {_CIRCLE}")


def _first_hops(chain: Chain) -> Iterator[Hop]:
    """Return the hops that a chain may begin with."""
    return hops_of(chain.hops if chain.skip_dead else chain.hops[:1])


def _resolved(address: Address) -> list[Address]:
    if address.type is not AddressType.DOMAINNAME:
        return [canonical(address)]
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [canonical(Address(str(name[0]), address.port)) for *_, name in found]
