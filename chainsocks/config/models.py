"""The configuration as the rest of the program sees it: frozen, complete and already checked.

The defaults of the whole program are the defaults of these fields, and stand nowhere else. All durations are seconds;
``math.inf`` is what users write as ``"off"``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType

from chainsocks.config.chains import DIRECT, Chain, Group
from chainsocks.config.hops import Hop
from chainsocks.config.listeners import ListenAddress, Listener, UnixPath, is_loopback
from chainsocks.config.passwords import Password
from chainsocks.config.rules import Family, Rule, allows_unknown_clients
from chainsocks.protocol.address import Address, AddressType
from chainsocks.protocol.gssapi import Protection

__all__ = [
    "IDLE_WORKERS",
    "OPEN_PROXY",
    "Config",
    "HealthSettings",
    "Ident",
    "Server",
    "ServerGssapi",
    "Timeouts",
    "User",
]


OPEN_PROXY = (
    "can be reached from beyond this machine, and nobody has to log in: "
    "declare [[users]]; or [[rules]] with `from`, and behind them one with deny = true and nothing else for all "
    "others; or say open = true in [server] if that is what you want"
)
"""What is to be said about each of `Config.exposed`."""

IDLE_WORKERS = "found {0.workers}, expected at most {0.max_sessions}, which is max_sessions: each worker needs one"
"""What is to be said about a `Server` with `has_idle_workers`, formatted with it."""


class Ident(StrEnum):
    """What the user ids of SOCKS4 clients have to stand (RFC 1413)."""

    OFF = "off"
    CHECK = "check"
    """An identd that answers has to agree; none is fine."""
    REQUIRE = "require"
    """An identd has to answer, and to agree."""


@dataclass(frozen=True, slots=True)
class ServerGssapi:
    """``gssapi`` in ``[server]``: how clients may prove who they are by Kerberos (RFC 1961)."""

    protection: Protection = Protection.INTEGRITY
    """The least that a client has to agree to."""
    services: tuple[str, ...] = ("rcmd", "socks")
    """What a client may call us: the first parts of our principals."""
    keytab: str | None = None
    """Where our keys are; None for where the system has them."""
    principals: tuple[str, ...] = ()
    """Who may come in, as ``carol@EXAMPLE.ORG`` or ``*@EXAMPLE.ORG``; empty for whoever has a ticket for us."""
    required: bool = True
    """Whether there is no other way in. Otherwise those who do not use it are treated as if it were not there."""

    def admits(self, principal: str) -> bool:
        """Whether somebody may come in."""
        realm = "*@" + principal.rpartition("@")[2]
        return not self.principals or principal in self.principals or realm in self.principals


@dataclass(frozen=True, slots=True)
class Server:
    """``[server]``."""

    listen: tuple[Listener, ...] = (Listener(Address("127.0.0.1", 1080)),)
    workers: int = 1
    """Processes; 0 is one for each core that there is for us."""
    max_sessions: int = 10_000
    """At a time, in all workers together."""
    open: bool = False
    udp_address: IPv4Address | IPv6Address | None = None
    """The IP address to tell clients for their datagrams, where that is not the one they have connected to (NAT)."""
    udp_ports: range = range(1)
    """The ports that clients send their datagrams to; 0 is whichever the kernel picks."""
    bind_address: IPv4Address | IPv6Address | None = None
    """What is told to clients as the address of the ports that BIND opens here, for peers of its family."""
    ident: Ident = Ident.OFF
    gssapi: ServerGssapi | None = None

    @property
    def has_idle_workers(self) -> bool:
        """Whether there are more workers than sessions for them."""
        return self.workers > self.max_sessions


@dataclass(frozen=True, slots=True)
class Timeouts:
    """``[timeouts]``: every deadline of the program, each a total for its step and not for a single read."""

    handshake: float = 10
    """Accepted .. a complete request."""
    ident: float = 5
    """The answer of a SOCKS4 client's identd."""
    resolve: float = 5
    """One local name look-up; the answer of a chain's resolver."""
    connect: float = 10
    """One TCP connect: to the first hop, or to the destination when direct."""
    hop: float = 10
    """One hop's whole negotiation; a hop may set its own."""
    dial: float = 30
    """The whole chain; a chain may set its own."""
    reply: float = 5
    """Delivering our reply to the client."""
    idle: float = 300
    """Silence in both directions."""
    half_close: float = 60
    """Silence after one side has finished."""
    bind: float = 120
    """Waiting for the inbound connection of a BIND."""
    udp_idle: float = 120
    """Silence on a UDP association, in both directions."""
    grace: float = 10
    """Shutdown: from the signal to cancelling what still runs."""


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """``[health]``: for how long a hop that has failed is left alone, and for how long a measurement is good."""

    rest: float = 2
    """After the first failure; each further one doubles it."""
    longest_rest: float = 120
    remeasure: float = 60
    """A group that picks the fastest measures each member again after so long."""


@dataclass(frozen=True, slots=True)
class User:
    """One of ``[[users]]``: somebody who may log in."""

    name: str
    password: Password = field(repr=False)


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration."""

    server: Server = Server()
    timeouts: Timeouts = Timeouts()
    hops: Mapping[str, Hop] = field(default_factory=lambda: MappingProxyType({}))
    chains: Mapping[str, Chain] = field(default_factory=lambda: MappingProxyType({}))
    users: tuple[User, ...] = ()
    rules: tuple[Rule, ...] = ()
    groups: Mapping[str, Group] = field(default_factory=lambda: MappingProxyType({}))
    health: HealthSettings = HealthSettings()
    isolation_key: bytes = field(default_factory=lambda: os.urandom(32), repr=False, compare=False)
    """What the logins of hops with `isolate` are derived with: all workers share it, and it ends with the server."""

    @property
    def default_chain(self) -> Chain | None:
        """The chain called "default"; with neither chains nor hops the direct way; otherwise None: all is refused.

        Hops that were declared and put into no chain are no reason to go without them.
        """
        return self.chains.get("default") if self.chains or self.hops else DIRECT

    @property
    def requires_gssapi(self) -> bool:
        """Whether clients have to log in by GSSAPI."""
        return self.server.gssapi is not None and self.server.gssapi.required

    @property
    def exposed(self) -> tuple[Listener, ...]:
        """The listeners through which strangers could use this server: beyond loopback, without users, by the rules."""
        if self.users or self.server.open or self.requires_gssapi:
            return ()
        return tuple(
            each for each in self.server.listen if not is_loopback(each.address) and self._admits(each.address)
        )

    def _admits(self, address: ListenAddress) -> bool:
        """Whether a client that no rule names gets anything at a listener."""
        answers = [allows_unknown_clients(self.rules, family) for family in _families(address)]
        # A request that no rule matches gets the default chain. Without one that is a warning, and may change.
        unruled = not self.rules or self.default_chain is not None
        return any(unruled if answer is None else answer for answer in answers)


def _families(address: ListenAddress) -> tuple[Family, ...]:
    """Return the kinds of addresses that the clients of a listener may have."""
    if isinstance(address, UnixPath):
        return ()
    if address.type is AddressType.DOMAINNAME:
        return tuple(Family)
    return (Family.IPV4,) if address.type is AddressType.IPV4 else (Family.IPV6,)
