"""Rules, which choose the chain of a request, and the texts of their conditions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
    summarize_address_range,
)
from types import MappingProxyType
from typing import TypeVar

from chainsocks.config.hosts import host_of, normal_name
from chainsocks.config.suggest import none_of
from chainsocks.protocol.address import Address, AddressType, unmapped
from chainsocks.protocol.masking import masked
from chainsocks.protocol.messages import Command

__all__ = [
    "DIRECTLY",
    "PRIVATE_NETWORKS",
    "Family",
    "Hosts",
    "Network",
    "Rule",
    "Spoken",
    "allows_unknown_clients",
    "parse_commands",
    "parse_networks",
    "parse_spoken",
    "parse_to",
]

DIRECTLY = "direct"
"""The name of the way without hops, in place of a chain's name."""

Network = IPv4Network | IPv6Network

EXPECTED = (
    "expected a name, *.example.org (the names below it), .example.org (it and the names below it), "
    "an IP address, a network such as 10.0.0.0/8, or a range such as 10.0.0.1-10.0.0.9"
)

PRIVATE_NETWORKS: tuple[Network, ...] = tuple(
    ip_network(text) for text in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "::/128", "::1/128", "fe80::/10")
)
"""Unspecified, loopback and link-local addresses: places of one machine or link."""

_MAPPED_PREFIX = 96  # bits of an IPv6 address before the IPv4 address that is mapped into it
_COMMANDS = {
    "connect": frozenset({Command.CONNECT}),
    "bind": frozenset({Command.BIND}),
    "udp": frozenset({Command.UDP_ASSOCIATE}),
    "resolve": frozenset({Command.RESOLVE, Command.RESOLVE_PTR}),
}
KnownT = TypeVar("KnownT")
NetworkT = TypeVar("NetworkT", IPv4Network, IPv6Network)

_NOT_IN_A_NAME = re.compile(r"[\s/?#@*:,;|]")


class Spoken(StrEnum):
    """The protocol of a request. SOCKS4 with a name is 4a."""

    SOCKS4 = "4"
    SOCKS4A = "4a"
    SOCKS5 = "5"
    HTTP = "http"
    REDIRECT = "redirect"
    """None: the connection was redirected."""
    TUNNEL = "tunnel"
    """None: the listener is a tunnel."""
    DNS = "dns"
    """A question of DNS."""


class Family(Enum):
    """Versions of IP addresses."""

    IPV4 = 4
    IPV6 = 6


@dataclass(frozen=True, slots=True)
class Hosts:
    """A set of hosts, in the form of `chainsocks.config.hosts`; ``|`` joins two."""

    names: frozenset[str] = frozenset()
    suffixes: frozenset[str] = frozenset()
    """The names below each of them, without the suffix itself."""
    networks: tuple[Network, ...] = ()

    def __or__(self, other: Hosts) -> Hosts:
        return Hosts(self.names | other.names, self.suffixes | other.suffixes, self.networks + other.networks)


@dataclass(frozen=True, slots=True)
class Rule:
    """One of ``[[rules]]``. It matches a request that meets all of its conditions; an empty condition is always met."""

    number: int
    """Its place in the file, counted from 1."""
    chain: str | None
    """The name of a chain, or `DIRECTLY`; None denies."""
    to: Hosts = Hosts()
    ports: tuple[range, ...] = ()
    clients: tuple[Network, ...] = ()
    """The key ``from``."""
    users: frozenset[bytes] = frozenset()
    commands: frozenset[Command] = frozenset()
    versions: frozenset[Spoken] = frozenset()
    resolve: bool = False
    """Whether a name is resolved locally, and matched by its addresses."""
    idle: float | None = None
    """Seconds without data after which a relay ends; None for what the chain has."""
    half_close: float | None = None
    """The same after one side has finished."""
    written: Mapping[str, Sequence[str]] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    """The conditions as written in the file."""

    @property
    def unconditional(self) -> bool:
        """Whether it matches every request."""
        return not (self.users or self.clients or self.is_partial)

    @property
    def is_partial(self) -> bool:
        """Whether it matches only some requests of the clients and users that it is for."""
        return bool(self.to != Hosts() or self.ports or self.commands or self.versions)

    def names_host(self, destination: Address, address: Address) -> bool:
        """Return whether ``to`` names a host, or a network of private places, that covers `address` of `destination`.

        A larger network is no such name, and neither is a suffix of names.
        """
        try:
            if host_of(destination).name in self.to.names:
                return True
        except ValueError:
            pass  # it is no name
        ips = [ip_address(packed) for packed in host_of(address).ips]
        return any(ip in network for network in self.to.networks if _is_narrow(network) for ip in ips)

    @property
    def way(self) -> str:
        """What it does with a request, as written in the file."""
        return "deny = true" if self.chain is None else f'chain = "{self.chain}"'

    def __str__(self) -> str:
        parts = [f"{key} = {_listed(values)}" for key, values in self.written.items()]
        return ", ".join([*parts, *(["resolve = true"] if self.resolve else []), self.way, *self.limits])

    @property
    def limits(self) -> list[str]:
        """The limits that it sets, as they may be written in the file."""
        return [
            f"{key} = {value:g}" if value < math.inf else f'{key} = "off"'
            for key, value in (("idle", self.idle), ("half_close", self.half_close))
            if value is not None
        ]


