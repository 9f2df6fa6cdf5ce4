"""The configuration as the rest of the program sees it: frozen, complete and checked.

The defaults of the program are the defaults of these fields, and stand nowhere else. All durations are in seconds;
``math.inf`` is what users write as ``"off"``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import TypedDict, Unpack, cast

from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.control import Control
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop
from chainsocks.config.identities import Proof
from chainsocks.config.limits import Limits
from chainsocks.config.listeners import Listener, ListenerKind, SystemdSocket, UnixPath
from chainsocks.config.log_settings import LogSettings
from chainsocks.config.options import as_seconds
from chainsocks.config.passwords import Password
from chainsocks.config.rules import Family, Rule, allows_unknown_clients
from chainsocks.config.suggest import did_you_mean
from chainsocks.config.web import Web
from chainsocks.protocol.address import Address, AddressType
from chainsocks.protocol.gssapi import Protection

__all__ = [
    "IDLE_WORKERS",
    "Config",
    "HealthSettings",
    "Ident",
    "Server",
    "ServerGssapi",
    "TimeoutKeywords",
    "Timeouts",
    "User",
    "open_to_all",
]


_OPEN_PROXY = (
    "can be reached from beyond this machine, and no login is required: "
    "declare [[users]]; or [[rules]] with `from`, followed by one that has only deny = true; "
    "or set open = true in [server] if this is to be an open proxy"
)
_OPEN_RESOLVER = (
    "can be reached from beyond this machine, and DNS has no login: "
    "declare [[rules]] with `from`, followed by one that has only deny = true; "
    "or set open = true in [server] if this is to be an open resolver"
)


def open_to_all(listener: Listener) -> str:
    """Return the complaint about one of `Config.exposed`."""
    return f"{listener} {_OPEN_RESOLVER if listener.kind is ListenerKind.DNS else _OPEN_PROXY}"


IDLE_WORKERS = "found {0.workers}, expected at most {0.max_sessions}, which is max_sessions: each worker needs one"
"""The complaint about a `Server` with `has_idle_workers`, to be formatted with it."""


class Ident(StrEnum):
    """Whether the user ids of SOCKS4 clients are verified by ident (RFC 1413)."""

    OFF = "off"
    CHECK = "check"
    """An identd that answers has to confirm the user id. A client without one is accepted."""
    REQUIRE = "require"
    """An identd has to answer and to confirm the user id."""


@dataclass(frozen=True, slots=True)
class ServerGssapi:
    """``gssapi`` in ``[server]``: how clients log in by Kerberos (RFC 1961)."""

    protection: Protection = Protection.INTEGRITY
    """The weakest protection that is accepted."""
    services: tuple[str, ...] = ("rcmd", "socks")
    """The first parts of our principals, by which clients address us."""
    keytab: str | None = None
    """The file with our keys; None for the system's default."""
    principals: tuple[str, ...] = ()
    """The principals that may log in, as ``carol@EXAMPLE.ORG`` or ``*@EXAMPLE.ORG``; empty for all with a ticket."""
    required: bool = True
    """Whether every client has to log in by GSSAPI. If not, the others are treated as if it were not configured."""

    def admits(self, principal: str) -> bool:
        """Whether a principal may log in."""
        realm = "*@" + principal.rpartition("@")[2]
        return not self.principals or principal in self.principals or realm in self.principals


@dataclass(frozen=True, slots=True)
class Server:
    """``[server]``."""

    listen: tuple[Listener, ...] = (Listener(Address("127.0.0.1", 1080)),)
    workers: int = 1
    """Processes; 0 is one for each available core."""
    max_sessions: int = 10_000
    """Sessions at a time, in all workers together."""
    keepalive: float = 60
    """Seconds without traffic before TCP probes a peer. A peer that has vanished is found within twice that time."""
    open: bool = False
    """Whether clients from beyond this machine may use the server without a login."""
    private: bool = False
    """Whether clients of listeners beyond loopback get direct ways to private places of this machine."""
    lane: bool = True
    """Whether ordinary direct sessions run without a task of their own (`chainsocks.server.lane`)."""
    udp_address: IPv4Address | IPv6Address | None = None
    """The IP address that clients send datagrams to, as replies name it; None for the one they connected to (NAT)."""
    udp_ports: range = range(1)
    """The ports that clients send datagrams to; 0 is a port of the kernel's choice."""
    bind_address: IPv4Address | IPv6Address | None = None
    """The IP address that replies to BIND name, for peers of its family; None for the one that is listened on."""
    via: str | None = None
    """The name of this proxy in the ``Via`` of plain HTTP messages; None for no ``Via`` of its own."""
    ident: Ident = Ident.OFF
    gssapi: ServerGssapi | None = None

    @property
    def proofs(self) -> frozenset[Proof]:
        """How clients can prove who they are, beside a password."""
        possible = {
            Proof.GSSAPI: self.gssapi is not None,
            Proof.IDENT: self.ident is not Ident.OFF,
            Proof.CERTIFICATE: any(each.asks_certificates for each in self.listen),
        }
        return frozenset(proof for proof, is_possible in possible.items() if is_possible)

    @property
    def has_idle_workers(self) -> bool:
        """Whether there are more workers than sessions to divide among them."""
        return self.workers > self.max_sessions


