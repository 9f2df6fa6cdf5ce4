"""Sessions over a limit, at real sockets: they are refused in words that name it, and only they."""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, replace
from ipaddress import ip_network

import pytest
import trio

from chainsocks.config.limits import Limit, Limits
from chainsocks.config.listeners import Listener, parse_sender
from chainsocks.config.models import Timeouts, User
from chainsocks.config.passwords import PlainPassword
from chainsocks.datagrams import Drop
from chainsocks.net.stream import SocketStream
from chainsocks.observe.counters import Counters
from chainsocks.protocol.address import Address
from chainsocks.server.server import open_server
from tests.net.sockets import LOOPBACK, read_exactly
from tests.server.serving import ANY_PORT, config_of, connect, echoing, serving

pytestmark = pytest.mark.usefixtures("each_session_way")

Log = pytest.LogCaptureFixture
CAROL = User("carol", PlainPassword(b"secret"))
LOGIN = b"\x01\x05carol\x06secret"
GRANTED, REFUSED, NOT_ALLOWED = 0, 1, 2


@dataclass
class Clients:
    """Clients of one server, and a destination for them."""

    address: str
    destination: Address
    open: AsyncExitStack
    udp_port: int = 0
    """Where the last association takes datagrams."""

    async def ask(self, *, login: bytes = b"", command: int = 1) -> tuple[int, SocketStream]:
        """Ask for the destination by SOCKS5; return the reply's code and the client, which stays open."""
        client = await self.open.enter_async_context(connect(self.address))
        await client.send(b"\x05\x01" + (b"\x02" + login if login else b"\x00"))
        await read_exactly(client, 4 if login else 2)
        where = self.destination.packed + self.destination.port.to_bytes(2, "big")
        await client.send(bytes((5, command, 0, 1)) + where)
        reply = await read_exactly(client, 10)
        self.udp_port = int.from_bytes(reply[8:], "big")
        return reply[1], client

    async def codes(self, count: int, login: bytes = b"") -> list[int]:
        return [(await self.ask(login=login))[0] for _ in range(count)]

    async def ask_socks4(self) -> int:
        client = await self.open.enter_async_context(connect(self.address))
        where = self.destination.port.to_bytes(2, "big") + self.destination.packed
        await client.send(b"\x04\x01" + where + b"\x00")
        return (await read_exactly(client, 8))[1]


@asynccontextmanager
async def clients_of(
    limits: Limits,
    *users: User,
    max_sessions: int = 100,
    counters: Counters | None = None,
    handshake: float = 100,
) -> AsyncIterator[Clients]:
    timeouts = Timeouts(handshake=handshake, idle=math.inf, grace=10)
    config = replace(config_of(max_sessions=max_sessions), limits=limits, users=users, timeouts=timeouts)
    async with (
        serving(config, counters=counters) as server,
        echoing() as destination,
        AsyncExitStack() as clients,
    ):
        yield Clients(server.address, destination, clients)


async def works(client: SocketStream) -> bool:
    await client.send(b"ping")
    return await read_exactly(client, 4) == b"ping"


def outcomes(log: Log) -> list[str]:
    """How each session ended that was refused."""
    lines = [record.getMessage() for record in log.records if record.getMessage().startswith("id=")]
    return [line.partition("outcome=")[2] for line in lines if "reply=02" in line]


async def test_sessions_per_client(log: Log) -> None:
    async with clients_of(Limits(sessions_per_client=2)) as clients:
        [(_, one), (_, two)] = [await clients.ask() for _ in range(2)]
        assert await clients.codes(2) == [NOT_ALLOWED] * 2
        assert await clients.ask_socks4() == 91
        assert await works(one)
        assert await works(two)
        await one.aclose()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert await clients.codes(2) == [GRANTED, NOT_ALLOWED]
    assert outcomes(log) == ['"sessions_per_client (2) is reached"'] * 4
    assert not any(record.levelno >= logging.WARNING for record in log.records)


async def test_sessions_per_user(log: Log) -> None:
    async with clients_of(Limits(sessions_per_user=1), CAROL, User("dave", PlainPassword(b"secret"))) as clients:
        assert await clients.codes(2, LOGIN) == [GRANTED, NOT_ALLOWED]
        assert await clients.codes(2, b"\x01\x04dave\x06secret") == [GRANTED, NOT_ALLOWED]
    assert outcomes(log) == ['"sessions_per_user (1) is reached"'] * 2


async def test_new_per_second(log: Log) -> None:
    counters = Counters()
    async with clients_of(Limits(new_per_second=0.01), counters=counters) as clients:
        assert await clients.codes(3) == [GRANTED, NOT_ALLOWED, NOT_ALLOWED]
    assert outcomes(log) == ['"new_per_second (0.01) is reached"'] * 2
    assert counters.limited == {Limit.NEW_PER_SECOND: 2}


async def test_a_session_that_leaves_the_lane_counts_once() -> None:
    async with clients_of(Limits(sessions_per_client=2)) as clients:
        assert (await clients.ask(command=3))[0] == GRANTED
        nowhere = replace(clients, destination=Address(LOOPBACK, 1))
        code, refused = await nowhere.ask()
        assert code == 5
        await refused.aclose()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert await clients.codes(2) == [GRANTED, NOT_ALLOWED]


