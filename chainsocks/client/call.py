"""What every call of the library begins with: its chain, its dialer, and the time that it has."""

from __future__ import annotations

import math

from chainsocks.client.isolation import own_circuit
from chainsocks.client.network import AnyioNetwork, make_dialer
from chainsocks.config.chains import Chain
from chainsocks.config.models import Timeouts
from chainsocks.config.options import as_seconds
from chainsocks.protocol.address import Address

__all__ = ["Call"]


class Call:
    """One call. `timeout` is its limit in seconds, beside those of `timeouts`; None for no other limit.

    Raises:
        ValueError: an argument is not what its name says.
    """

    __slots__ = ("_until", "chain", "dialer")

    def __init__(
        self,
        chain: Chain,
        timeouts: Timeouts | None,
        timeout: float | None,
        destination: Address | None = None,
        *,
        isolation: str | None = None,
        network: AnyioNetwork | None = None,
    ) -> None:
        self.dialer = make_dialer(timeouts, network)
        self.chain = own_circuit(chain, destination, isolation)
        """With the logins for this call, and with its limit."""
        self._until = math.inf
        if timeout is not None:
            seconds = as_seconds(timeout, "the timeout")
            self._until = self.dialer.network.now() + seconds
            dial = self.dialer.timeouts.dial if self.chain.dial is None else self.chain.dial
            if seconds < dial:
                self.chain = self.chain.within(seconds)

    def left(self, limit: float) -> float:
        """Return the seconds for a step after the dial whose own limit is `limit`."""
        return max(min(limit, self._until - self.dialer.network.now()), 0)
