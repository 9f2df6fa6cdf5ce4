"""Single values as users write them: durations, addresses, and ports."""

from __future__ import annotations

import math
import re
from ipaddress import IPv4Address, IPv6Address, ip_address

from chainsocks.config.extras import DNS, require
from chainsocks.config.hop_addresses import UNIX, can_be_host, check_link_local, parse_hop_address
from chainsocks.config.listeners import ListenAddress, SystemdSocket, UnixPath
from chainsocks.config.rules import Network, parse_networks
from chainsocks.config.suggest import MAX_INTEGER, describe
from chainsocks.protocol.address import Address, parse_address

__all__ = [
    "LEAST_BANDWIDTH",
    "parse_bandwidth",
    "parse_duration",
    "parse_group",
    "parse_ip",
    "parse_listen",
    "parse_mode",
    "parse_most",
    "parse_part_address",
    "parse_ports",
    "parse_rate",
    "parse_resolver",
    "parse_target",
    "parse_trusted",
    "parse_via",
]

LEAST_BANDWIDTH = 1000
"""Bytes a second."""

DNS_PORT = 53
"""The port that IANA assigns to DNS, over TCP too."""

_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
_MODE = re.compile(r"0?[0-7]{3}")
_GROUP = re.compile(r"[\w.][\w.-]*\$?")
_TOKEN = re.compile(r"[A-Za-z0-9.-]+")
_SYSTEMD_NAME = re.compile(r"[!-9;-~]{1,255}")  # systemd.socket(5), FileDescriptorName=
_MAX_PORT = 65535
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)", re.ASCII)


def parse_duration(value: object) -> float:
    """Read a number of seconds, ``"1m30s"``, or ``"off"``.

    Raises:
        ValueError: it is not a duration, or not positive.
    """
    expected = 'expected a number of seconds, a text such as "1m30s", or "off"'
    if value == "off":
        return math.inf
    seconds = _seconds(value)
    if not math.isfinite(seconds):
        raise ValueError(f"found {describe(value)}, {expected}")
    if seconds <= 0:
        raise ValueError(f'found {describe(value)}, expected more than 0 seconds; "off" disables it')
    return seconds


def _seconds(value: object) -> float:
    """Return the seconds of a duration, or nan if the value is not one."""
    match value:
        case str() if value and not _DURATION.sub("", value):
            return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(value))
        case float():
            return value
        case int() if not isinstance(value, bool) and abs(value) <= MAX_INTEGER:
            return float(value)
        case _:
            return math.nan


def parse_most(value: object, least: int = 1) -> int | None:
    """Read how many there may be, `least` or more; None for ``"off"``.

    Raises:
        ValueError: it is neither.
    """
    if value == "off":
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_INTEGER:
        raise ValueError(f'found {describe(value)}, expected a whole number of at least {least}, or "off"')
    return value


def parse_bandwidth(value: object) -> int | None:
    """Read a number of bytes a second; None for ``"off"``.

    Raises:
        ValueError: it is neither, or so little that sessions would come to their idle timeout.
    """
    return parse_most(value, LEAST_BANDWIDTH)


def parse_rate(value: object) -> float | None:
    """Read how many there may be in a second, more than 0; None for ``"off"``.

    Raises:
        ValueError: it is neither.
    """
    if value == "off":
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= MAX_INTEGER:
        raise ValueError(f'found {describe(value)}, expected a number above 0, or "off"')
    return float(value)


def parse_trusted(value: str) -> tuple[Network | UnixPath, ...]:
    """Read an IP address, a network or a range of clients; or ``unix:/path``, the socket of a listener.

    Raises:
        ValueError: it is none of these; the message says why.
    """
    if not value.startswith("unix:"):
        return parse_networks(value)
    address = parse_listen(value)
    return (address,) if isinstance(address, UnixPath) else ()


