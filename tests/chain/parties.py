"""A network with hops in it, one party that dials through them, and all that it remembers of them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest
import trio
from anyio import EndOfStream

from chainsocks.chain.attempts import Choices
from chainsocks.chain.health import Health
from chainsocks.chain.operations import Upstream
from chainsocks.config.chains import Chain
from chainsocks.config.hops import Hop
from chainsocks.config.models import HealthSettings, Timeouts
from chainsocks.protocol.address import Address
from chainsocks.routing.pick import Picks
from tests.dialing import dial
from tests.hops import Trouble, add_hop, make_hop
from tests.memory import Host, MemoryNetwork, MemoryStream, WatchedNetwork

DESTINATION = Address("example.org", 80)
TIMEOUTS = Timeouts(connect=4, hop=1.5, dial=9)
SEED = 20


def member(name: str, number: int) -> Hop:
    return replace(make_hop(1), name=name, address=Address(f"10.1.0.{number}", 1080))


@dataclass
class Party:
    """A network, as its hops and as we see it; what is remembered of the hops; and what has reached the destination."""

    world: MemoryNetwork
    network: WatchedNetwork
    arrived: list[bytes] = field(default_factory=list)
    choices: Choices = field(init=False)

    def __post_init__(self) -> None:
        health = Health(self.network.now, HealthSettings(rest=1000, longest_rest=1000), random.Random(SEED))
        self.choices = Choices(health, Picks(random.Random(SEED)))
        self.network.hosts[DESTINATION] = Host(self._hear)

    def add(self, hop: Hop, trouble: Trouble | None = None, delay: float = 0) -> None:
        add_hop(self.world, hop, trouble)
        host = self.network.hosts[hop.address]
        self.network.hosts[hop.address] = replace(host, delay=delay or host.delay)

    async def dial(self, chain: Chain, timeouts: Timeouts = TIMEOUTS) -> Upstream:
        return await dial(chain, DESTINATION, timeouts, self.network, choices=self.choices)

    def in_backoff(self, *hops: Hop) -> str:
        return "".join(hop.name for hop in hops if self.choices.health.in_backoff(hop))

    def tried(self, *hops: Hop) -> list[tuple[str, float]]:
        """Who of them was connected to, and when."""
        names = {hop.address: hop.name for hop in hops}
        return [(names[address], round(when, 6)) for when, address in self.network.connects if address in names]

    async def _hear(self, stream: MemoryStream) -> None:
        arrived = len(self.arrived)
        self.arrived.append(b"")
        try:
            while True:
                self.arrived[arrived] += await stream.receive()
        except EndOfStream:
            pass


@pytest.fixture
def party(nursery: trio.Nursery) -> Party:
    world = MemoryNetwork(nursery)
    return Party(world, WatchedNetwork(world))
