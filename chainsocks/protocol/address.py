"""Addresses as SOCKS carries them: an IPv4 address, an IPv6 address or a name, and a port.

The type is decided once, when the value is made. Names are never resolved here, and are kept byte for byte: bytes that
are not UTF-8 become surrogate escapes, and are sent as they were received. An IPv6 address that is written in brackets,
as in a URL, is that address; some clients send it so, as a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from operator import index
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import SupportsIndex

from chainsocks.protocol.masking import masked

__all__ = [
    "MAX_NAME",
    "UNSPECIFIED",
    "Address",
    "AddressType",
    "HostLike",
    "PortLike",
    "SockAddr",
    "UnixAddress",
    "address_of",
    "canonical",
    "host_text",
    "interleave",
    "parse_address",
    "parse_unix_address",
    "parse_zoned",
    "port_number",
    "printable",
    "unmapped",
    "with_scope",
]

MAX_NAME = 255
"""Bytes in a domain name: the length of ATYP 3 is one octet (RFC 1928 section 5)."""


SockAddr = tuple[str, int] | tuple[str, int, int, int]
"""The name of a TCP or UDP socket: the second form has the flow label and the scope of an IPv6 address."""

HostLike = str | bytes | IPv4Address | IPv6Address
"""What is taken for a host: text, the same in UTF-8, or an IP address of the standard library."""

PortLike = SupportsIndex | str
"""What is taken for a port: a number of any type, or its decimal digits."""


class AddressType(IntEnum):
    """ATYP of RFC 1928 section 5."""

    IPV4 = 1
    DOMAINNAME = 3
    IPV6 = 4


_IPV4 = AddressType.IPV4  # read for each message: a global is quicker than an enum attribute


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port, in 0..65535; immutable and hashable. They are taken as `HostLike` and `PortLike`.

    Raises:
        ValueError: an empty host, a name over 255 bytes or with a NUL in it, a port out of range, or other types.
    """

    host: str
    port: int
    scope: int = field(default=0, repr=False, kw_only=True)
    """The number of the interface of a link-local IPv6 address on this machine. SOCKS cannot carry it."""
    type: AddressType = field(init=False, repr=False, compare=False)
    packed: bytes = field(init=False, repr=False, compare=False)
    """The host in its wire form: 4 bytes, 16 bytes, or the name without its length."""

    def __post_init__(self) -> None:
        if type(self.port) is not int or type(self.host) is not str or type(self.scope) is not int:
            object.__setattr__(self, "port", port_number(self.port))
            object.__setattr__(self, "host", host_text(self.host))
            object.__setattr__(self, "scope", _scope_number(self.scope))
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port {self.port} is not in 0..65535")
        host = self.host
        if host[0:1] == "[" and host[-1] == "]" and _is_ipv6(host[1:-1].partition("%")[0]):
            host = host[1:-1]
            object.__setattr__(self, "host", host)
        kind, packed = _classify(host)
        object.__setattr__(self, "type", kind)
        object.__setattr__(self, "packed", packed)

    def __str__(self) -> str:
        if self.type is _IPV4:
            return f"{self.host}:{self.port}"
        host = printable(self.zoned)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def zoned(self) -> str:
        """The host with its interface, as in ``fe80::1%2``, where it has one."""
        return f"{self.host}%{self.scope}" if self.scope else self.host

    @property
    def sockaddr(self) -> SockAddr:
        """The name that a socket has for an IP address and its port."""
        return (self.host, self.port, 0, self.scope) if self.scope else (self.host, self.port)

    @property
    def is_link_local(self) -> bool:
        """Whether it is a link-local IPv6 address (RFC 4291 section 2.5.6)."""
        packed = self.packed
        return packed[0] == 0xFE and packed[1] & 0xC0 == 0x80 and self.type is AddressType.IPV6

    @classmethod
    def from_packed(cls, kind: AddressType, packed: bytes, port: int) -> Address:
        """Make an address from its wire form.

        Raises:
            ValueError: as the constructor does.
        """
        if kind is _IPV4:
            if not 0 <= port <= 65535:
                raise ValueError(f"port {port} is not in 0..65535")
            address = cls.__new__(cls)  # nothing is to be checked or found out: a third of the price of the constructor
            put = object.__setattr__
            host, packed = _ipv4_host(packed)
            put(address, "host", host)
            put(address, "port", port)
            put(address, "scope", 0)
            put(address, "type", kind)
            put(address, "packed", packed)
            return address
        if kind is AddressType.IPV6:
            return cls(inet_ntop(AF_INET6, packed), port)
        return cls(packed.decode("utf-8", "surrogateescape"), port)


