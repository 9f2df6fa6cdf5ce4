"""A chain with warm ways in memory, and a last hop that a test has in its hands."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import trio
from anyio import EndOfStream

from chainsocks.chain.attempts import Choices
from chainsocks.chain.dialer import Dialer
from chainsocks.chain.health import Health
from chainsocks.chain.operations import Upstream, close_upstream, open_connection
from chainsocks.chain.trip import Guard, Trip
from chainsocks.chain.warm import WarmWays
from chainsocks.config.chains import Chain
from chainsocks.config.hops import Hop
from chainsocks.config.models import HealthSettings, Timeouts
from chainsocks.observe.record import Traffic
from chainsocks.protocol.address import Address
from chainsocks.protocol.detect import server_handshake
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Method, Reply, ReplyCode
from chainsocks.protocol.socks5 import ServerHandshake as Socks5Handshake
from tests.memory import Host, MemoryNetwork, MemoryStream, WatchedNetwork
from tests.relay.ways import relay

__all__ = ["DESTINATION", "TIMEOUTS", "Exit", "Party", "echo", "warming"]

DESTINATION = Address("192.0.2.80", 80)
TIMEOUTS = Timeouts(connect=4, hop=1.5, dial=9)
SETTINGS = HealthSettings(rest=2, longest_rest=16)


async def echo(stream: MemoryStream) -> None:
    try:
        while True:
            await stream.send(await stream.receive())
    except EndOfStream:
        await stream.send_eof()


@dataclass
class Exit:
    """A hop that counts, and that can be told to hang up."""

    network: MemoryNetwork
    limit: float = math.inf
    """Seconds for which it waits for a request."""
    waiting: list[MemoryStream] = field(default_factory=list)
    """Connections that have greeted, and sent no request."""
    requests: list[float] = field(default_factory=list)
    """When requests came."""
    hangs_up: int = 0
    """On so many of the next requests it hangs up, in place of an answer."""
    answer: bytes | None = None
    """What it answers to requests in place of a reply; it hangs up then."""
    is_silent: bool = False
    """Whether it does not answer requests."""
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    """When it has hung up because its limit was over."""

    async def serve(self, stream: MemoryStream) -> None:
        data = await stream.receive()
        handshake = server_handshake(data, [Method.USERNAME_PASSWORD, Method.NO_AUTHENTICATION_REQUIRED])
        while True:
            handshake.receive_data(data)
            if isinstance(handshake, Socks5Handshake) and handshake.state is State.LOGIN:
                self.logins.append((handshake.login.username, handshake.login.password))
                handshake.accept_login()
            if answer := handshake.data_to_send():
                await stream.send(answer)
            if handshake.state is State.REPLY:
                break
            if handshake.state is State.REQUEST:
                request = await self._wait(stream)
                if request is None:
                    return
                data = request
            else:
                data = await stream.receive()
        self.requests.append(trio.current_time())
        if self.hangs_up:
            self.hangs_up -= 1
            return
        if self.is_silent:
            await trio.sleep_forever()
        if self.answer is not None:
            await stream.send(self.answer)
            return
        upstream = await self.network.open_tcp(handshake.request.destination)
        handshake.send_reply(Reply(ReplyCode.SUCCEEDED))
        await stream.send(handshake.data_to_send())
        try:
            await relay(stream, upstream, Traffic(), idle=1000, half_close=1000)
        finally:
            await anyio.aclose_forcefully(upstream)

    async def _wait(self, stream: MemoryStream) -> bytes | None:
        """Wait for a request; return None when the limit is over."""
        self.waiting.append(stream)
        try:
            with trio.move_on_after(self.limit):
                return await stream.receive()
        finally:
            self.waiting.remove(stream)
        self.ends.append(trio.current_time())
        return None


@dataclass
class Party:
    """The network as its hops see it, and as we do; and how requests are made."""

    world: MemoryNetwork
    network: WatchedNetwork
    dialer: Dialer
    scope: trio.CancelScope
    exits: dict[Address, Exit] = field(default_factory=dict)

    def add_exit(self, hop: Hop, limit: float = math.inf, latency: float = 0) -> Exit:
        one = self.exits[hop.address] = Exit(self.world, limit)
        self.world.hosts[hop.address] = Host(one.serve, latency=latency)
        return one

    async def dial(self, chain: Chain, destination: Address = DESTINATION, key: bytes = b"") -> tuple[Trip, Upstream]:
        return await self.dialer.run(chain, open_connection, destination, key=key, close=close_upstream)

    async def request(self, chain: Chain, destination: Address = DESTINATION, key: bytes = b"") -> bool:
        """Make a request, and have it carry a few bytes; return whether it went on a warm way."""
        trip, upstream = await self.dial(chain, destination, key)
        message = b"%f" % trio.current_time()
        try:
            await upstream.stream.send(message)
            assert await upstream.stream.receive() == message
        finally:
            await anyio.aclose_forcefully(upstream.stream)
        return trip.is_warm

    def connects(self, hop: Hop) -> list[float]:
        """When a hop was connected to."""
        return [when for when, place in self.network.connects if place == hop.address]

    async def rest(self, seconds: float = 0.5) -> None:
        """Let ways be opened."""
        await trio.sleep(seconds)


@asynccontextmanager
async def warming(
    *chains: Chain, guard: Guard | None = None, files: Callable[[], float] = lambda: math.inf
) -> AsyncIterator[Party]:
    """Keep the ways of some chains warm; at the end, nothing is left open."""
    async with trio.open_nursery() as nursery:
        world = MemoryNetwork(nursery, {DESTINATION: Host(echo)})
        network = WatchedNetwork(world)
        choices = Choices(Health(network.now, SETTINGS))
        ways = WarmWays(chains, TIMEOUTS, network, choices, SETTINGS, b"key")
        async with trio.open_nursery() as keeping:
            keeping.start_soon(ways.run, guard, files)
            await trio.testing.wait_all_tasks_blocked()
            yield Party(world, network, Dialer(network, TIMEOUTS, choices, warm=ways), keeping.cancel_scope)
            keeping.cancel_scope.cancel()
        assert network.left_open == []
        nursery.cancel_scope.cancel()
