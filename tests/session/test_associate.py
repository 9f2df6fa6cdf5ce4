"""UDP associations in memory, direct and through hops of ours: who gets which datagram, and who never does."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from itertools import pairwise

import pytest
import trio
from anyio import EndOfStream
from trio.testing import MockClock, wait_all_tasks_blocked

from chainsocks.config.chains import Chain
from chainsocks.config.choices import NamesOnly, Resolve, Udp
from chainsocks.config.groups import hops_of
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Config, Server, Timeouts
from chainsocks.protocol.address import Address
from chainsocks.protocol.datagram import decode_header, encode_header, header_size
from chainsocks.protocol.proxy_protocol import Ends
from chainsocks.session import connection as session_connection
from chainsocks.session.connection import Connection
from chainsocks.session.login import Logins
from chainsocks.session.service import Service
from chainsocks.session.session import serve_session
from tests.config.files import read
from tests.hops import make_hop
from tests.memory import MemoryNetwork, MemorySocket, MemoryStream, Place, memory_stream_pair
from tests.session.serving import add_own_hop

CLIENT, FRONT, FAR, STRANGER = "192.0.2.1", "192.0.2.100", Address("198.51.100.53", 53), ("203.0.113.66", 666)
FAR6 = Address("2001:db8::53", 53)


@dataclass
class Client:
    """The far end of a session, and its UDP socket."""

    stream: MemoryStream
    far: MemoryStream
    network: MemoryNetwork
    socket: MemorySocket
    serving: trio.CancelScope
    """Of the session at the front."""
    relay: Place = ("", 0)
    heard: list[bytes] = field(default_factory=list)

    async def ask(self, declared: Address = Address("0.0.0.0", 0)) -> int:  # noqa: B008  (it is frozen)
        await self.stream.send(b"\x05\x01\x00\x05\x03" + encode_header(declared)[2:])
        answer = b""
        while len(answer) < 12:
            answer += await self.stream.receive()
        bound = decode_header(b"\0\0\0" + answer[5:]).address
        self.relay = bound.host, bound.port
        self.socket.received = lambda data, _: self.heard.append(data)
        return answer[3]

    async def say(self, payload: bytes, to: Address = FAR, socket: MemorySocket | None = None) -> None:
        (socket or self.socket).send(encode_header(to) + payload, self.relay)
        await wait_all_tasks_blocked()

    def take(self) -> list[tuple[Address, bytes]]:
        """What has been heard since: from whom, and what."""
        heard, self.heard[:] = [*self.heard], []
        return [(decode_header(data).address, data[header_size(data) :]) for data in heard]


def echoing(network: MemoryNetwork, at: Address = FAR) -> MemorySocket:
    socket = MemorySocket(network, at.host, at.port)

    def echo(data: bytes, source: Place) -> None:
        socket.send(data.upper(), source)

    socket.received = echo
    return socket


@asynccontextmanager
async def session(
    caplog: pytest.LogCaptureFixture, config: Config | None = None, told: Ends | None = None, balancer: str = ""
) -> AsyncIterator[Client]:
    """Serve one client; at the end of the block nothing may be left open, at the front or at a hop."""
    caplog.set_level(logging.INFO, "chainsocks.session")
    config = config or Config()
    near, far = memory_stream_pair()
    far.ends = (FRONT, 1080), (balancer or CLIENT, 5555)
    async with trio.open_nursery() as handlers:
        network = MemoryNetwork(handlers, names={"far.example": [FAR.host]})
        chain = config.chains.get("default", Chain())
        parties = [add_own_hop(network, hop) for hop in hops_of(chain.hops)] + [network]
        client = Client(near, far, network, MemorySocket(network, CLIENT, 5353), trio.CancelScope())
        fixed = {client.socket, echoing(network), echoing(network, FAR6)}
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                with client.serving:
                    await serve_session(Connection(far, "front", told=told), Service(config, Logins(()), network))

            nursery.start_soon(serve)
            yield client
            await near.aclose()
        await wait_all_tasks_blocked()
        assert far.closed
        assert [stream for party in parties for stream in party.left_open] == []
        assert {socket for socket in network.sockets.values() if socket.place != STRANGER} == fixed
        handlers.cancel_scope.cancel()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def through(count: int, **options: object) -> Config:
    hops = [make_hop(number) for number in range(1, count + 1)]
    if "last" in options:
        hops[-1] = replace(hops[-1], resolve=Resolve.LOCAL)
    return Config(chains={"default": Chain(*hops)} if hops else {})


@pytest.mark.parametrize("count", [0, 1, 2, 3])
async def test_a_question_and_its_answer(count: int, caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog, through(count)) as client:
        assert await client.ask() == 0
        assert client.relay[0] == FRONT
        for at in (FAR, FAR6):  # from one association
            await client.say(b"question", at)
            assert client.take() == [(at, b"QUESTION")]
    front = next(line for line in lines(caplog) if "client=front " in line)
    assert "command=UDP_ASSOCIATE destination=0.0.0.0:0" in front
    assert "reply=00 up=16 down=16 " in front
    assert 'outcome="finished"' in front


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_nobody_but_the_next_one_sees_a_datagram(count: int, caplog: pytest.LogCaptureFixture) -> None:
    """Every datagram there is goes one step along the chain; none goes around a hop."""
    async with session(caplog, through(count)) as client:
        await client.ask()
        await client.say(b"question")
        places = [CLIENT, FRONT, *(f"10.0.0.{number}" for number in range(1, count + 1)), FAR.host]
        steps = [(source[0], to[0]) for source, to, _ in client.network.datagrams]
        there = list(pairwise(places))
        assert steps == there + [(to, source) for source, to in reversed(there)]
        # Of the address behind the next one, each hop sees what it needs: one header more for each hop to come.
        for (_, _, data), to_come in zip(client.network.datagrams[1:], range(count, 0, -1), strict=False):
            headers = 0
            while data.startswith(b"\0\0\0"):
                data = data[header_size(data) :]
                headers += 1
            assert (headers, data) == (to_come, b"question")


async def test_a_name_goes_to_the_last_hop(caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog, through(2)) as client:
        await client.ask()
        await client.say(b"question", Address("far.example", 53))
        assert client.take() == [(FAR, b"QUESTION")]
        sent = next(data for source, _, data in client.network.datagrams if source[0] == FRONT)
        assert b"far.example" in sent


async def test_a_name_is_looked_up_here_for_a_hop_that_wants_it(caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog, through(2, last="local")) as client:
        await client.ask()
        await client.say(b"question", Address("far.example", 53))
        await client.say(b"again", Address("far.example", 53))
        assert client.take() == [(FAR, b"QUESTION"), (FAR, b"AGAIN")]
        assert not [data for source, _, data in client.network.datagrams if source[0] == FRONT and b"far" in data]


@pytest.mark.parametrize("count", [0, 2])
async def test_strangers_are_never_heard_in_any_direction(count: int, caplog: pytest.LogCaptureFixture) -> None:
    """To each socket of every party, from a stranger's address and from each pinned one's host with another port."""
    async with session(caplog, through(count)) as client:
        await client.ask()
        await client.say(b"question")
        client.take()
        network = client.network
        ours = [sock for sock in network.sockets.values() if sock.place[1] >= 50_000]
        assert len(ours) == 2 * (count + 1)
        heard_far = len([to for _, to, _ in network.datagrams if to[0] == FAR.host])
        spoofers = [STRANGER, (CLIENT, 9), (FAR.host, 9), ("10.0.0.1", 9), ("10.0.0.2", 9), (FRONT, 9)]
        for spoofer in spoofers:
            stranger = MemorySocket(network, *spoofer)
            for target in ours:
                for data in (b"raw", encode_header(FAR) + b"x", encode_header(Address("10.0.0.2", 9)) * 2 + b"x"):
                    stranger.send(data, target.place)
            stranger.close()
        await wait_all_tasks_blocked()
        assert client.take() == []
        assert len([to for _, to, _ in network.datagrams if to[0] == FAR.host]) == heard_far
        await client.say(b"still there")
        assert client.take() == [(FAR, b"STILL THERE")]
    strangers = len(spoofers) * 3 * 2
    front = next(line for line in lines(caplog) if "client=front " in line)
    assert f'outcome="finished; dropped: {strangers} from strangers' in front


async def test_a_port_that_is_declared_with_the_address_is_the_only_one(caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog) as client:
        await client.ask(Address(CLIENT, 5353))
        other = MemorySocket(client.network, CLIENT, 5454)
        await client.say(b"too early", socket=other)
        other.close()
        await client.say(b"question")
        assert client.take() == [(FAR, b"QUESTION")]
    assert "dropped: 1 from strangers" in lines(caplog)[-1]


@pytest.mark.parametrize("host", ["192.168.1.7", "0.0.0.0", "::", "::ffff:0.0.0.0", "client.example"])
async def test_a_port_beside_another_address_is_a_hint_only(host: str, caplog: pytest.LogCaptureFixture) -> None:
    """A NAT may have translated it, or the client has declared a port and sends from another."""
    async with session(caplog) as client:
        await client.ask(Address(host, 7777))
        await client.say(b"question")
        assert client.take() == [(FAR, b"QUESTION")]
        other = MemorySocket(client.network, CLIENT, 7777)
        await client.say(b"too late", socket=other)
        other.close()
    assert "dropped: 1 from strangers" in lines(caplog)[-1]


async def test_what_is_dropped_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog) as client:
        await client.ask()
        client.socket.send(b"\0\0\x01" + encode_header(FAR)[3:] + b"part", client.relay)
        client.socket.send(b"\0\0", client.relay)
        client.socket.send(b"\0\0\0\x02" + encode_header(FAR)[4:] + b"odd", client.relay)
        await client.say(b"lost", Address("no.example", 53))
        assert client.take() == []
        assert [to for _, to, _ in client.network.datagrams if to[0] == FAR.host] == []
    said = "finished; dropped: 1 in fragments, 2 malformed, 1 to names without an address"
    assert "up=0 down=0 " in lines(caplog)[-1]
    assert f'outcome="{said}"' in lines(caplog)[-1]


async def test_silence_ends_it(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog, Config(timeouts=Timeouts(udp_idle=80))) as client:
        await client.ask()
        await trio.sleep(70)
        await client.say(b"question")
        with pytest.raises(EndOfStream):
            await client.stream.receive()
        assert 150 <= trio.current_time() <= 160
    assert 'outcome="idle for too long"' in lines(caplog)[-1]


@pytest.mark.parametrize("position", [1, 2])
async def test_it_ends_with_the_association_of_any_hop(position: int, caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog, through(2)) as client:
        await client.ask()
        client.network.streams[position - 1].reset()
        with pytest.raises(EndOfStream):
            await client.stream.receive()
    name = ("paris", "osaka")[position - 1]
    front = next(line for line in lines(caplog) if "client=front " in line)
    assert f"hop {name} ({position} of 2) reset its association" in front


REFUSING: Sequence[Chain] = (
    Chain(make_hop(1), udp=Udp.REFUSE),
    Chain(make_hop(1), make_hop(2, HopProtocol.SOCKS4A)),
)


@pytest.mark.parametrize("chain", REFUSING, ids=["by choice", "socks4a"])
async def test_a_chain_that_carries_no_udp(chain: Chain, caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog, Config(chains={"default": chain})) as client:
        assert await client.ask() == 7
        assert client.network.connects == []
    assert "chain default carries no UDP" in lines(caplog)[-1]


async def test_a_client_without_an_ip_address(caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog) as client:
        client.far.ends = None
        assert await client.ask() == 7
    assert "the client has no IP address" in lines(caplog)[-1]


@pytest.mark.parametrize(
    ("server", "told"),
    [
        (Server(udp_address=ip_address("203.0.113.1")), "203.0.113.1"),
        (Server(udp_address=ip_address("2001:db8::1")), FRONT),
        (Server(), FRONT),
    ],
    ids=["before a NAT", "of the other family", "our own"],
)
async def test_the_address_that_clients_are_told(server: Server, told: str, caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog, Config(replace(server, udp_ports=range(40_000, 40_001)))) as client:
        await client.ask()
        assert client.relay == (told, 40_000)


async def test_a_client_on_this_machine_is_told_the_address_that_it_uses(caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog, Config(Server(udp_address=ip_address("203.0.113.1")))) as client:
        client.far.ends = ("127.0.0.1", 1080), ("127.0.0.1", 5555)
        await client.ask()
        assert client.relay[0] == "127.0.0.1"


@pytest.mark.parametrize("count", [0, 2])
async def test_a_cancelled_association_still_writes_its_line_and_closes(
    count: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog, through(count)) as client:
        await client.ask()
        await client.say(b"question")
        client.serving.cancel()
    front = next(line for line in lines(caplog) if "client=front " in line)
    assert "up=8 down=8 " in front
    assert 'outcome="cut off: the server is stopping"' in front


async def test_datagrams_go_where_the_rules_let_them(caplog: pytest.LogCaptureFixture) -> None:
    config = read("[[rules]]\nto = '203.0.113.0/24'\ndeny = true\n[[rules]]\ncommands = 'udp'\nchain = 'direct'\n")
    async with session(caplog, config) as client:
        assert await client.ask() == 0
        for to in (Address("203.0.113.7", 53), Address("203.0.28935", 53), FAR, Address("far.example", 53)):
            await client.say(b"question", to)
        assert client.take() == [(FAR, b"QUESTION"), (FAR, b"QUESTION")]
        assert {to[0] for _, to, _ in client.network.datagrams} == {client.relay[0], FAR.host, CLIENT, FRONT}
    [line] = lines(caplog)
    assert " chain=direct rule=2 " in line
    assert "dropped: 2 not allowed to go there" in line


async def test_an_association_that_no_rule_lets_in(caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog, read("[[rules]]\ncommands = 'udp'\ndeny = true\n")) as client:
        assert await client.ask() == 2


async def test_datagrams_to_addresses_where_a_chain_wants_names(caplog: pytest.LogCaptureFixture) -> None:
    config = Config(chains={"default": Chain(make_hop(1), names_only=NamesOnly.REFUSE)})
    async with session(caplog, config) as client:
        assert await client.ask() == 0
        await client.say(b"question", FAR)
        await client.say(b"question", Address("far.example", 53))
        assert client.take() == [(FAR, b"QUESTION")]
    assert "dropped: 1 not allowed to go there" in next(line for line in lines(caplog) if "client=front " in line)


async def test_circuits_of_their_own_do_not_make_another_chain_of_it(caplog: pytest.LogCaptureFixture) -> None:
    """The hops get logins for this session; the rules know the chain as it is declared."""
    config = read(
        "[hops]\ntor = { url = 'socks5://10.0.0.1:1080', isolate = 'session' }\n[chains]\ndefault = ['tor']\n"
        "[[rules]]\nto = '203.0.113.0/24'\ndeny = true\n"
    )
    async with session(caplog, config) as client:
        assert await client.ask() == 0
        await client.say(b"question", Address("203.0.113.7", 53))
        await client.say(b"question", FAR)
        assert client.take() == [(FAR, b"QUESTION")]


# --- behind a load balancer

BALANCER, OUTSIDE = "10.0.0.5", "198.51.100.1"


@pytest.mark.parametrize(("is_ours", "relay"), [(True, OUTSIDE), (False, FRONT)])
async def test_datagrams_come_past_a_load_balancer(
    is_ours: bool,  # noqa: FBT001
    relay: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """From the client itself, which is told an address of this machine: the one that it has connected to, if it is."""
    monkeypatch.setattr(session_connection, "is_own", lambda host: is_ours and host == OUTSIDE)
    told = Ends(Address(CLIENT, 5555), Address(OUTSIDE, 1080))
    async with session(caplog, told=told, balancer=BALANCER) as client:
        assert await client.ask() == 0
        assert client.relay[0] == relay
        stranger = MemorySocket(client.network, BALANCER, 5353)
        await client.say(b"of the load balancer", socket=stranger)
        stranger.close()
        await client.say(b"question")
        assert client.take() == [(FAR, b"QUESTION")]
    assert "1 from strangers" in caplog.text


@pytest.mark.parametrize("told", [CLIENT, "2001:db8::7"], ids=["past loopback", "of another family"])
async def test_datagrams_that_cannot_come_past_a_load_balancer(
    told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(session_connection, "is_own", lambda host: False)
    ends = Ends(Address(told, 5555), Address("203.0.113.9", 1080))
    async with session(caplog, told=ends, balancer=BALANCER) as client:
        if told == CLIENT:
            client.far.ends = ("127.0.0.1", 1080), ("127.0.0.1", 4711)
        assert await client.ask() == 7
    assert "cannot come here past its load balancer" in caplog.text