@lru_cache(1024)
def _ipv4_host(packed: bytes) -> tuple[str, bytes]:
    """Return the text and the wire form of a host: the addresses of open sessions that go to one host share both."""
    return inet_ntop(AF_INET, packed), packed


MAX_PATH = 107
"""Bytes in the path of a unix socket: unix(7), with the NUL behind it."""


@dataclass(frozen=True, slots=True)
class UnixAddress(Address):
    """The path of a unix socket of this machine, where an address may be one; its host is ``localhost``."""

    path: str = field(default="", kw_only=True)

    def __str__(self) -> str:
        return f"unix:{printable(self.path)}"


def parse_unix_address(text: str) -> UnixAddress:
    """Read ``unix:/path``.

    Raises:
        ValueError: it is not that.
    """
    scheme, _, path = text.partition(":")
    size = len(path.encode("utf-8", "surrogateescape"))
    if scheme != "unix" or not path.startswith("/") or "\0" in path or size > MAX_PATH:
        raise ValueError(f"expected unix:/path, with at most {MAX_PATH} bytes of path, as in unix:/run/tor/socks")
    return UnixAddress("localhost", 0, path=path)


def host_text(host: object) -> str:
    """Return the text of a host of any of the types of `HostLike`.

    Raises:
        ValueError: it is of another type, or of bytes that are not UTF-8.
    """
    if isinstance(host, str):
        return str.__str__(host)  # of an enum, the value
    if isinstance(host, bytes | bytearray):
        try:
            return host.decode()
        except UnicodeDecodeError:
            raise ValueError("the host is given as bytes that are not UTF-8; write it as text") from None
    if type(host) in (IPv4Address, IPv6Address):
        return str(host)
    raise ValueError(f'the host is {_shown(host)}; write a text, such as "example.org" or "192.0.2.1"')


def port_number(port: object) -> int:
    """Return the number of a port of any of the types of `PortLike`; its range is checked by `Address`.

    Raises:
        ValueError: it is of another type, or a text that is no number.
    """
    if isinstance(port, str | bytes) and port.isascii() and port.isdigit() and len(port) <= 5:
        return int(port)
    if not isinstance(port, bool):
        try:
            return index(port)  # type: ignore[arg-type]
        except TypeError:
            pass
    raise ValueError(f"the port is {_shown(port)}; write a number in 0..65535, such as 443")


def _scope_number(scope: object) -> int:
    try:
        return index(scope)  # type: ignore[arg-type]
    except TypeError:
        problem = "write the number of the interface, as socket.if_nametoindex returns it"
        raise ValueError(f"the scope is {_shown(scope)}; {problem}") from None


def _shown(value: object) -> str:
    """Say what was given where something else was expected, without repeating what may be a secret."""
    return str(value) if value is None or isinstance(value, bool | float) else f"of type {type(value).__name__}"


def address_of(sockaddr: SockAddr) -> Address:
    """Return the address in the name of a TCP or UDP socket, or of its peer."""
    if len(sockaddr) == 2 and ":" not in sockaddr[0]:
        return Address.from_packed(_IPV4, inet_pton(AF_INET, sockaddr[0]), sockaddr[1])
    scope = sockaddr[3] if len(sockaddr) == 4 else 0
    return Address(sockaddr[0].partition("%")[0], sockaddr[1], scope=scope)


