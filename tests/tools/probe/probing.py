"""Probes of chains in memory, where every connect takes half a second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import trio

from chainsocks.config.chains import Chain
from chainsocks.config.groups import hops_of
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.protocol.address import Address
from chainsocks.tools.probe.findings import Kind, ProbeReport
from chainsocks.tools.probe.run import Target, probe_all
from tests.dialing import dialer_of
from tests.hops import Trouble, add_hop, make_hop
from tests.memory import Host, MemoryNetwork, MemoryStream, WatchedNetwork

DESTINATION = Address("example.org", 80)
TIMEOUTS = Timeouts(connect=4, hop=1.5, dial=30)
CHAIN = Chain(make_hop(1), make_hop(2, HopProtocol.SOCKS4A), make_hop(3))


async def probed_of(
    nursery: trio.Nursery,
    trouble: Trouble | Mapping[str, Trouble] | None = None,
    chain: Chain = CHAIN,
    destination: Address | None = DESTINATION,
    timeouts: Timeouts = TIMEOUTS,
    *,
    pipelining: bool = False,
) -> ProbeReport:
    """Probe a chain whose hops have these troubles, by name; a single one is osaka's. Nothing is left open."""
    troubles = {"osaka": trouble} if isinstance(trouble, Trouble) else trouble or {}
    network = MemoryNetwork(nursery, {DESTINATION: Host(say_nothing), Address("10.0.0.80", 80): Host(say_nothing)})
    for hop in hops_of(chain.hops):
        add_hop(network, hop, troubles.get(hop.name))
        network.hosts[hop.address] = replace(network.hosts[hop.address], delay=0.5)
    ours = WatchedNetwork(network)
    target = Target(Kind.CHAIN, chain.name, chain, destination)
    [report] = await probe_all([target], dialer_of(ours, timeouts), pipelining=pipelining)
    assert ours.left_open == []
    return report


async def say_nothing(stream: MemoryStream) -> None:
    while True:
        await stream.receive()
