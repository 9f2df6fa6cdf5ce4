"""Listeners: where the server accepts clients, and on what terms.

A `Listener` is a value. What holds for its clients is a field of it, and stays with the sockets that are opened for it,
whichever port the kernel picks for port 0 and however many addresses a name has. Listeners compare by value, so a new
configuration shows which ones to open and which ones to close.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_address

from chainsocks.config.hops import NamesOnly
from chainsocks.protocol.address import Address, AddressType

__all__ = ["ListenAddress", "Listener", "ListenerKind", "UnixPath", "is_loopback"]


@dataclass(frozen=True, slots=True)
class UnixPath:
    """The path of a unix socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


ListenAddress = Address | UnixPath


class ListenerKind(StrEnum):
    """Where the request of a client comes from."""

    SOCKS = "socks"
    """A SOCKS handshake; the first byte says which version."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One of ``listen`` in ``[server]``."""

    address: ListenAddress
    kind: ListenerKind = ListenerKind.SOCKS
    names_only: NamesOnly = NamesOnly.OFF
    """What happens to requests for IP addresses. A chain may be stricter."""
    mode: int | None = None
    """The permission bits of a unix socket; None for what the umask leaves."""
    group: str | None = None
    """The group of a unix socket, as a name or a number; None for that of the process."""

    def __str__(self) -> str:
        return str(self.address)


@lru_cache(64)
def is_loopback(address: ListenAddress) -> bool:
    """Whether only this machine can reach an address. A name other than ``localhost`` is taken to be reachable."""
    if isinstance(address, UnixPath):
        return True
    if address.type is AddressType.DOMAINNAME:
        return address.host == "localhost"
    return ip_address(address.host).is_loopback
