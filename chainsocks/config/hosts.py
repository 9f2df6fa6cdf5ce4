"""One form for every host: a normalized name, or the IP addresses that the text stands for.

Rules compare hosts in this form, so that no other spelling gets around them.

1. A name is lower-case, has no dots at its end, and its labels are A-labels (UTS 46): ``MÜNCHEN.example.`` is
   ``xn--mnchen-3ya.example``. A label that is no IDNA label, such as ``_dmarc`` or bytes, is not changed.
2. A text that a resolver or a hop would read as an IP address is that address: ``127.1``, ``0x7f.1``, ``0177.0.0.1``,
   ``2130706433`` (inet_aton), ``[::1]``, ``::1%1``. A name that ends in a number and is no address is refused. So is a
   name with blanks in it: another program might strip them.
3. IPv4 inside IPv6 (``::ffff:10.0.0.1``) is IPv4.
4. ``0.0.0.0`` and ``::`` are also the loopback address, since a kernel connects them to it. So are ``localhost`` and
   the names below it (RFC 6761 section 6.3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from socket import AF_INET6, inet_pton

from chainsocks.config.idn import DOTS, a_label
from chainsocks.protocol.address import Address, AddressType, unmapped

__all__ = ["Host", "host_of", "host_of_ip", "normal_name", "spelt_out"]

_ANY4, _ANY6 = bytes(4), bytes(16)
_LOOPBACK4, _LOOPBACK6 = b"\x7f\0\0\1", bytes(15) + b"\1"
_BLANK = re.compile(r"[\x00-\x20\x7f]")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")


@dataclass(frozen=True, slots=True)
class Host:
    """A host in the form that rules compare."""

    name: str = ""
    """Empty for an IP address."""
    ips: tuple[bytes, ...] = ()
    """The addresses that it is known to mean without a lookup, each as its 4 or 16 bytes."""


def host_of(address: Address) -> Host:
    """Return the host in an address.

    Raises:
        ValueError: it has dots only, contains a blank, or ends in a number without being an IP address.
    """
    if address.type is not AddressType.DOMAINNAME:
        return host_of_ip(address.packed)
    if _BLANK.search(address.host):
        raise ValueError("there are blanks in the name")
    name = normal_name(address.host)
    if ":" in name:
        try:
            return host_of_ip(inet_pton(AF_INET6, name.strip("[]").partition("%")[0]))
        except (OSError, ValueError):
            return Host(name)
    last = name[name.rfind(".") + 1 :]
    if not last:
        raise ValueError("the name has no label at its end")
    if last[:1].isdigit() and _NUMBER.fullmatch(last):
        return host_of_ip(_parse_numbers(name))
    if last == "localhost":
        return Host(name, (_LOOPBACK4, _LOOPBACK6))
    return Host(name)


def host_of_ip(packed: bytes) -> Host:
    """Return the host for an IP address of 4 or 16 bytes."""
    packed = unmapped(packed)
    if packed == _ANY4:
        return Host("", (_ANY4, _LOOPBACK4))
    if packed == _ANY6:
        return Host("", (_ANY6, _LOOPBACK6))
    return Host("", (packed,))


def normal_name(name: str) -> str:
    """Return a name in the form that rules compare."""
    if name.isascii():
        return name.lower().rstrip(".")
    return ".".join(map(_a_label, DOTS.split(name))).rstrip(".")


def spelt_out(address: Address, host: Host) -> Address:
    """Return the address to dial in place of `address`, so that the address dialled is the one that was matched.

    An IP address in an unusual form becomes a plain one, because a hop might read it differently. An address with a
    zone is kept, because the zone has a meaning on this machine only. Names are kept as well.
    """
    if host.name or address.type is not AddressType.DOMAINNAME or "%" in address.host:
        return address
    kind = AddressType.IPV4 if len(host.ips[0]) == len(_ANY4) else AddressType.IPV6
    return Address.from_packed(kind, host.ips[0], address.port)


def _a_label(label: str) -> str:
    try:
        return a_label(label)
    except ValueError:
        return label.lower()


def _parse_numbers(text: str) -> bytes:
    """Read one to four numbers as inet_aton(3) does: the last number fills all remaining bytes."""
    parts = text.split(".")
    try:
        *front, last = (int(part, _base(part)) for part in parts)
        if len(parts) <= len(_ANY4):
            return bytes(front) + last.to_bytes(len(_ANY4) - len(front), "big")
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{text} is neither a name nor an IP address")


def _base(part: str) -> int:
    if not _NUMBER.fullmatch(part):
        raise ValueError
    if part.startswith("0x"):
        return 16
    return 8 if part.startswith("0") and len(part) > 1 else 10
