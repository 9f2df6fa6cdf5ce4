"""The client library, under asyncio and under trio, over real sockets."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import anyio
import anyio.to_thread
import pytest
import trio
from anyio import EndOfStream
from anyio.abc import ByteStream, SocketAttribute

import chainsocks
from chainsocks import Address, Chain, Group, Hop, HopProtocol, Pipeline, Timeouts
from chainsocks.config.choices import PipelineText
from chainsocks.config.models import Config, User
from chainsocks.config.passwords import PlainPassword
from chainsocks.errors import Place, Step
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import ReplyCode
from tests.background import PATIENCE, Background, Script
from tests.client.running import run

NAME = "far.example"
"""A name that nobody can look up."""

GRANTED_5 = b"\x05\x00\x00\x01\x0a\x00\x00\x01\x04\x38"
GRANTED_4 = b"\x00\x5a\x04\x38\x0a\x00\x00\x01"


async def shout(stream: trio.SocketStream) -> None:
    """Wait for the end of what a client says, and say it back in capitals."""
    data = b""
    while more := await stream.receive_some():
        data += more
    await stream.send_all(data.upper())


@pytest.fixture(scope="module")
def shouter(background: Background) -> Address:
    return background.listen(shout)


@pytest.fixture(scope="module")
def hop(background: Background) -> Address:
    return background.proxy()


@pytest.fixture(scope="module")
def another(background: Background) -> Address:
    """A second server: one does not connect to itself."""
    return background.proxy()


@pytest.fixture(scope="module")
def hop_with_login(background: Background) -> Address:
    return background.proxy(Config(users=(User("alice", PlainPassword(b"wonder@land")),)))


@pytest.fixture
def dead() -> Iterator[Address]:
    """An address that refuses connections: it is taken, and nobody listens there."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield Address(*sock.getsockname())


async def read_to_end(stream: ByteStream) -> bytes:
    data = b""
    try:
        while True:
            data += await stream.receive()
    except EndOfStream:
        return data


async def converse(target: Address, chain: Chain, words: bytes) -> bytes:
    async with await chainsocks.connect_tcp(target.host, target.port, chain=chain) as stream:
        await stream.send(words)
        await stream.send_eof()
        return await read_to_end(stream)


async def connect(target: Address, chain: Chain, timeouts: Timeouts | None = None) -> None:
    """Connect, and close at once."""
    await (await chainsocks.connect_tcp(target.host, target.port, chain=chain, timeouts=timeouts)).aclose()


def failure(backend: str, chain: Chain, target: Address, timeouts: Timeouts | None = None) -> chainsocks.DialError:
    """Connect, and return what came of it."""
    with pytest.raises(chainsocks.DialError) as caught:
        run(backend, connect, target, chain, timeouts)
    return caught.value


WAYS = [
    pytest.param([], id="direct"),
    pytest.param(["socks4://{hop}"], id="socks4"),
    pytest.param(["socks4://fred@{hop}"], id="socks4-user"),
    pytest.param(["socks4a://{hop}"], id="socks4a"),
    pytest.param(["socks5://{hop}"], id="socks5"),
    pytest.param(["socks5://alice:wonder%40land@{hop_with_login}"], id="socks5-login"),
    pytest.param(
        ["socks5://alice:wonder%40land@{hop_with_login}", "socks4a://fred@{hop}", "socks5://{another}"],
        id="three-mixed",
    ),
]