async def test_trusted_clients_have_no_limit() -> None:
    limits = Limits(sessions_per_client=1, new_per_second=0.01, trusted=(ip_network("127.0.0.0/8"),))
    async with clients_of(limits) as clients:
        assert await clients.codes(4) == [GRANTED] * 4


async def test_failed_logins(log: Log) -> None:
    """A login that was right before is accepted all the same."""
    counters = Counters()
    async with clients_of(Limits(failed_logins=2), CAROL, counters=counters, handshake=0.5) as clients:
        assert await clients.codes(1, LOGIN) == [GRANTED]
        for _ in range(3):
            client = await clients.open.enter_async_context(connect(clients.address))
            await client.send(b"\x05\x01\x02\x01\x05carol\x05guess")
            assert await read_exactly(client, 4) == b"\x05\x02\x01\x01"
        assert await clients.codes(1, LOGIN) == [GRANTED]
    told = [record.getMessage().partition("outcome=")[2] for record in log.records if "login" in record.getMessage()]
    assert sorted(told) == [
        '"client, login check: not checked: failed_logins (2) is reached, the next one of its address is in 1 s"',
        *['"client, login check: wrong username or password"'] * 2,
    ]
    assert counters.limited == {Limit.FAILED_LOGINS: 1}


async def test_the_client_that_a_load_balancer_tells_of_is_the_one_that_counts() -> None:
    listener = Listener(Address(LOOPBACK, 0), proxy_protocol=parse_sender(LOOPBACK))
    config = config_of(listener)
    config = replace(config, server=replace(config.server, private=True), limits=Limits(sessions_per_client=1))
    async with serving(config) as server, echoing() as destination, AsyncExitStack() as clients:
        codes = []
        for told in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
            client = await clients.enter_async_context(connect(server.address))
            await client.send(f"PROXY TCP4 {told} 192.0.2.100 5555 1080\r\n".encode())
            where = destination.packed + destination.port.to_bytes(2, "big")
            await client.send(b"\x05\x01\x00\x05\x01\x00\x01" + where)
            codes.append((await read_exactly(client, 12))[3])
        assert codes == [GRANTED, GRANTED, NOT_ALLOWED]


async def test_bandwidth() -> None:
    counters, data = Counters(), bytes(200_000)
    async with clients_of(Limits(bandwidth=1_000_000), counters=counters) as clients:
        _, client = await clients.ask()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, data)
            assert await read_exactly(client, len(data)) == data
    assert counters.limited[Limit.BANDWIDTH] > 0


async def test_bandwidth_of_datagrams() -> None:
    counters = Counters()
    with closing(socket.socket(type=socket.SOCK_DGRAM)) as target, closing(socket.socket(type=target.type)) as sender:
        for each in (target, sender):
            each.bind((LOOPBACK, 0))
        async with clients_of(Limits(bandwidth_per_user=10_000), counters=counters) as clients:
            declared = replace(clients, destination=Address(LOOPBACK, sender.getsockname()[1]))
            _, control = await declared.ask(command=3)
            header = b"\0\0\0\x01" + socket.inet_aton(LOOPBACK) + target.getsockname()[1].to_bytes(2, "big")
            for _ in range(100):
                sender.sendto(header + bytes(1000), (LOOPBACK, declared.udp_port))
            for _ in range(1000):
                if (datagrams := counters.datagrams).up + datagrams.drops[Drop.LIMITED] == 100:
                    break
                await trio.sleep(0.01)
            else:
                pytest.fail(f"of 100 datagrams {datagrams.up} were passed on, and {datagrams.drops} dropped")
            await control.aclose()
    assert datagrams.up < 50


async def test_a_client_at_its_limit_is_refused_at_once_where_others_wait() -> None:
    """A part of the reserve is for that: 64 sessions have one of 4."""
    async with clients_of(Limits(sessions_per_client=60), max_sessions=64) as clients:
        assert await clients.codes(60) == [GRANTED] * 60
        silent = [await clients.open.enter_async_context(connect(clients.address)) for _ in range(2)]
        assert await clients.codes(5) == [NOT_ALLOWED] * 5
        assert len(silent) == 2


async def test_a_reload_changes_limits_and_keeps_what_was_counted() -> None:
    """Sessions that began without a limit do not count."""
    async with (
        echoing() as destination,
        open_server(config_of(ANY_PORT)) as server,
        AsyncExitStack() as open_clients,
    ):
        clients = Clients(str(server.listeners[0]), destination, open_clients)

        def limit(limits: Limits) -> None:
            config = replace(server.service.config, limits=limits)
            server.change_service(replace(server.service, config=config))

        assert await clients.codes(2) == [GRANTED] * 2
        limit(Limits(sessions_per_client=3))
        assert await clients.codes(4) == [GRANTED] * 3 + [NOT_ALLOWED]
        limit(Limits(sessions_per_client=4))
        assert await clients.codes(2) == [GRANTED, NOT_ALLOWED]
        limit(Limits())
        assert await clients.codes(3) == [GRANTED] * 3
