"""The ports for clients' datagrams, shared out fairly (`chainsocks.shares`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chainsocks.errors import RequestRefused
from chainsocks.protocol.messages import ReplyCode
from chainsocks.shares import Shares, reserve_of
from chainsocks.sockets import ANY_PORT

__all__ = ["PortShares"]

SMALLEST_WITH_RESERVE = 4
"""Ports from which on one of them, at least, is kept for other clients."""


class PortShares:
    """Shares `ports`; each local address has all of them."""

    def __init__(self, ports: range) -> None:
        self.ports = ports
        self._shares: dict[str, Shares] = {}

    @contextmanager
    def hold(self, host: str, client: str) -> Iterator[None]:
        """Count one of the ports of the local address `host` as the client's, for as long as the block runs.

        Raises:
            RequestRefused: the client has its share.
        """
        if self.ports == ANY_PORT:
            yield
            return
        shares = self._shares.get(host)
        if shares is None:
            total = len(self.ports)
            shares = self._shares[host] = Shares(total, max(reserve_of(total), total >= SMALLEST_WITH_RESERVE))
        if not shares.allows(client):
            problem = f"all {shares.total} udp_ports are in use"
            if left := shares.total - shares.taken:
                has = f"the client has {shares.held[client]} of {shares.total} udp_ports"
                problem = f"{has}, and what is left ({left}) is kept for others"
            raise RequestRefused(f"no UDP socket: {problem}", ReplyCode.GENERAL_FAILURE)
        shares.take(client)
        try:
            yield
        finally:
            shares.give_back(client)
            if not shares.taken:
                self._shares.pop(host, None)
