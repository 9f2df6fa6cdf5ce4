"""BIND from the client's side: what it is told, when, and what the log says."""

from __future__ import annotations

import re
from ipaddress import ip_address

import pytest
import trio
from anyio import BrokenResourceError, EndOfStream

from chainsocks.config.chains import Chain
from chainsocks.config.kinds import KINDS, HopProtocol
from chainsocks.config.models import Config, Server, Timeouts
from chainsocks.protocol.address import Address
from chainsocks.session.client_watch import EARLY
from tests.hops import add_hop, make_hop
from tests.memory import MemoryListener
from tests.session.serving import BIND5, SECOND5, Client, session

PEER, STRANGER = Address("192.0.2.80", 20), Address("192.0.2.66", 20)
BIND4 = "04 02 0014 c0000250 00"
BIND4A = "04 02 0014 00000001 00" + b"ftp.example".hex() + "00"
BIND6 = "05 01 00 05 02 00 04 20010db8000000000000000000000080 0014"
FIRST5, FIRST4 = "05 00 05 00 00 01 c6336401 9c41", "00 5a 9c41 c6336401"
SECOND4 = "00 5a 0014 c0000250"
LATE5, LATE4 = "05 06 00 01 00000000 0000", "00 5b 0000 00000000"

versions = pytest.mark.parametrize(
    ("asked", "first", "second"),
    [(BIND5, FIRST5, SECOND5), (BIND4, FIRST4, SECOND4), (BIND4A, FIRST4, SECOND4)],
    ids=["socks5", "socks4", "socks4a"],
)


async def port_of(client: Client) -> MemoryListener:
    await trio.testing.wait_all_tasks_blocked()
    [listener] = client.network.listeners
    return listener


@versions
async def test_both_replies_and_then_the_relay(
    asked: str, first: str, second: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog) as client:
        client.network.names["ftp.example"] = ["2001:db8::80", "192.0.2.80"]
        await client.send(asked, b"early, ")
        await client.expect(first)
        port = await port_of(client)
        await client.send(b"earlier than the peer")
        client.network.call(port.address, STRANGER)
        await trio.testing.wait_all_tasks_blocked()
        peer = client.network.call(port.address, PEER)
        await client.expect(second)
        assert port.closed
        assert await peer.receive() == b"early, earlier than the peer"
        await peer.send(b"from the peer")
        await client.expect(b"from the peer")
        await client.stream.send_eof()
        await peer.aclose()
        await client.expect_end()
    assert "command=BIND" in client.line
    assert "reply=00 up=28 down=13 " in client.line
    assert 'outcome="finished"' in client.line


@pytest.mark.parametrize("protocol", [kind.protocol for kind in KINDS.values() if kind.has_bind])
async def test_through_a_chain(protocol: HopProtocol, caplog: pytest.LogCaptureFixture) -> None:
    hops = [make_hop(number, protocol) for number in (1, 2)]
    async with session(caplog, Config(chains={"default": Chain(*hops)})) as client:
        for hop in hops:
            add_hop(client.network, hop)
        await client.send(BIND5)
        await client.expect("05 00 05 00 00 01 0a000002 c351")
        peer = client.network.call(Address("10.0.0.2", 50001), PEER)
        await client.expect(SECOND5)
        await peer.send(b"hello")
        await client.expect(b"hello")
        await client.stream.send_eof()
        await peer.aclose()
        await client.expect_end()
    assert f"command=BIND destination={PEER} chain=default reply=00" in client.line