def parse_listen(value: str) -> ListenAddress:
    """Read ``host:port``, ``[::1]:1080``, ``unix:/path`` or ``systemd:NAME``.

    Raises:
        ValueError: it is not one; the message says why.
    """
    if value.startswith("unix:"):
        path = value.removeprefix("unix:")
        if not path.startswith("/"):
            raise ValueError("the path of a unix socket starts with /, as in unix:/run/chainsocks.sock")
        return UnixPath(path)
    if value.startswith("systemd:"):
        name = value.removeprefix("systemd:")
        if not _SYSTEMD_NAME.fullmatch(name):
            raise ValueError("expected systemd:NAME, with a name as FileDescriptorName= of a socket unit may have it")
        return SystemdSocket(name)
    if "@" in value:
        raise ValueError("a listener's address cannot contain a login; declare [[users]] instead")
    port = value.removeprefix(":")
    address = parse_address(f"127.0.0.1:{port}" if port.isascii() and port.isdigit() else value)
    if not can_be_host(address.host):
        raise ValueError(f"found {describe(value)}, expected host:port, as in 127.0.0.1:1080")
    check_link_local(address)
    return address


def parse_mode(value: str) -> int:
    """Read permission bits, as in ``"0660"``.

    Raises:
        ValueError: they are none.
    """
    if not _MODE.fullmatch(value):
        raise ValueError(f'found {describe(value)}, expected permissions in octal, as in "0660"')
    return int(value, 8)


def parse_group(value: str) -> str:
    """Read the name or the number of a group. Whether this machine has it shows when the socket is made.

    Raises:
        ValueError: no group can be called that.
    """
    if not _GROUP.fullmatch(value):
        raise ValueError(f"found {describe(value)}, expected the name or the number of a group")
    return value


def parse_via(value: str) -> str:
    """Read the name of a proxy in ``Via`` (RFC 9110 section 7.6.3), a token.

    Raises:
        ValueError: it is none.
    """
    if not _TOKEN.fullmatch(value):
        raise ValueError(f"found {describe(value)}, expected a name of letters, digits and hyphens, as in proxy-1")
    return value


def parse_ports(value: str) -> range:
    """Read a range of ports, as in ``"40000-40100"``, or a single port.

    Raises:
        ValueError: it is not one.
    """
    if not (match := _PORTS.fullmatch(value)):
        raise ValueError(f"found {describe(value)}, expected a range of ports, as in 40000-40100")
    first, last = int(match[1]), int(match[2] or match[1])
    if not 1 <= first <= last <= _MAX_PORT:
        raise ValueError(f"found {describe(value)}, expected ports in 1..{_MAX_PORT}, the lower one first")
    return range(first, last + 1)


def parse_part_address(value: str) -> Address:
    """Read the ``address`` key of a hop.

    Raises:
        ValueError: it is not one; the message says why.
    """
    if "@" in value and not value.startswith(UNIX):
        raise ValueError("an address cannot contain a login; use username and password, or a url")
    return parse_hop_address(value)


def parse_target(value: str) -> Address:
    """Read the address of a destination, as in ``"example.org:443"``.

    Raises:
        ValueError: it is not an address, or has no port.
    """
    address = parse_address(value)
    if not address.port or not can_be_host(address.host):
        raise ValueError(f"found {describe(value)}, expected host:port, as in example.org:443")
    return address


def parse_resolver(value: str) -> Address:
    """Read the address of a resolver, ``host`` or ``host:port``.

    Raises:
        ValueError: it is not one, or a package for it is not installed.
    """
    if "@" in value:
        raise ValueError("a resolver's address cannot contain a login")
    address = parse_address(value, DNS_PORT)
    if not can_be_host(address.host):
        raise ValueError(f"found {describe(value)}, expected host or host:port, as in 9.9.9.9")
    if not address.port:
        raise ValueError(f"found {describe(value)}, expected a port in 1..{_MAX_PORT}")
    require(*DNS)
    return address


def parse_ip(value: str) -> IPv4Address | IPv6Address:
    """Read an IP address that replies to clients name.

    Raises:
        ValueError: it is not one, or is the unspecified address.
    """
    try:
        ip = ip_address(value)
    except ValueError:
        raise ValueError(f"found {describe(value)}, expected an IP address without a port") from None
    if ip.is_unspecified:
        raise ValueError(f"found {describe(value)}, expected an address that others can connect to")
    return ip
