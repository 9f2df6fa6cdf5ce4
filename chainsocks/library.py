"""The library: what ``import chainsocks`` offers.

It works under trio and asyncio, and imports neither. The server is `chainsocks.server`.
"""

from chainsocks.client.datagrams import UDPAssociation, open_udp
from chainsocks.client.names import resolve, resolve_ptr
from chainsocks.client.raw_socket import connect_socket
from chainsocks.client.stream import ChainStream
from chainsocks.client.tcp import BoundPort, bind_tcp, connect_tcp
from chainsocks.config.chains import DIRECT, Chain, Route
from chainsocks.config.choices import Isolate, NamesOnly, Pick, Pipeline, Resolve, Udp, UdpFilter, UdpRelay
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Config, Timeouts
from chainsocks.config.tls import Tls
from chainsocks.egress import Family
from chainsocks.errors import (
    Cause,
    ChainsocksError,
    ConfigError,
    ConnectError,
    DestinationRefused,
    DestinationRefusedHop,
    DestinationTlsError,
    DialError,
    DialTimeout,
    HopAuthenticationError,
    HopProtocolError,
    HopRefused,
    HopTlsError,
    LoginRefused,
    ProtocolError,
    RequestRefused,
    ResolverError,
    UnsupportedAddress,
)
from chainsocks.protocol.address import Address
from chainsocks.protocol.gssapi import Gssapi, Protection
from chainsocks.protocol.messages import UserId, UsernamePassword

__all__ = [
    "DIRECT",
    "Address",
    "BoundPort",
    "Cause",
    "Chain",
    "ChainStream",
    "ChainsocksError",
    "Config",
    "ConfigError",
    "ConnectError",
    "DestinationRefused",
    "DestinationRefusedHop",
    "DestinationTlsError",
    "DialError",
    "DialTimeout",
    "Family",
    "Group",
    "Gssapi",
    "Hop",
    "HopAuthenticationError",
    "HopProtocol",
    "HopProtocolError",
    "HopRefused",
    "HopTlsError",
    "Isolate",
    "LoginRefused",
    "NamesOnly",
    "Pick",
    "Pipeline",
    "Protection",
    "ProtocolError",
    "RequestRefused",
    "Resolve",
    "ResolverError",
    "Route",
    "Timeouts",
    "Tls",
    "UDPAssociation",
    "Udp",
    "UdpFilter",
    "UdpRelay",
    "UnsupportedAddress",
    "UserId",
    "UsernamePassword",
    "bind_tcp",
    "connect_socket",
    "connect_tcp",
    "open_udp",
    "resolve",
    "resolve_ptr",
]