@versions
async def test_nobody_comes(
    asked: str,
    first: str,
    second: str,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with session(caplog, Config(timeouts=Timeouts(bind=45))) as client:
        client.network.names["ftp.example"] = ["192.0.2.80"]
        await client.send(asked)
        await client.expect(first)
        await client.expect(LATE5 if asked is BIND5 else LATE4)
        assert trio.current_time() == 45
        await client.expect_end()
    assert "reply=06 " in client.line
    assert "second reply: no peer connected (45.00 s of 45 s)" in client.line


@pytest.mark.parametrize("way", ["finishes", "resets"])
@pytest.mark.parametrize("hops", [0, 1])
async def test_a_client_that_leaves_ends_the_wait(way: str, hops: int, caplog: pytest.LogCaptureFixture) -> None:
    chain = [make_hop(1)][:hops]
    async with session(caplog, Config(chains={"default": Chain(*chain)})) as client:
        for hop in chain:
            add_hop(client.network, hop)
        await client.send(BIND5)
        await client.expect("05 00 05 00 00 01")
        if way == "finishes":
            await client.stream.send_eof()
        else:
            client.stream.reset()
        await trio.testing.wait_all_tasks_blocked()
        assert client.network.left_open == []
    assert "the client left before its peer came" in client.line


@pytest.mark.parametrize("leave", ["finishes", "resets"])
async def test_the_client_leaves_as_its_peer_comes(leave: str, caplog: pytest.LogCaptureFixture) -> None:
    """Which of the two is seen first is up to chance; the peer is let go either way."""
    for _ in range(20):
        caplog.clear()
        async with session(caplog) as client:
            await client.send(BIND5)
            await client.expect(FIRST5)
            port = await port_of(client)
            peer = client.network.call(port.address, PEER)
            if leave == "finishes":
                await client.stream.send_eof()
            else:
                client.stream.reset()
            try:
                while True:
                    await peer.receive()
            except (EndOfStream, BrokenResourceError):
                await peer.aclose()
        assert re.search('outcome="(the client left before|finished|reset by the client)', client.line), client.line


async def test_a_client_that_speaks_too_early_is_held_back(caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog) as client:
        await client.send(BIND5)
        await client.expect(FIRST5)
        said = bytes(3 * EARLY)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, said)
            port = await port_of(client)
            assert len(client.stream.outgoing.buffer) > 0
            peer = client.network.call(port.address, PEER)
            heard = 0
            while heard < len(said):
                heard += len(await peer.receive())
        await client.expect(SECOND5)
        await peer.send_eof()
        await client.stream.send_eof()


async def test_a_client_that_does_not_take_the_second_reply(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog, Config(timeouts=Timeouts(reply=4))) as client:
        client.stream.incoming.capacity = len(bytes.fromhex(FIRST5))
        await client.send(BIND5)
        port = await port_of(client)
        client.network.call(port.address, PEER)
        await trio.sleep(5)
    assert "client, reply: not taken (within 4 s)" in client.line


async def test_socks4_has_no_words_for_some_ports(caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog) as client:
        client.network.names["ftp.example"] = ["2001:db8::80"]
        await client.send(BIND4A)
        await client.expect(LATE4)
        await client.expect_end()
    assert "reply=08 " in client.line
    assert "a SOCKS4 reply cannot carry [2001:db8:1::1]:40001" in client.line


async def test_ipv6(caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog) as client:
        await client.send(BIND6)
        await client.expect("05 00 05 00 00 04 20010db8000100000000000000000001 9c41")
        peer = client.network.call((await port_of(client)).address, Address("2001:db8::80", 20))
        await client.expect("05 00 00 04 20010db8000000000000000000000080 0014")
        await peer.aclose()


async def test_the_advertised_address(caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog, Config(Server(bind_address=ip_address("203.0.113.7")))) as client:
        await client.send(BIND5)
        await client.expect("05 00 05 00 00 01 cb007107 9c41")


async def test_no_route_to_the_peer(caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog) as client:
        client.network.own = ()
        await client.send(BIND5)
        await client.expect("05 00 05 03 00 01 00000000 0000")
        await client.expect_end()
    assert "TCP listen: network is unreachable" in client.line


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_peer_from_another_address_is_named(
    leaves: bool,  # noqa: FBT001
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A peer behind NAT comes from an address that the client has not named."""
    async with session(caplog, Config(timeouts=Timeouts(bind=45))) as client:
        await client.send(BIND5)
        port = await port_of(client)
        for host in ("203.0.113.5", "203.0.113.6", "203.0.113.5"):
            client.network.call(port.address, Address(host, 20))
            await trio.sleep(1)
        if leaves:
            await client.stream.send_eof()
        await trio.sleep(60)
    assert "turned away: 203.0.113.5, 203.0.113.6" in client.line
