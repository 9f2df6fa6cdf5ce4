"""The driver of every operation: one trip where a chain has one route, attempts along several where it has a choice.

The server, the library, the health checks and the probe open every way through a chain with it. What is remembered of
hops and groups from one request to the next is in `Choices`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from chainsocks.chain.attempts import Attempts, Choices, Operation
from chainsocks.chain.health import host_key
from chainsocks.chain.limit import Limit
from chainsocks.chain.trip import Abandonment, DialCounters, Guard, Known, OnStep, TakeWarm, Trip
from chainsocks.chain.warm import WarmWays
from chainsocks.config.chains import Chain, Route
from chainsocks.config.models import Timeouts
from chainsocks.network import Network
from chainsocks.protocol.address import UNSPECIFIED, Address
from chainsocks.protocol.proxy_protocol import LOCAL

__all__ = ["Dialer"]

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Dialer:
    """Opens ways through chains, with the limits of `timeouts`, and remembers in `choices` how hops did."""

    network: Network
    timeouts: Timeouts
    choices: Choices
    on_step: OnStep | None = None
    warm: WarmWays | None = field(default=None, kw_only=True)
    """Ways that are ready for requests."""
    counters: DialCounters | None = field(default=None, kw_only=True)
    """What is counted of the steps and failures of `run`; a `trip` for another purpose is not counted."""
    receives_exactly: bool = field(default=False, kw_only=True)
    """As in `Trip`."""

    async def run(
        self,
        chain: Chain,
        operation: Operation[ResultT],
        destination: Address = UNSPECIFIED,
        *,
        key: bytes = b"",
        close: Callable[[ResultT], Awaitable[None]] | None = None,
        limit: Limit | None = None,
        known: Known | None = None,
        guard: Guard | None = None,
        abandoned: Abandonment | None = None,
        client: str = "",
        on_step: OnStep | None = None,
        proxy_header: bytes = LOCAL,
    ) -> tuple[Trip, ResultT]:
        """Run `operation` along the only route of `chain`, or along one after the other until one succeeds.

        `key` tells requests apart where members of groups are sticky. `close` closes a result that came second;
        without it the attempts are not hedged. `limit` is the caller's block, whose deadline this moves. `known`,
        `guard`, `abandoned`, `client` and `proxy_header` are those of `Trip`. Return the trip that succeeded, and its
        result.

        Raises:
            DialError: the last attempt's error; those before are its `earlier`.
            RequestRefused: the operation cannot be done along this chain.
            RequestAbandoned: the client has left.
        """
        warm = self.warm.source(chain, key) if self.warm else None
        if chain.route:
            trip = self.trip(
                chain.route,
                destination,
                on_step,
                limit=limit,
                known=known,
                guard=guard,
                abandoned=abandoned,
                client=client,
                warm=warm,
                proxy_header=proxy_header,
                counters=self.counters,
            )
            return trip, await trip.run(operation)
        if limit:
            limit.clear()  # each attempt has a limit of its own
        begin = partial(
            self.trip,
            destination=destination,
            on_step=on_step,
            began=self.network.now(),
            known=known,
            guard=guard,
            abandoned=abandoned,
            client=client,
            warm=warm,
            proxy_header=proxy_header,
            counters=self.counters,
        )
        attempts = Attempts(
            chain, key, host_key(destination), self.choices, self.network, begin, operation, close, abandoned
        )
        try:
            return await attempts.run()
        finally:
            if self.counters:
                self.counters.dials_failed(attempts.overcome)

    def trip(
        self,
        route: Route,
        destination: Address,
        on_step: OnStep | None = None,
        *,
        limit: Limit | None = None,
        began: float | None = None,
        known: Known | None = None,
        guard: Guard | None = None,
        abandoned: Abandonment | None = None,
        client: str = "",
        warm: TakeWarm | None = None,
        proxy_header: bytes = LOCAL,
        counters: DialCounters | None = None,
    ) -> Trip:
        """Make a trip along one route, with this dialer's network and limits; see `Trip` for the arguments."""
        return Trip(
            route,
            destination,
            self.timeouts,
            self.network,
            on_step or self.on_step,
            limit=limit,
            began=began,
            known=known,
            guard=guard,
            abandoned=abandoned,
            client=client,
            receives_exactly=self.receives_exactly,
            warm=warm,
            proxy_header=proxy_header,
            counters=counters,
        )