def parse_zoned(text: str, port: int) -> Address:
    """Return the address whose `Address.zoned` is `text`."""
    host, _, scope = text.partition("%")
    return Address(host, port, scope=int(scope or 0))


def with_scope(address: Address, scope: int) -> Address:
    """Return a link-local address with the interface `scope`, unless it has one; others are returned unchanged."""
    return Address(address.host, address.port, scope=scope) if address.is_link_local and not address.scope else address


def _classify(host: str) -> tuple[AddressType, bytes]:
    # Two calls of inet_pton cost a sixth of one ipaddress.ip_address, and this runs for every request.
    if ":" in host:
        try:
            return AddressType.IPV6, inet_pton(AF_INET6, host)
        except (OSError, ValueError):  # a scoped address ("fe80::1%eth0") is a name to us
            pass
    elif host[-1:].isdigit():
        try:
            return _IPV4, inet_pton(AF_INET, host)
        except (OSError, ValueError):
            pass
    name = host.encode("utf-8", "surrogateescape")
    if not name:
        raise ValueError("the host is empty")
    if len(name) > MAX_NAME:
        raise ValueError(f"the name is {len(name)} bytes long; SOCKS carries at most {MAX_NAME}")
    if b"\0" in name:
        raise ValueError("the name contains a NUL byte")
    return AddressType.DOMAINNAME, name


_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 section 2.5.5.2


def unmapped(packed: bytes) -> bytes:
    """Return the 4 bytes of an IPv4 address that is mapped into IPv6; every other IP address is returned unchanged.

    `packed` has 4 or 16 bytes.
    """
    return packed[len(_MAPPED) :] if packed.startswith(_MAPPED) and len(packed) == 16 else packed


def canonical(address: Address) -> Address:
    """Return an IP address as the kernel writes it, IPv4 where it is mapped into IPv6; a name is returned unchanged."""
    kind, packed = address.type, address.packed
    if kind is AddressType.IPV6:
        packed = unmapped(packed)
        kind = AddressType.IPV6 if len(packed) == 16 else AddressType.IPV4
    plain = Address.from_packed(kind, packed, address.port)
    return with_scope(plain, address.scope) if address.scope else plain


def interleave(addresses: Sequence[Address]) -> list[Address]:
    """Alternate the two families, without repeats, the first one's family first (RFC 8305 section 4)."""
    unique = list(dict.fromkeys(addresses))
    if not unique:
        return []
    first = [address for address in unique if address.type is unique[0].type]
    other = [address for address in unique if address.type is not unique[0].type]
    ordered: list[Address] = []
    while first or other:
        ordered += first[:1] + other[:1]
        first, other = first[1:], other[1:]
    return ordered


UNSPECIFIED = Address("0.0.0.0", 0)
"""The address in a reply that has none to report."""


def parse_address(text: str, default_port: int | None = None) -> Address:
    """Parse ``host:port``, with IPv6 in brackets.

    Raises:
        ValueError: the text is no address; the message says why.
    """
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):  # "example.org" or "[::1]"
        host, port = text, ""
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not _is_ipv6(host.partition("%")[0]):  # a scope may follow, as in [fe80::1%eth0]
            raise ValueError(f"{masked(text)!r}: only an IPv6 address stands in brackets")
    elif ":" in host:
        if masked(text) != text:
            raise ValueError(f"{masked(text)!r}: expected host:port and nothing else, as in example.org:1080")
        raise ValueError(f"{masked(text)!r}: put an IPv6 address in brackets, as in [::1]:1080")
    if not port:
        if default_port is None:
            raise ValueError(f"{masked(text)!r}: a port is missing, as in example.org:1080")
        return Address(host, default_port)
    if not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise ValueError(f"{masked(text)!r}: a port is a number, as in example.org:1080")
    return Address(host, int(port))


def _is_ipv6(host: str) -> bool:
    try:
        return bool(inet_pton(AF_INET6, host))
    except (OSError, ValueError):
        return False


def printable(text: str) -> str:
    """Return `text` with every character escaped that could break or forge a log line."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
