"""The settings of hops, groups and chains that are one word out of several."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

__all__ = [
    "Isolate",
    "IsolateText",
    "NamesOnly",
    "NamesOnlyText",
    "Pick",
    "PickText",
    "Pipeline",
    "PipelineText",
    "Resolve",
    "ResolveText",
    "Udp",
    "UdpFilter",
    "UdpFilterText",
    "UdpRelay",
    "UdpRelayText",
    "UdpText",
]


class Resolve(StrEnum):
    """Where a name is resolved that a hop is asked to reach."""

    REMOTE = "remote"
    LOCAL = "local"


class Pipeline(StrEnum):
    """What a hop supports of pipelining (`chainsocks.chain.pipeline`): which messages may be sent before its answers.

    A hop that discards messages it did not expect yet never answers them.
    """

    OFF = "off"
    """One message at a time."""
    HOP = "hop"
    """Its greeting, login and request are sent together."""
    CHAIN = "chain"
    """The same, and the first message for the next hop right behind its request."""


class Isolate(StrEnum):
    """Which sessions must not share a circuit of tor (`chainsocks.routing.isolation`)."""

    OFF = "off"
    SESSION = "session"
    """No two sessions share one."""
    USER = "user"
    """Sessions of different users. All sessions without a user count as one user."""
    CLIENT = "client"
    """Sessions from different IP addresses. All clients on unix sockets count as one."""
    DESTINATION = "destination"
    """Sessions to different hosts, whatever their ports; and any two that carry datagrams."""


class UdpRelay(StrEnum):
    """Whose word tells the host to which datagrams for a hop are sent; the port is the one that the hop reports."""

    HOP = "hop"
    """Ours: the hop's own host. A hop cannot direct datagrams to another one."""
    REPORTED = "reported"
    """The hop's: BND.ADDR of its reply to UDP ASSOCIATE."""


class NamesOnly(StrEnum):
    """What to do about a request for an IP address: the client may have leaked the name to its own resolver."""

    OFF = "off"
    WARN = "warn"
    REFUSE = "refuse"


class Udp(StrEnum):
    """What a chain does with UDP ASSOCIATE."""

    NESTED = "nested"
    """Through an association at every hop, each opened through the hops before it."""
    REFUSE = "refuse"


class UdpFilter(StrEnum):
    """From where datagrams reach the client of a direct association (RFC 4787 section 5)."""

    ADDRESS_AND_PORT = "address-and-port"
    """From addresses and ports that the client has sent something to."""
    ADDRESS = "address"
    """From addresses that it has sent something to, whatever the port."""
    ANY = "any"
    """From anywhere, once it has sent something."""


class Pick(StrEnum):
    """The order in which the members of a group are tried. In each of them, members in backoff come last."""

    FAILOVER = "failover"
    """As declared."""
    ROUND_ROBIN = "round-robin"
    """Each request begins one further."""
    RANDOM = "random"
    """At random, by weight."""
    FASTEST = "fastest"
    """The shortest dial time first; another member takes over when it is clearly faster."""
    STICKY = "sticky"
    """The same client gets the same member for the same destination, as long as that member works."""


ResolveText = Literal["remote", "local"]
PipelineText = Literal["off", "hop", "chain"]
IsolateText = Literal["off", "session", "user", "client", "destination"]
UdpRelayText = Literal["hop", "reported"]
NamesOnlyText = Literal["off", "warn", "refuse"]
UdpText = Literal["nested", "refuse"]
UdpFilterText = Literal["address-and-port", "address", "any"]
PickText = Literal["failover", "round-robin", "random", "fastest", "sticky"]
# The members of the enums as they are written, for type checkers.
