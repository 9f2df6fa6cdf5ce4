"""Which clients no limit is for: those of ``trusted`` in ``[limits]``."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from socket import AF_INET, AF_INET6, inet_pton

from chainsocks.config.limits import Limits
from chainsocks.config.listeners import ListenAddress, UnixPath
from chainsocks.protocol.address import unmapped

__all__ = ["Trust"]

REMEMBERED = 1024
"""Addresses whose answer is remembered."""


class Trust:
    """See the module."""

    __slots__ = ("_contains", "_sockets")

    def __init__(self, limits: Limits) -> None:
        networks = [each for each in limits.trusted if not isinstance(each, UnixPath)]
        self._sockets = frozenset(each for each in limits.trusted if isinstance(each, UnixPath))

        @lru_cache(REMEMBERED)
        def contains(host: str) -> bool:
            return _is_in(networks, host)

        self._contains = contains if networks else None

    def covers(self, host: str, listener: ListenAddress) -> bool:
        """Whether no limit is for a client with this IP address, "" for a unix socket, that came in by `listener`."""
        if host:
            return self._contains is not None and self._contains(host)
        return listener in self._sockets


def _is_in(networks: list[IPv4Network | IPv6Network], host: str) -> bool:
    packed = unmapped(inet_pton(AF_INET6, host.partition("%")[0])) if ":" in host else inet_pton(AF_INET, host)
    version, number = (4 if len(packed) == 4 else 6), int.from_bytes(packed, "big")
    return any(
        each.version == version and int(each.network_address) <= number <= int(each.broadcast_address)
        for each in networks
    )