def _is_narrow(network: Network) -> bool:
    """Return whether a network is a single address, or has private places only."""
    if network.prefixlen == network.max_prefixlen:
        return True
    if isinstance(network, IPv4Network):
        return any(network.subnet_of(each) for each in PRIVATE_NETWORKS if isinstance(each, IPv4Network))
    return any(network.subnet_of(each) for each in PRIVATE_NETWORKS if isinstance(each, IPv6Network))


def _listed(values: Sequence[str]) -> str:
    return f"[{', '.join(values)}]"


def allows_unknown_clients(rules: Iterable[Rule], family: Family) -> bool | None:
    """Tell whether an unknown client, whose address is in no ``from``, is allowed any request; None if no rule decides.

    Only a rule that denies every request shuts unknown clients out. A ``from`` with all addresses is no condition. A
    rule for users is no protection either, since the client's own identd may confirm any name.
    """
    for rule in rules:
        for_all = not rule.clients or _has_all(rule.clients, family)
        if for_all and rule.chain is not None:
            return True
        if for_all and not rule.users and not rule.is_partial:
            return False
    return None


def _has_all(networks: Iterable[Network], family: Family) -> bool:
    if family is Family.IPV4:
        return any(not each.prefixlen for each in collapse_addresses(_of_kind(IPv4Network, networks)))
    return any(not each.prefixlen for each in collapse_addresses(_of_kind(IPv6Network, networks)))


def _of_kind(kind: type[NetworkT], networks: Iterable[Network]) -> list[NetworkT]:
    return [network for network in networks if isinstance(network, kind)]


def parse_to(text: str) -> Hosts:
    """Read one entry of ``to``.

    Raises:
        ValueError: saying what is wrong with it.
    """
    if text == "*":
        raise ValueError("found '*': leave out `to` for any destination")
    if networks := _networks(text):
        return Hosts(networks=networks)
    for mark in ("*.", "."):
        if text.startswith(mark):
            below = _name(text.removeprefix(mark), text)
            return Hosts(frozenset({below} if mark == "." else ()), frozenset({below}))
    return Hosts(frozenset({_name(text, text)}))


def _name(text: str, written: str) -> str:
    """Return a name in the form that rules compare."""
    try:
        address = Address(text.rstrip("."), 0)
    except ValueError as error:
        why = f": {error}" if masked(written) == written else ""
        raise ValueError(f"found {_found(written)}{why}; {EXPECTED}") from None
    if address.type is not AddressType.DOMAINNAME or _NOT_IN_A_NAME.search(text):
        raise ValueError(f"found {_found(written)}, {EXPECTED}")
    host = host_of(address)
    if not host.name:
        plain = " or ".join(str(ip_address(ip)) for ip in host.ips[:1])
        raise ValueError(f"found {written!r}, which is an IP address in another form; write {plain}")
    return normal_name(text)


def _found(text: str) -> str:
    shown = masked(text)
    return "something with a login in it" if "@" in text or shown != text else repr(text)


def parse_networks(text: str) -> tuple[Network, ...]:
    """Read an IP address, a network or a range.

    Raises:
        ValueError: saying what is wrong with it.
    """
    if networks := _networks(text):
        return networks
    expected = "an IP address, a network such as 10.0.0.0/8, or a range such as 10.0.0.1-10.0.0.9"
    raise ValueError(f"found {_found(text)}, expected {expected}")


def _networks(text: str) -> tuple[Network, ...]:
    """Read an IP address, a network or a range; return nothing for any other text."""
    first, dash, last = text.partition("-")
    if dash and (one := _ip(first)):
        try:
            return tuple(map(_unmapped, summarize_address_range(one, ip_address(last.strip()))))
        except (TypeError, ValueError):
            expected = "expected a range of addresses of one kind, the lower one first"
            raise ValueError(f"found {_found(text)}, {expected}") from None
    host, slash, _ = text.partition("/")
    if not slash or _ip(host) is None:
        ip = _ip(text)
        return (_unmapped(ip_network(ip)),) if ip else ()
    try:
        return (_unmapped(ip_network(text)),)
    except ValueError:
        pass
    try:
        whole = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"found {_found(text)}, expected a network such as 10.0.0.0/8 or 2001:db8::/32") from None
    raise ValueError(f"found {_found(text)}, which is an address within a network; did you mean {str(whole)!r}?")


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return None if "%" in text else ip_address(text.strip())
    except ValueError:
        return None


def _unmapped(network: Network) -> Network:
    """Return the IPv4 network for one that is mapped into IPv6; every other network is returned unchanged."""
    packed = unmapped(network.network_address.packed)
    if len(packed) != 4 or network.prefixlen < _MAPPED_PREFIX:
        return network
    return IPv4Network((packed, network.prefixlen - _MAPPED_PREFIX))


def parse_commands(text: str) -> frozenset[Command]:
    """Read one entry of ``commands``; "resolve" stands for both of tor's.

    Raises:
        ValueError: it is none.
    """
    return _known(text, _COMMANDS)


def parse_spoken(text: str) -> Spoken:
    """Read one entry of ``versions``.

    Raises:
        ValueError: it is none.
    """
    return _known(text, {version.value: version for version in Spoken})


def _known(text: str, known: Mapping[str, KnownT]) -> KnownT:
    if text in known:
        return known[text]
    raise ValueError(none_of(known, text))
