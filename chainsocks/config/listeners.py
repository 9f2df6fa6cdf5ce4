"""Listeners: where the server accepts clients, and on what terms.

A `Listener` is a value. What holds for its clients is a field of it, and stays with the sockets that are opened for it,
whichever port the kernel picks for port 0 and however many addresses a name has. Listeners compare by value, so a new
configuration shows which ones to open and which ones to close.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Self

from chainsocks.config.choices import NamesOnly
from chainsocks.config.rules import Network, parse_networks
from chainsocks.config.tls import ListenerTls
from chainsocks.protocol.address import Address, AddressType

__all__ = [
    "ListenAddress",
    "Listener",
    "ListenerKind",
    "Senders",
    "SystemdSocket",
    "UnixPath",
    "is_loopback",
    "parse_sender",
]


@dataclass(frozen=True, slots=True)
class UnixPath:
    """The path of a unix socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class SystemdSocket:
    """The name of sockets that the service manager opens, and passes to the server when it starts it."""

    name: str

    def __str__(self) -> str:
        return f"systemd:{self.name}"


ListenAddress = Address | UnixPath | SystemdSocket


class ListenerKind(StrEnum):
    """Where the request of a client comes from."""

    SOCKS = "socks"
    """A SOCKS handshake, or a request to an HTTP proxy; the first byte says which."""
    HTTP = "http"
    """A request to an HTTP proxy."""
    REDIRECT = "redirect"
    """The network: nftables has redirected the connection, and remembers where it was going to. Linux only."""
    TPROXY = "tproxy"
    """The network: nftables hands the connection over as it is, with the address of its destination. Linux only."""
    TUNNEL = "tunnel"
    """The listener: all connections go to its `target`."""
    DNS = "dns"
    """A question of DNS, in a datagram or on a connection."""

    @property
    def is_redirected(self) -> bool:
        """Whether the clients know of no proxy, and the kernel knows their destinations."""
        return self in _REDIRECTED


TUNNEL = ListenerKind.TUNNEL  # looked up once: each connection asks for them
_REDIRECTED = (ListenerKind.REDIRECT, ListenerKind.TPROXY)


@dataclass(frozen=True, slots=True)
class Senders:
    """The load balancers of a listener: each connection comes from one, with a PROXY protocol header before it."""

    networks: tuple[Network, ...] = ()
    unix: bool = False
    """Whether they may be peers on a unix socket, whose permissions decide which ones."""

    def __add__(self, other: Self) -> Senders:
        return Senders(self.networks + other.networks, self.unix or other.unix)

    def __str__(self) -> str:
        return ", ".join([*map(str, self.networks), *(["unix"] if self.unix else [])])

    def include(self, host: str) -> bool:
        """Whether a peer is one of them, by its IP address; "" is a peer on a unix socket."""
        if not host:
            return self.unix
        ip = ip_address(host.partition("%")[0])
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        return any(ip in network for network in self.networks)


def parse_sender(text: str) -> Senders:
    """Read one of `Senders`: an IP address, a network, a range, or ``unix``.

    Raises:
        ValueError: saying what is wrong with it.
    """
    return Senders(unix=True) if text == "unix" else Senders(parse_networks(text))


@dataclass(frozen=True, slots=True)
class Listener:
    """One of ``listen`` in ``[server]``."""

    address: ListenAddress
    kind: ListenerKind = ListenerKind.SOCKS
    target: Address | None = None
    """Where all connections of a tunnel go; None for other kinds."""
    names_only: NamesOnly = NamesOnly.OFF
    """What happens to requests for IP addresses. A chain may be stricter."""
    chain: str | None = None
    """The name of the chain for all of its requests, of which rules can only deny some; None where the rules choose."""
    mode: int | None = None
    """The permission bits of a unix socket; None for what the umask leaves."""
    group: str | None = None
    """The group of a unix socket, as a name or a number; None for that of the process."""
    proxy_protocol: Senders | None = None
    """From where connections are accepted, with a PROXY protocol header; None for clients that connect themselves."""
    udp: bool = False
    """Whether a tunnel, or a listener for what nftables hands over, takes datagrams as well."""
    tls: ListenerTls | None = None
    """How clients speak TLS, inside of which they send their requests; None for no TLS."""

    def __str__(self) -> str:
        return str(self.address)

    @property
    def takes_datagrams(self) -> bool:
        """Whether the listener has a UDP port beside the TCP port, with the same number."""
        return self.udp or self.kind is ListenerKind.DNS

    @property
    def asks_certificates(self) -> bool:
        """Whether each client proves by a certificate who it is; then it needs no other login."""
        return self.tls is not None and self.tls.client_ca is not None

    @property
    def is_local(self) -> bool:
        """Whether all clients are on this machine. Those of a load balancer on it need not be."""
        return self.proxy_protocol is None and is_loopback(self.address)

    @property
    def is_home(self) -> bool:
        """Whether its clients are those of this machine, and may connect to its private places.

        A program whose connections are redirected asks for names without knowing who resolves them: one that resolves
        to loopback shall not lead to the servers of this machine. The target of a tunnel is the configuration's choice.
        """
        if self.kind is TUNNEL:
            return True
        return self.is_local and not self.kind.is_redirected


@lru_cache(64)
def is_loopback(address: ListenAddress) -> bool:
    """Whether only this machine can reach an address. A name other than ``localhost`` is taken to be reachable."""
    if isinstance(address, UnixPath):
        return True
    if isinstance(address, SystemdSocket):
        return False  # it has an address when the server runs: see `chainsocks.net.activation`
    if address.type is AddressType.DOMAINNAME:
        return address.host == "localhost"
    return ip_address(address.host).is_loopback