class TimeoutKeywords(TypedDict, total=False):
    """The keywords of `Timeouts`; None is no limit."""

    handshake: float | None
    proxy_protocol: float | None
    ident: float | None
    resolve: float | None
    connect: float | None
    hop: float | None
    dial: float | None
    reply: float | None
    idle: float | None
    half_close: float | None
    next_request: float | None
    bind: float | None
    udp_idle: float | None
    grace: float | None


@dataclass(frozen=True, slots=True, init=False)
class Timeouts:
    """``[timeouts]``: the limit of each step, as a total for the step and not for a single read.

    Each is a number of seconds, given by keyword: more than 0, and for `grace` at least 0. None is no limit, and
    becomes ``math.inf``.

    Raises:
        ValueError: a limit that is no such number.
    """

    handshake: float = 10
    """From accepting a connection, or from the end of its PROXY protocol header, to a complete request."""
    proxy_protocol: float = 5
    """From accepting a connection to the end of its PROXY protocol header."""
    ident: float = 5
    """The answer of a SOCKS4 client's identd."""
    resolve: float = 5
    """One local name lookup, or the answer of a chain's resolver."""
    connect: float = 10
    """One TCP connect: to the first hop, or to the destination of a direct chain."""
    hop: float = 10
    """The whole negotiation with one hop; a hop may have its own limit."""
    dial: float = 30
    """The whole chain; a chain may have its own limit."""
    reply: float = 5
    """Delivering a reply to the client."""
    idle: float = 300
    """A relay without data in either direction."""
    half_close: float = 60
    """A relay without data, after one side has finished."""
    next_request: float = 60
    """Waiting for the next plain HTTP request on a connection."""
    bind: float = 120
    """Waiting for the inbound connection of a BIND."""
    udp_idle: float = 120
    """A UDP association without datagrams in either direction."""
    grace: float = 10
    """Shutdown: from the signal to the cancellation of sessions that still run."""

    def __init__(self, **limits: Unpack[TimeoutKeywords]) -> None:
        given = dict(cast(Mapping[str, object], limits))
        for each in fields(self):
            value = given.pop(each.name, each.default)
            may_be_zero = each.name == "grace"  # to cancel sessions at once is a sensible choice
            limit = f"the limit {each.name}"
            seconds = math.inf if value is None else as_seconds(value, limit, may_be_zero=may_be_zero)
            object.__setattr__(self, each.name, seconds)
        for name in given:
            raise TypeError(f"Timeouts has no limit {name!r}{did_you_mean(name, TimeoutKeywords.__annotations__)}")


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """``[health]``: the backoff of hops that have failed, and how long a measured dial time is valid."""

    rest: float = 2
    """The backoff after the first failure; each further one doubles it."""
    longest_rest: float = 120
    """The longest backoff."""
    remeasure: float = 60
    """How long a measured dial time is valid, in groups that pick the fastest member."""


@dataclass(frozen=True, slots=True)
class User:
    """One of ``[[users]]``: a client that may log in."""

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
    limits: Limits = field(default_factory=Limits)
    log: LogSettings = field(default_factory=LogSettings)
    web: Web = field(default_factory=Web)
    isolation_key: bytes = field(default_factory=lambda: os.urandom(32), repr=False, compare=False)
    """The key that logins of hops with `isolate` are derived from. All workers share it; a restart makes a new one."""
    control: Control = field(default_factory=Control)
    direct: Chain = DIRECT
    """The way without hops, as ``[chains] direct`` has it."""
    source: str = field(default="", compare=False)
    """The absolute path of the file that a server has read it from; empty for none."""

    @property
    def default_chain(self) -> Chain | None:
        """The chain called "default"; the direct way if the file has neither chains nor hops; otherwise None.

        None means that requests without a matching rule are refused. A file with hops in no chain is a mistake, and a
        direct connection would bypass them.
        """
        return self.chains.get("default") if self.chains or self.hops else self.direct

    @property
    def requires_gssapi(self) -> bool:
        """Whether clients have to log in by GSSAPI."""
        return self.server.gssapi is not None and self.server.gssapi.required

    @property
    def exposed(self) -> tuple[Listener, ...]:
        """The listeners through which any host may use the server without a login, according to the rules.

        Where sockets of the service manager listen is not known here (`chainsocks.net.activation`).
        """
        if self.server.open:
            return ()
        has_login = bool(self.users) or self.requires_gssapi
        return tuple(
            each
            for each in self.server.listen
            if not (each.is_local or each.asks_certificates or each.target)
            and (each.kind is ListenerKind.DNS or not has_login)
            and self._admits(_families(each))
        )

    def _admits(self, families: tuple[Family, ...]) -> bool:
        """Whether a client that no rule names, with an address of one of `families`, gets anything."""
        answers = [allows_unknown_clients(self.rules, family) for family in families]
        # A request that no rule matches gets the default chain. Without one that is a warning, and may change.
        unruled = not self.rules or self.default_chain is not None
        return any(unruled if answer is None else answer for answer in answers)


def _families(listener: Listener) -> tuple[Family, ...]:
    """Return the kinds of addresses that the clients of a listener may have."""
    address = listener.address
    if isinstance(address, SystemdSocket) or (isinstance(address, UnixPath) and listener.is_local):
        return ()
    if isinstance(address, UnixPath) or listener.proxy_protocol or address.type is AddressType.DOMAINNAME:
        return tuple(Family)
    return (Family.IPV4,) if address.type is AddressType.IPV4 else (Family.IPV6,)
