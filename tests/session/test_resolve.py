"""RESOLVE and RESOLVE_PTR from the client's side: what it is told, and what the log says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from chainsocks.config.chains import Chain
from chainsocks.config.models import Config, Timeouts
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import Command
from tests.hops import ANSWERS, add_hop, make_hop
from tests.memory import Host, MemoryStream
from tests.resolvers import framed, respond
from tests.session.serving import session

NAME = b"host.example"
RESOLVE5 = b"\x05\x01\x00\x05\xf0\x00\x03\x0c" + NAME + b"\x00\x00"
RESOLVE_PTR5 = "05 01 00 05 f1 00 01 c0000250 0000"
RESOLVE4 = b"\x04\xf0\x00\x00\x00\x00\x00\x01\x00" + NAME + b"\x00"
ANSWER5, ANSWER4 = "05 00 05 00 00 01 c0000250 0000", "00 5a 0000 c0000250"
NAMED5 = b"\x05\x00\x05\x00\x00\x03\x0c" + NAME + b"\x00\x00"
TOR = replace(make_hop(1), tor=True)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (RESOLVE5, ANSWER5),
        (RESOLVE4, ANSWER4),
        ("05 01 00 05 f0 00 01 c0000250 01bb", ANSWER5),
        ("04 f0 01bb c0000250 00", ANSWER4),
        (
            "05 01 00 05 f0 00 04 20010db8000000000000000000000080 0000",
            "05 00 05 00 00 04 20010db8" + "00" * 11 + "800000",
        ),
    ],
    ids=["socks5", "socks4a", "IPv4", "socks4", "IPv6"],
)
async def test_a_name_is_looked_up(asked: bytes | str, answer: str, caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog) as client:
        client.network.names[NAME.decode()] = ["2001:db8::80", "192.0.2.80"]
        await client.send(asked, b"early, and for nobody")
        await client.expect(answer)
        await client.expect_end()
    assert "command=RESOLVE " in client.line
    assert "chain=direct reply=00 up=0 down=0 " in client.line
    assert 'outcome="answered ' in client.line


async def test_an_address_is_looked_up(caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog) as client:
        client.network.reverse["192.0.2.80"] = NAME.decode()
        await client.send(RESOLVE_PTR5)
        await client.expect(NAMED5)
        await client.expect_end()
    assert "command=RESOLVE_PTR destination=192.0.2.80:0 chain=direct reply=00 up=0 down=0 " in client.line
    assert 'outcome="answered host.example"' in client.line


@pytest.mark.parametrize(
    ("asked", "command", "answer"),
    [
        (RESOLVE5, Command.RESOLVE, "05 00 05 00 00 01 c0000263 0000"),
        (RESOLVE4, Command.RESOLVE, "00 5a 0000 c0000263"),
        (RESOLVE_PTR5, Command.RESOLVE_PTR, b"\x05\x00\x05\x00\x00\x03\x13ninety-nine.example\x00\x00"),
    ],
    ids=["socks5", "socks4a", "ptr"],
)
async def test_tor_is_asked(
    asked: bytes | str, command: Command, answer: bytes | str, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog, Config(chains={"default": Chain(TOR)})) as client:
        add_hop(client.network, TOR)
        await client.send(asked)
        await client.expect(answer)
        await client.expect_end()
    assert f'outcome="answered {ANSWERS[command].host}"' in client.line


@pytest.mark.parametrize(
    ("asked", "refusal", "code", "says"),
    [
        (RESOLVE5, "05 00 05 04 00 01 00000000 0000", "04", "no address for host.example"),
        (RESOLVE4, "00 5b 0000 00000000", "04", "no address for host.example"),
        (RESOLVE_PTR5, "05 00 05 04 00 01 00000000 0000", "04", "no name for 192.0.2.80"),
        (RESOLVE5.replace(b"\xf0", b"\xf1"), "05 00 05 08 00 01 00000000 0000", "08", "which host.example is not"),
    ],
)
async def test_there_is_none(
    asked: bytes | str, refusal: str, code: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog) as client:
        await client.send(asked)
        await client.expect(refusal)
        await client.expect_end()
    assert f"reply={code} " in client.line
    assert says in client.line


async def test_socks4_has_no_words_for_some_answers(caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog) as client:
        client.network.names[NAME.decode()] = ["2001:db8::80"]
        await client.send(RESOLVE4)
        await client.expect("00 5b 0000 00000000")
        await client.expect_end()
    assert "reply=08 " in client.line
    assert "a SOCKS4 reply cannot carry [2001:db8::80]:0" in client.line


async def test_a_resolver_is_blamed_for_itself(caplog: pytest.LogCaptureFixture) -> None:
    hop, resolver = make_hop(1), Address("192.0.2.53", 53)
    async with session(caplog, Config(chains={"default": Chain(hop, resolver=resolver)})) as client:
        add_hop(client.network, hop)

        async def serve(stream: MemoryStream) -> None:
            message = await stream.receive()
            await stream.send(framed(respond(message[2:])))

        client.network.hosts[resolver] = Host(serve)
        await client.send(RESOLVE5)
        await client.expect("05 00 05 04 00 01 00000000 0000")
        await client.expect_end()
    assert "command=RESOLVE destination=host.example:0 chain=default reply=04 " in client.line
    assert "resolver 192.0.2.53:53, name lookup: no answer for host.example: there is no such name" in client.line


async def test_no_name_goes_around_a_hop(caplog: pytest.LogCaptureFixture) -> None:
    hop = make_hop(1)
    async with session(caplog, Config(chains={"default": Chain(hop)})) as client:
        add_hop(client.network, hop)
        client.network.names[NAME.decode()] = ["192.0.2.80"]
        await client.send(RESOLVE5)
        await client.expect("05 00 05 07 00 01 00000000 0000")
        await client.expect_end()
        assert client.network.connects == []
    assert "chain default has no resolver" in client.line


async def test_a_client_that_lingers(autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog, Config(timeouts=Timeouts(resolve=3, reply=8))) as client:
        client.network.names[NAME.decode()] = ["192.0.2.80"]
        await client.send(RESOLVE5)
        await client.expect(ANSWER5)
        await trio.sleep(9)
        assert 'reply=00 up=0 down=0 duration=8.000 outcome="answered 192.0.2.80"' in client.line


async def test_a_slow_resolver(autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog, Config(timeouts=Timeouts(resolve=3))) as client:
        client.network.resolve_delay = 100
        await client.send(RESOLVE5)
        await client.expect("05 00 05 06 00 01 00000000 0000")
        assert trio.current_time() == 3
    assert "destination host.example:0, name lookup: the lookup of host.example got no answer" in client.line
