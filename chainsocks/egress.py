"""Where connections leave this machine from: the source address, the interface, the firewall mark, and the family.

The keys ``source``, ``interface``, ``mark`` and ``family`` of a hop, and of the way without hops, are read here. The
sockets are prepared by `chainsocks.sockets`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from operator import index
from typing import Literal

from chainsocks.protocol.address import Address, AddressType, canonical

__all__ = [
    "Egress",
    "Family",
    "FamilyText",
    "Same",
    "Source",
    "SourceLike",
    "as_interface",
    "as_mark",
    "as_source",
    "egress_of",
    "parse_interface",
    "parse_source",
]

_MOST = 2**32 - 1
_INTERFACE = re.compile(r"[!-.0-9;-~]{1,15}")  # IFNAMSIZ of Linux, and its dev_valid_name: no slash and no colon
_LINUX = sys.platform.startswith("linux")


class Same(StrEnum):
    """A source that depends on the session."""

    SAME = "same"
    """The address of this machine by which the client came in."""


Source = tuple[Address, ...] | Same
"""The source addresses, at most one of each family, with port 0; empty for the system's choice."""

SourceLike = Source | Address | IPv4Address | IPv6Address | str | Sequence[str]
"""What is taken for a source."""


class Family(StrEnum):
    """Which addresses of a name are connected to, and which ones first."""

    PREFER_IPV4 = "prefer-ipv4"
    PREFER_IPV6 = "prefer-ipv6"
    IPV4 = "ipv4"
    IPV6 = "ipv6"

    @property
    def first(self) -> AddressType:
        """The type of address that comes first, or alone."""
        return AddressType.IPV4 if self in (Family.PREFER_IPV4, Family.IPV4) else AddressType.IPV6

    @property
    def is_strict(self) -> bool:
        """Whether addresses of the other type are not connected to."""
        return self in (Family.IPV4, Family.IPV6)

    def allows(self, address: Address) -> bool:
        """Whether an IP address may be connected to."""
        return not self.is_strict or canonical(address).type is self.first

    def arrange(self, addresses: Sequence[Address]) -> list[Address]:
        """Return the addresses that may be connected to, those of the first family first."""
        allowed = filter(self.allows, addresses)
        return sorted(allowed, key=lambda address: canonical(address).type is not self.first)


FamilyText = Literal["prefer-ipv4", "prefer-ipv6", "ipv4", "ipv6"]
"""The members as they are written."""


@dataclass(frozen=True, slots=True)
class Egress:
    """How a socket leaves this machine.

    `Same.SAME` leaves its source to the system, where no session has put an address there.
    """

    source: Source = ()
    interface: str | None = None
    """The name of the interface that it is bound to (SO_BINDTODEVICE)."""
    mark: int | None = None
    """The mark of its packets, for rules of the firewall and of routing (SO_MARK)."""

    def source_for(self, address: Address) -> Address | None:
        """Return the source of a connection to an IP address; None for the system's choice, or where there is none."""
        if isinstance(self.source, Same):
            return None
        return next((each for each in self.source if each.type is address.type), None)

    def reaches(self, address: Address) -> bool:
        """Whether there is a source for an IP address, or none is needed."""
        return not isinstance(self.source, tuple) or not self.source or self.source_for(address) is not None

    def __str__(self) -> str:
        where = [] if not self.source else ["source " + " ".join(_shown(self.source))]
        if self.interface is not None:
            where.append(f"interface {self.interface}")
        if self.mark is not None:
            where.append(f"mark {self.mark}")
        return ", ".join(where)


def egress_of(source: Source, interface: str | None, mark: int | None) -> Egress | None:
    """Return how sockets leave; None where all of it is left to the system."""
    return Egress(source, interface, mark) if source or interface is not None or mark is not None else None


def _shown(source: Source) -> list[str]:
    return [source.value] if isinstance(source, Same) else [each.host for each in source]


def parse_source(text: str) -> Address | Same:
    """Read an IP address of this machine, or ``same``.

    Raises:
        ValueError: it is neither.
    """
    if text == Same.SAME:
        return Same.SAME
    try:
        address = canonical(Address(text, 0))
    except ValueError:
        address = None
    if address is None or address.type is AddressType.DOMAINNAME or not address.packed.strip(b"\0"):
        raise ValueError('expected an IP address of this machine, without a port, or "same"')
    return address


def as_source(value: object) -> Source:
    """Return a source, given in one of the forms of `SourceLike`.

    Raises:
        ValueError: it is none, or has two addresses of one family.
    """
    if value == Same.SAME:
        return Same.SAME
    found = [_one(each) for each in (value if isinstance(value, list | tuple) else [value])]
    addresses = tuple(each for each in found if isinstance(each, Address))
    if len(addresses) < len(found):
        if len(found) == 1:
            return Same.SAME
        raise ValueError('source: "same" stands alone, since it is the address by which the client came in')
    if len({each.type for each in addresses}) < len(addresses):
        raise ValueError("source: write one IPv4 address at most, and one IPv6 address")
    return addresses


def _one(value: object) -> Address | Same:
    text = value.host if isinstance(value, Address) else value
    if isinstance(text, str | IPv4Address | IPv6Address):
        try:
            return parse_source(str(text))
        except ValueError as error:
            raise ValueError(f"source: {error}") from None
    raise ValueError(f'source is of type {type(value).__name__}; write an IP address of this machine, or "same"')


def parse_interface(text: str) -> str:
    """Read the name of a network interface. Whether this machine has it shows when it is used.

    Raises:
        ValueError: no interface can be called that, or this system binds no sockets to interfaces.
    """
    if not _LINUX:
        raise ValueError("only Linux binds sockets to interfaces")
    if not _INTERFACE.fullmatch(text):
        raise ValueError("expected the name of a network interface, as `ip link` prints it")
    return text


def as_interface(value: object) -> str | None:
    """Return the name of an interface; None is the system's choice.

    Raises:
        ValueError: it is none.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"interface is of type {type(value).__name__}; write its name, as `ip link` prints it")
    try:
        return parse_interface(value)
    except ValueError as error:
        raise ValueError(f"interface: {error}") from None


def as_mark(value: object) -> int | None:
    """Return a firewall mark; None for no mark.

    Raises:
        ValueError: it is none, or this system has no marks.
    """
    if value is None:
        return None
    if not _LINUX:
        raise ValueError("mark: only Linux has marks")
    try:
        mark = 0 if isinstance(value, bool) else index(value)  # type: ignore[arg-type]
    except TypeError:
        mark = 0
    if not 1 <= mark <= _MOST:
        raise ValueError(f"mark: expected a whole number from 1 to {_MOST}, as `ip rule add fwmark` takes it")
    return mark