class TestConnections:
    @pytest.mark.parametrize("way", WAYS)
    def test_bytes_and_their_end_go_both_ways(
        self, backend: str, shouter: Address, hop: Address, another: Address, hop_with_login: Address, way: list[str]
    ) -> None:
        """The end of what we say arrives, and the answer to it still comes back."""
        chain = Chain(*(url.format(hop=hop, another=another, hop_with_login=hop_with_login) for url in way))
        words = b"abcdefgh" * 50_000
        assert run(backend, converse, shouter, chain, words) == words.upper()

    @pytest.mark.parametrize("pipeline", ["hop", Pipeline.CHAIN])
    @pytest.mark.parametrize("way", WAYS)
    def test_pipelined_as_well(
        self,
        backend: str,
        shouter: Address,
        hop: Address,
        another: Address,
        hop_with_login: Address,
        way: list[str],
        pipeline: PipelineText | Pipeline,
    ) -> None:
        urls = (url.format(hop=hop, another=another, hop_with_login=hop_with_login) for url in way)
        assert run(backend, converse, shouter, Chain(*urls, pipeline=pipeline), b"hello") == b"HELLO"

    @pytest.mark.parametrize("hedge", [None, 5.0])
    def test_a_group_finds_a_hop_that_lives(
        self, backend: str, shouter: Address, hop: Address, dead: Address, hedge: float | None
    ) -> None:
        chain = Chain(Group(f"socks5://{dead}", f"socks5://{hop}", hedge=hedge))
        assert run(backend, converse, shouter, chain, b"hello") == b"HELLO"

    @pytest.mark.parametrize(
        "way",
        [
            pytest.param([], id="direct"),
            pytest.param(["socks4a://near.example:{port}"], id="first-hop"),
        ],
    )
    def test_names_at_this_end_are_looked_up_here(
        self, backend: str, shouter: Address, hop: Address, way: list[str]
    ) -> None:
        target = Address("near.example", shouter.port) if not way else shouter
        chain = Chain(*(url.format(port=hop.port) for url in way))
        assert run(backend, converse, target, chain, b"hello") == b"HELLO"

    def test_no_chain_is_the_direct_way(self, backend: str, shouter: Address) -> None:
        async def go() -> bytes:
            async with await chainsocks.connect_tcp(shouter.host, shouter.port) as stream:
                await stream.send_eof()
                return await read_to_end(stream)

        assert run(backend, go) == b""

    @pytest.mark.parametrize(
        ("protocol", "answers", "request_"),
        [
            pytest.param(
                "socks5",
                (b"\x05\x00", GRANTED_5),
                b"\x05\x01\x00\x03\x0bfar.example\x01\xbb",
                id="socks5",
            ),
            pytest.param("socks4a", (GRANTED_4,), b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00far.example\x00", id="socks4a"),
        ],
    )
    def test_the_name_goes_to_the_last_hop_as_it_is(
        self,
        backend: str,
        background: Background,
        hop: Address,
        protocol: str,
        answers: tuple[bytes, ...],
        request_: bytes,
    ) -> None:
        last = Script(*answers)
        chain = Chain(f"socks5://{hop}", f"{protocol}://{background.listen(last)}")
        run(backend, connect, Address(NAME, 443), chain)
        assert last.heard[-1] == request_

    @pytest.mark.parametrize(
        ("protocol", "answers"),
        [
            pytest.param("socks5", (b"\x05\x00", GRANTED_5), id="socks5"),
            pytest.param("socks4a", (GRANTED_4,), id="socks4a"),
        ],
    )
    def test_what_comes_with_the_reply_is_the_first_data(
        self, backend: str, background: Background, protocol: str, answers: tuple[bytes, ...]
    ) -> None:
        """A server that speaks first, right behind the reply and in one segment with it; and the stream goes on."""
        *before, reply = answers
        script = Script(*before, reply + b"220 far.example ready\r\n", b"221 bye\r\n")
        address = background.listen(script)

        async def go() -> None:
            chain = Chain(f"{protocol}://{address}")
            async with await chainsocks.connect_tcp(NAME, 25, chain=chain) as stream:
                assert await stream.receive(4) == b"220 "
                assert await stream.receive() == b"far.example ready\r\n"
                await stream.send(b"QUIT\r\n")
                assert await stream.receive() == b"221 bye\r\n"
                assert stream.extra(SocketAttribute.remote_address) == (address.host, address.port)
                await stream.send_eof()
                with pytest.raises(EndOfStream):
                    await stream.receive()

        run(backend, go)
        assert script.heard[-1] == b"QUIT\r\n"

    def test_closing_closes(self, backend: str, background: Background) -> None:
        script = Script(b"\x05\x00", GRANTED_5 + b"hello")
        run(backend, connect, Address(NAME, 25), Chain(f"socks5://{background.listen(script)}"))
        assert script.left.wait(PATIENCE)


@dataclass(frozen=True)
class Rudeness:
    """What a hop says, and what has to be said of it."""

    url: str
    answers: tuple[bytes, ...]
    error: type[chainsocks.DialError]
    step: State
    problem: str
    reply_code: int = ReplyCode.GENERAL_FAILURE


RUDE = {
    "refused-login": Rudeness(
        "socks5://alice:secret@{}",
        (b"\x05\x02", b"\x01\x01"),
        chainsocks.HopAuthenticationError,
        State.SUB_NEGOTIATION,
        "it refused our username and password (status 01)",
    ),
    "wants-a-login": Rudeness(
        "socks5://{}",
        (b"\x05\xff",),
        chainsocks.HopAuthenticationError,
        State.METHOD_NEGOTIATION,
        "it requires a login, and none is configured; give this hop a username and a password",
    ),
    "refused-destination": Rudeness(
        "socks5://{}",
        (b"\x05\x00", b"\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"),
        chainsocks.HopRefused,
        State.REQUEST,
        "it refused far.example:443: connection not allowed by ruleset (02)",
        ReplyCode.NOT_ALLOWED_BY_RULESET,
    ),
    "refused-in-a-code-of-tor's": Rudeness(
        "socks5://{}",
        (b"\x05\x00", b"\x05\xf2\x00\x01\x00\x00\x00\x00\x00\x00"),
        chainsocks.HopRefused,
        State.REQUEST,
        "it refused far.example:443: onion service introduction failed (F2)",
        ReplyCode.ONION_INTRODUCTION_FAILED,
    ),
    "refused-by-socks4a": Rudeness(
        "socks4a://{}",
        (b"\x00\x5b\x00\x00\x00\x00\x00\x00",),
        chainsocks.HopRefused,
        State.REQUEST,
        "it refused far.example:443: general SOCKS server failure (01)",
    ),
    "no-socks": Rudeness(
        "socks5://{}",
        (b"HTTP/1.1 400 Bad Request\r\n\r\n",),
        chainsocks.HopProtocolError,
        State.METHOD_NEGOTIATION,
        "the answer to the method negotiation is not SOCKS5; "
        "it looks like an HTTP server's answer ('HTTP/1.1 400 Bad Request')",
    ),
    "hangs-up": Rudeness(
        "socks5://{}",
        (b"\x05\x00", b""),
        chainsocks.HopProtocolError,
        State.REQUEST,
        "the connection was closed during the request",
    ),
}


class TestFailures:
    def test_what_callers_of_sockets_catch_catches_a_dial(
        self, backend: str, background: Background, hop: Address, dead: Address
    ) -> None:
        mute = Chain(f"socks5://{background.listen(Script())}")
        for kind, chain, target in (
            (TimeoutError, mute, Address(NAME, 443)),
            (ConnectionRefusedError, chainsocks.DIRECT, dead),
            (ConnectionRefusedError, Chain(f"socks5://{hop}"), dead),
            (OSError, Chain(f"socks5://{dead}"), Address(NAME, 443)),
        ):
            with pytest.raises(kind):
                run(backend, connect, target, chain, Timeouts(hop=0.3))

    @pytest.mark.parametrize("rudeness", RUDE.values(), ids=RUDE.keys())
    def test_a_rude_hop(self, backend: str, background: Background, rudeness: Rudeness) -> None:
        script = Script(*rudeness.answers)
        address = background.listen(script)
        error = failure(backend, Chain(rudeness.url.format(address)), Address(NAME, 443))
        assert type(error) is rudeness.error
        assert error.place == Place(str(address), address, rudeness.step, 1, 1)
        assert error.reply_code == rudeness.reply_code
        pattern = (
            rf"hop {address} \(1 of 1\) at {address}, {re.escape(rudeness.step)}: "
            rf"{re.escape(rudeness.problem)} \(\d+\.\d\d s of 10 s\)"
        )
        assert re.fullmatch(pattern, str(error))
        assert script.left.wait(PATIENCE), "its connection stays open"

    def test_a_middle_hop_cannot_reach_the_next(self, backend: str, hop: Address, dead: Address) -> None:
        """Whose failure that is, only the two of them know."""
        chain = Chain(f"socks5://{hop}", f"socks5://{dead}")
        error = failure(backend, chain, Address(NAME, 443))
        assert type(error) is chainsocks.HopRefused
        assert error.place == Place(str(hop), hop, State.REQUEST, 1, 2)
        assert error.problem == f"it could not reach {dead} at {dead}, it says: connection refused (05)"
        assert error.reply_code == ReplyCode.GENERAL_FAILURE

    def test_the_last_hop_tells_of_the_destination(
        self, backend: str, hop: Address, another: Address, dead: Address
    ) -> None:
        error = failure(backend, Chain(f"socks5://{another}", f"socks5://{hop}"), dead)
        assert isinstance(error, chainsocks.HopRefused)
        assert isinstance(error, ConnectionRefusedError)
        assert error.at_destination
        assert error.place == Place(str(hop), hop, State.REQUEST, 2, 2)
        assert error.reply_code == ReplyCode.CONNECTION_REFUSED

    @pytest.mark.parametrize(
        ("limit", "timeouts", "seconds"),
        [
            pytest.param(None, Timeouts(hop=0.2), 0.2, id="each-hop"),
            pytest.param(0.3, Timeouts(hop=7), 0.3, id="this-hop"),
            pytest.param(None, Timeouts(dial=0.5), 0.5, id="dial"),
        ],
    )
    def test_a_mute_hop(
        self, backend: str, background: Background, limit: float | None, timeouts: Timeouts, seconds: float
    ) -> None:
        script = Script()
        address = background.listen(script)
        chain = Chain(Hop("paris", HopProtocol.SOCKS5, address, timeout=limit))
        error = failure(backend, chain, Address(NAME, 443), timeouts)
        assert type(error) is chainsocks.DialTimeout
        assert isinstance(error, TimeoutError)
        assert error.place == Place("paris", address, State.METHOD_NEGOTIATION, 1, 1)
        assert error.limit == seconds
        assert error.reply_code == ReplyCode.TTL_EXPIRED
        assert re.fullmatch(
            rf"hop paris \(1 of 1\) at {address}, method negotiation: no complete answer on the way to far.example:443"
            rf"(, and the time for the whole chain is over)? \(\d+\.\d\d s of {seconds:g} s\)",
            str(error),
        )
        assert script.left.wait(PATIENCE), "its connection stays open"

    def test_a_mute_hop_behind_another(self, backend: str, background: Background, hop: Address) -> None:
        """The one that is mute is to blame, not the one that we are connected to."""
        script = Script()
        mute = Hop("osaka", HopProtocol.SOCKS5, background.listen(script), timeout=0.2)
        error = failure(backend, Chain(f"socks5://{hop}", mute), Address(NAME, 443))
        assert type(error) is chainsocks.DialTimeout
        assert error.place == Place("osaka", mute.address, State.METHOD_NEGOTIATION, 2, 2)
        assert script.left.wait(PATIENCE), "its connection stays open"

    def test_a_dead_hop(self, backend: str, dead: Address) -> None:
        error = failure(backend, Chain(f"socks5://{dead}"), Address(NAME, 443))
        assert type(error) is chainsocks.ConnectError
        assert (error.errno, error.at_destination) == (errno.ECONNREFUSED, False)
        assert error.place == Place(str(dead), dead, Step.CONNECT, 1, 1)
        assert error.problem == "connection refused"
        assert error.reply_code == ReplyCode.GENERAL_FAILURE

    def test_a_dead_destination(self, backend: str, dead: Address) -> None:
        error = failure(backend, chainsocks.DIRECT, dead)
        assert isinstance(error, chainsocks.ConnectError)
        assert isinstance(error, ConnectionRefusedError)
        assert (error.errno, error.at_destination) == (errno.ECONNREFUSED, True)
        assert error.place == Place(None, dead, Step.CONNECT)
        assert re.fullmatch(rf"destination {dead}, TCP connect: connection refused \(\d+\.\d\d s of 10 s\)", str(error))
        assert error.reply_code == ReplyCode.CONNECTION_REFUSED

    def test_a_name_without_an_address(self, backend: str) -> None:
        error = failure(backend, chainsocks.DIRECT, Address(NAME, 443))
        assert type(error) is chainsocks.ConnectError
        assert error.place == Place(None, Address(NAME, 443), Step.RESOLVE)
        assert error.problem == "no address for far.example: Name or service not known"
        assert error.reply_code == ReplyCode.HOST_UNREACHABLE

    def test_a_name_that_socks4_cannot_carry(self, backend: str, background: Background) -> None:
        script = Script()
        chain = Chain(f"socks4://{background.listen(script)}")
        error = failure(backend, chain, Address(NAME, 443))
        assert type(error) is chainsocks.UnsupportedAddress
        assert script.heard == []

    @pytest.mark.parametrize(
        ("host", "port"),
        [pytest.param("x" * 256, 80, id="long"), pytest.param("", 80, id="empty"), pytest.param("a", 65536, id="port")],
    )
    def test_what_no_request_can_say(self, backend: str, host: str, port: int) -> None:
        async def go() -> None:
            with pytest.raises(ValueError, match=r"."):
                await chainsocks.connect_tcp(host, port)

        run(backend, go)

    def test_cancellation_leaves_nothing_open(self, backend: str, background: Background) -> None:
        script = Script(b"\x05\x00")
        chain = Chain(f"socks5://{background.listen(script)}")

        async def go() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(connect, Address(NAME, 443), chain)
                assert await anyio.to_thread.run_sync(script.addressed.wait, PATIENCE)
                group.cancel_scope.cancel()

        run(backend, go)
        assert script.left.wait(PATIENCE), "its connection stays open"


# --- BIND


async def call(address: Address, words: bytes) -> bytes:
    """Connect to a port, as its peer."""
    async with await anyio.connect_tcp(address.host, address.port) as stream:
        await stream.send(words)
        return await read_to_end(stream)


async def bind_and_answer(chain: Chain, host: str) -> bytes:
    """Have a port opened, be called there, and answer in capitals."""
    heard = b""

    async def be_called(address: Address) -> None:
        nonlocal heard
        heard = await call(address, b"knock")

    async with anyio.create_task_group() as group:
        async with await chainsocks.bind_tcp(host, chain=chain) as bound:
            group.start_soon(be_called, bound.address)
            stream = await bound.accept()
        assert bound.peer
        assert bound.peer.host == "127.0.0.1"
        async with stream:
            await stream.send((await stream.receive()).upper())
    return heard


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_port_for_one_connection(backend: str, hop: Address, another: Address, count: int) -> None:
    chain = Chain(*[f"socks5://{hop}", f"socks5://{another}"][:count])
    assert run(backend, bind_and_answer, chain, "127.0.0.1") == b"KNOCK"


@pytest.mark.parametrize("protocol", ["socks4", "socks4a", "socks5"])
def test_ports_of_every_version(backend: str, hop: Address, protocol: str) -> None:
    assert run(backend, bind_and_answer, Chain(f"{protocol}://{hop}"), "127.0.0.1") == b"KNOCK"


async def bind_and_miss(chain: Chain) -> None:
    async with await chainsocks.bind_tcp("127.0.0.1", chain=chain, timeouts=Timeouts(bind=0.05)) as bound:
        await bound.accept()


@pytest.mark.parametrize("count", [0, 1])
def test_nobody_calls(backend: str, hop: Address, count: int) -> None:
    with pytest.raises(chainsocks.DialTimeout, match="second reply: no peer connected"):
        run(backend, bind_and_miss, Chain(*[f"socks5://{hop}"] * count))


async def bind_and_leave() -> None:
    async with await chainsocks.bind_tcp("127.0.0.1") as bound:
        address = bound.address
    await anyio.connect_tcp(address.host, address.port)


def test_a_port_that_was_left_is_closed(backend: str) -> None:
    with pytest.raises(OSError, match=r"\w"):
        run(backend, bind_and_leave)


def test_a_port_that_the_hop_refuses(backend: str, background: Background) -> None:
    refuser = background.listen(Script(b"\x05\x00", b"\x05\x07\x00\x01" + bytes(6)))
    with pytest.raises(chainsocks.HopRefused, match="command not supported") as caught:
        run(backend, bind_and_miss, Chain(f"socks5://{refuser}"))
    assert caught.value.reply_code == 7


def test_what_the_peer_says_at_once_comes_first(backend: str, background: Background) -> None:
    hasty = background.listen(Script(b"\x05\x00", GRANTED_5 + GRANTED_5 + b"220 hello"))

    async def hear() -> bytes:
        async with await chainsocks.bind_tcp(chain=Chain(f"socks5://{hasty}")) as bound:
            assert bound.address == Address("10.0.0.1", 1080)
            async with await bound.accept() as stream:
                return await stream.receive()

    assert run(backend, hear) == b"220 hello"


def test_zeros_of_a_hop_that_is_known_by_its_name(backend: str, background: Background) -> None:
    shy = background.listen(Script(b"\x05\x00", b"\x05\x00\x00\x01\0\0\0\0\x9c\x41"))

    async def ask() -> bytes:
        async with await chainsocks.bind_tcp(chain=Chain(f"socks5://near.example:{shy.port}")) as bound:
            return str(bound.address).encode()

    assert run(backend, ask) == b"127.0.0.1:40001"
