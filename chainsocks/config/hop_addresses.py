"""Where a hop is, and where its datagrams go, as users write that."""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

from chainsocks.config.choices import UdpRelay
from chainsocks.config.kinds import DEFAULT_PORT
from chainsocks.config.options import shown
from chainsocks.protocol.address import MAX_NAME, Address, AddressType, parse_address, parse_unix_address

__all__ = ["UNIX", "as_udp_relay", "can_be_host", "check_link_local", "parse_hop_address", "parse_udp_relay"]

UNIX = "unix:"
"""The beginning of the path of a unix socket, in place of a host and a port."""

_NOT_IN_A_HOST = re.compile(r"[\s/?#,;|]")


def parse_hop_address(text: str, default_port: int = DEFAULT_PORT) -> Address:
    """Read ``host[:port]``, with IPv6 in brackets, or ``unix:/path``.

    Raises:
        ValueError: saying what is expected, without repeating the text: that may hold a login in the order of another
            program, as in ``host:port:user:password``.
    """
    if text.startswith(UNIX) and not text.removeprefix(UNIX).isdigit():  # a host may be called that
        return parse_unix_address(text)
    address = None
    with suppress(ValueError):
        address = parse_address(text, default_port)
    if address and address.port and can_be_host(address.host):
        check_link_local(address)
        return address
    raise ValueError(
        f"expected host:port, as in example.org:1080 or [::1]:1080, with a name of at most {MAX_NAME} bytes "
        "and a port in 1..65535; a login stands before an @, or under keys of its own"
    )


def can_be_host(text: str) -> bool:
    """Whether no character shows that a text is more than a host: a URL, or a host with a login in words."""
    return not _NOT_IN_A_HOST.search(text)


def check_link_local(address: Address) -> None:
    """Check that a link-local address has an interface, without which it can be neither connected nor listened to.

    Raises:
        ValueError: it has none.
    """
    if address.is_link_local:
        raise ValueError("a link-local address needs the name of its interface, as in [fe80::1%eth0]:1080")


def as_udp_relay(value: object) -> UdpRelay | Address:
    """Return whose word tells the host for datagrams, given as a member, an address or the text of either.

    Raises:
        ValueError: it is none of these.
    """
    match value:
        case UdpRelay():
            return value
        case Address() if value.type is not AddressType.DOMAINNAME and value.packed.strip(b"\0"):
            return value
        case IPv4Address() | IPv6Address() | str():
            with suppress(ValueError):
                return parse_udp_relay(str(value))
    raise ValueError(f'udp_relay is {shown(value)}; write "hop", "reported", or an IP address such as "192.0.2.1:1080"')


def parse_udp_relay(text: str) -> UdpRelay | Address:
    """Read ``hop``, ``reported``, or an IP address, with a port or without.

    Raises:
        ValueError: it is none of these.
    """
    if text in set(UdpRelay):
        return UdpRelay(text)
    with suppress(ValueError):
        address = Address(text, 0)
        if address.type is AddressType.DOMAINNAME:
            address = parse_address(text, 0)
        if address.type is not AddressType.DOMAINNAME and address.packed.strip(b"\0"):
            return address
    raise ValueError('expected "hop", "reported", or an IP address such as 192.0.2.1 or 192.0.2.1:1080')
