"""What hops with `isolate` are told, command by command: the same for what belongs together, and by all workers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
import trio
from anyio import EndOfStream

from chainsocks.config.chains import Chain
from chainsocks.config.choices import Isolate, Pipeline
from chainsocks.config.models import Config, Server
from chainsocks.protocol.messages import Command
from chainsocks.session.connection import Connection
from chainsocks.session.login import Logins
from chainsocks.session.service import Service
from chainsocks.session.session import serve_session
from tests.hops import add_hop, make_hop
from tests.memory import Host, MemoryNetwork, MemoryStream, memory_stream_pair
from tests.session.serving import CAROL, LOGIN

TOR = replace(make_hop(2), credentials=None, tor=True)
DAVE = replace(CAROL, name="davey")
ADDRESSES = {"site": "01 c0000250", "other": "01 c0000251"}


@dataclass
class Proxy:
    """A server in front of paris, which has a login of its own, and of tor."""

    service: Service
    network: MemoryNetwork

    async def logins(
        self, command: Command = Command.CONNECT, site: str = "site", user: bytes = b"carol", host: str = "192.0.2.1"
    ) -> list[tuple[str, bytes, bytes]]:
        """Have a client ask for something; return what hops were told."""
        self.network.logins.clear()
        client, ours = memory_stream_pair()
        ours.ends = (self.network.host, 1080), (host, 5555)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_session, Connection(ours, "client", host), self.service)
            await client.send(b"\x05\x01\x02" + LOGIN.replace(b"carol", user))
            await client.send(bytes((5, command, 0)) + bytes.fromhex(ADDRESSES[site]) + b"\x00\x50")
            heard = b""
            while len(heard) < len(b"\x05\x02\x01\x00\x05"):
                heard += await client.receive()
            await client.aclose()
        return list(self.network.logins)


@asynccontextmanager
async def proxy(
    isolate: Isolate, config: Config | None = None, pipeline: Pipeline = Pipeline.OFF
) -> AsyncIterator[Proxy]:
    hops = make_hop(1), replace(TOR, isolate=isolate)
    chain = Chain(*hops, pipeline=pipeline)
    config = replace(config or Config(), chains={"default": chain}, users=(CAROL, DAVE))
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery)
        for hop in hops:
            add_hop(network, hop)
        yield Proxy(Service(config, Logins(config.users), network), network)
        nursery.cancel_scope.cancel()


CHANGES: dict[Isolate, dict[str, str | bytes]] = {
    Isolate.SESSION: {},
    Isolate.USER: {"user": b"davey"},
    Isolate.CLIENT: {"host": "192.0.2.2"},
    Isolate.DESTINATION: {"site": "other"},
}
"""What makes the difference."""

COMMANDS = [Command.CONNECT, Command.BIND, Command.UDP_ASSOCIATE, Command.RESOLVE_PTR]


@pytest.mark.parametrize("pipeline", [Pipeline.OFF, Pipeline.CHAIN])
@pytest.mark.parametrize("isolate", CHANGES)
@pytest.mark.parametrize("command", COMMANDS)
async def test_the_hop_is_told_them_apart(isolate: Isolate, command: Command, pipeline: Pipeline) -> None:
    async with proxy(isolate, pipeline=pipeline) as asked:
        first, again = await asked.logins(command), await asked.logins(command)
        other = await asked.logins(command, **CHANGES[isolate])  # type: ignore[arg-type]
    told = [[login for host, *login in logins if host == TOR.address.host] for logins in (first, again, other)]
    assert [len(logins) for logins in told] == [1, 1, 1]
    by_session = isolate is Isolate.SESSION or (isolate is Isolate.DESTINATION and command is Command.UDP_ASSOCIATE)
    assert (told[0] == told[1]) is not by_session
    assert told[0] != told[2]
    assert {login for login in first if login[0] != TOR.address.host} == {("10.0.0.1", b"bob", b"pw")}


async def test_workers_tell_the_same() -> None:
    """Each of them is given the server's configuration with a share of its sessions (`chainsocks.server.workers`)."""
    config = Config()
    told = []
    for worker in (1, 2):
        share = replace(config, server=Server(max_sessions=worker))
        async with proxy(Isolate.USER, share) as asked:
            told.append(await asked.logins())
    assert told[0] == told[1]
    async with proxy(Isolate.USER) as asked:
        assert await asked.logins() != told[0]


async def test_a_hop_that_takes_no_login_is_not_used() -> None:
    async with proxy(Isolate.USER) as asked:
        network = asked.network

        async def take_anybody(stream: MemoryStream) -> None:
            assert await stream.receive() == b"\x05\x01\x02"
            await stream.send(b"\x05\x00")
            with pytest.raises(EndOfStream):
                await stream.receive()
            turned_away.set()

        turned_away = trio.Event()
        network.hosts[TOR.address] = Host(take_anybody)
        assert [host for host, *_ in await asked.logins()] == ["10.0.0.1"]
        await turned_away.wait()
