"""The way of the load: its handshakes, how later sessions repeat them, and which hop and step an error names."""

from __future__ import annotations

import errno
import math
import socket
import struct
from collections.abc import Callable, Iterator

import pytest
import trio

from chainsocks.config.hops import Hop, parse_hop_url
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.listeners import is_loopback
from chainsocks.config.models import Config, User
from chainsocks.config.passwords import PlainPassword
from chainsocks.errors import (
    ConnectError,
    DialTimeout,
    HopAuthenticationError,
    HopProtocolError,
    HopRefused,
    UnsupportedAddress,
)
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import UserId, UsernamePassword
from chainsocks.tools.bench.echo import exchange
from chainsocks.tools.bench.loop import Loop, Task
from chainsocks.tools.bench.target import Target
from chainsocks.tools.bench.way import Route, Way, local_host
from tests.background import Background, Script

NO_LOGIN, GRANTED = b"\x05\x00", b"\x05\x00\x00\x01\x7f\0\0\1\x12\x34"
ALICE = UsernamePassword(b"alice", b"wonderland")
ALICES = b"\x05\x02", b"\x01\x00", GRANTED
"""The answers of a hop that requires her login."""
DESTINATION = Address("192.0.2.1", 80)
REQUEST = b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50"


def hop_at(address: Address, protocol: HopProtocol = HopProtocol.SOCKS5, **extra: UsernamePassword | UserId) -> Hop:
    return Hop("paris", protocol, address, extra.get("credentials"))


def walk(
    way: Way, destination: Address = DESTINATION, word: bytes = b"", is_over: Callable[[], bool] = lambda: False
) -> bytes:
    """Open a session, exchange a word on it, close it; return what had come with it. Limits expire when `is_over`."""
    route = Route(way, destination)
    came: list[bytes] = []

    def task(loop: Loop) -> Task:
        sock, trailing = yield from route.open(loop)
        came.append(trailing)
        if word:
            yield from exchange(sock, word, route, loop)
        loop.close(sock)

    with Loop() as loop:
        loop.start(task(loop))
        loop.run(math.inf, lambda: is_over() and expire(loop))
    return came[0]


def expire(loop: Loop) -> bool:
    """Let every limit expire, and the loop go on."""
    for running in loop._running:
        running.due = -math.inf
    return False


class Drip(Script):
    """A peer that answers one byte after the other, each in a segment of its own."""

    async def __call__(self, stream: object) -> None:
        await super().__call__(_Dripping(stream))  # type: ignore[arg-type]


class _Dripping:
    def __init__(self, stream: object) -> None:
        self.stream = stream

    async def receive_some(self) -> bytes:
        return await self.stream.receive_some()  # type: ignore[attr-defined, no-any-return]

    async def send_all(self, data: bytes) -> None:
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # type: ignore[attr-defined]
        for byte in data:
            await self.stream.send_all(bytes((byte,)))  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def with_login(background: Background) -> Hop:
    config = Config(users=(User("alice", PlainPassword(b"wonderland")),))
    return hop_at(background.proxy(config), credentials=ALICE)


class TestThroughOurOwn:
    def test_directly(self, target: Target) -> None:
        assert walk(Way("direct"), target.echo, b"word") == b""

    @pytest.mark.parametrize("protocol", HopProtocol)
    def test_one_hop(self, target: Target, hops: tuple[Hop, ...], protocol: HopProtocol) -> None:
        walk(Way("one", (hop_at(hops[0].address, protocol),)), target.echo, b"word")

    def test_with_a_login(self, target: Target, with_login: Hop) -> None:
        walk(Way("login", (with_login,)), target.echo, b"word")

    def test_with_a_login_that_the_hop_does_not_need(self, target: Target, hops: tuple[Hop, ...]) -> None:
        walk(Way("login", (hop_at(hops[0].address, credentials=ALICE),)), target.echo, b"word")

    def test_a_chain_of_several_kinds(self, target: Target, hops: tuple[Hop, ...], with_login: Hop) -> None:
        chain = (hop_at(hops[0].address, HopProtocol.SOCKS4A), with_login, hops[1])
        walk(Way("chain", chain), target.echo, b"word")

    def test_what_the_destination_says_first_is_kept(self, background: Background) -> None:
        proxy = background.listen(Script(NO_LOGIN, GRANTED + b"hello"))
        assert walk(Way("one", (hop_at(proxy),))) == b"hello"


class TestHandshakes:
    def test_each_message_waits_for_the_answer_before(self, background: Background) -> None:
        script = Script(*ALICES)
        walk(Way("one", (hop_at(background.listen(script), credentials=ALICE),)))
        assert script.heard == [b"\x05\x02\x00\x02", b"\x01\x05alice\x0awonderland", REQUEST]

    def test_socks4(self, background: Background) -> None:
        script = Script(b"\x00\x5a" + bytes(6))
        walk(Way("one", (hop_at(background.listen(script), HopProtocol.SOCKS4, credentials=UserId(b"fred")),)))
        assert script.heard == [b"\x04\x01\x00\x50\xc0\x00\x02\x01fred\x00"]

    def test_a_chain_in_one_conversation(self, background: Background) -> None:
        script = Script(NO_LOGIN, GRANTED, NO_LOGIN, GRANTED + b"!")
        lima = Hop("lima", HopProtocol.SOCKS5, Address("192.0.2.9", 1080))
        assert walk(Way("two", (hop_at(background.listen(script)), lima))) == b"!"
        assert script.heard[1] == b"\x05\x01\x00\x01\xc0\x00\x02\x09\x04\x38"
        assert script.heard[3] == REQUEST


class TestLaterSessions:
    """They repeat what the first one recorded, as long as the hop answers alike."""

    def sessions(self, background: Background, *scripts: Script) -> list[bytes]:
        """Open a session for each script, and return what came behind the replies."""
        left = iter(scripts)

        async def serve(stream: trio.SocketStream) -> None:
            await next(left)(stream)

        route = Route(Way("one", (hop_at(background.listen(serve), credentials=ALICE),)), DESTINATION)
        came: list[bytes] = []

        def task(loop: Loop) -> Task:
            for _ in scripts:
                sock, trailing = yield from route.open(loop)
                came.append(trailing)
                loop.close(sock)

        with Loop() as loop:
            loop.start(task(loop))
            loop.run(math.inf, lambda: len(scripts[-1].heard) > len(scripts[-1].answers) and expire(loop))
        return came

    @pytest.mark.parametrize(
        ("answers", "trailing"),
        [
            pytest.param(ALICES, b"", id="alike"),
            pytest.param((*ALICES[:2], b"\x05\x00\x00\x01\x7f\0\0\x01\x43\x21"), b"", id="another-port"),
            pytest.param((*ALICES[:2], b"\x05\x00\x00\x04" + bytes(18)), b"", id="IPv6"),
            pytest.param((*ALICES[:2], b"\x05\x00\x00\x03\x04name\x00\x50"), b"", id="name"),
            pytest.param((*ALICES[:2], GRANTED + b"hello"), b"hello", id="trailing"),
        ],
    )
    def test_the_conversation_is_the_same(
        self, background: Background, answers: tuple[bytes, ...], trailing: bytes
    ) -> None:
        scripts = Script(*ALICES), Script(*answers), Script(*ALICES)
        assert self.sessions(background, *scripts) == [b"", trailing, b""]
        assert scripts[0].heard == scripts[1].heard == scripts[2].heard

    def test_a_hop_that_wants_no_login_any_more_gets_none(self, background: Background) -> None:
        later = Script(NO_LOGIN, GRANTED)
        self.sessions(background, Script(*ALICES), later)
        assert later.heard == [b"\x05\x02\x00\x02", REQUEST]

    def test_answers_at_once(self, background: Background) -> None:
        hasty = Script(ALICES[0], ALICES[1] + GRANTED)
        assert self.sessions(background, hasty, Script(*ALICES), hasty) == [b""] * 3

    def test_answers_in_pieces(self, background: Background) -> None:
        drips = Drip(*ALICES), Drip(*ALICES), Script(*ALICES), Drip(*ALICES)
        assert self.sessions(background, *drips) == [b""] * 4

    @pytest.mark.parametrize(
        ("answers", "kind", "complaint"),
        [
            ((b"\x05\x02", b"\x01\x01"), HopAuthenticationError, "sub-negotiation"),
            ((*ALICES[:2], b"\x05\x05\0\x01" + bytes(6)), HopRefused, r"request: .* refused \(05\)"),
            ((*ALICES[:2], b""), HopProtocolError, "request: the connection was"),
            ((b"\x05\x02", b"HTTP/1.1 400"), HopProtocolError, "sub-negotiation: "),
            ((b"\x05\x02",), DialTimeout, "sub-negotiation: no complete answer"),
        ],
    )
    def test_a_failure_names_its_step(
        self, background: Background, answers: tuple[bytes, ...], kind: type[Exception], complaint: str
    ) -> None:
        with pytest.raises(kind, match=rf"^hop paris \(1 of 1\) at .*{complaint}"):
            self.sessions(background, Script(*ALICES), Script(*answers))


class TestFailures:
    @pytest.fixture
    def refused(self) -> Iterator[Address]:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            yield Address(*sock.getsockname())

    def test_a_hop_that_does_not_listen(self, refused: Address) -> None:
        with pytest.raises(ConnectError, match=r"^hop paris \(1 of 1\) at .*, TCP connect: connection refused"):
            walk(Way("one", (hop_at(refused),)))

    def test_no_destination(self, refused: Address) -> None:
        with pytest.raises(ConnectError, match=r"^destination 127.0.0.1:.* connection refused"):
            walk(Way("direct"), refused)

    @pytest.mark.parametrize(
        ("answers", "kind", "complaint"),
        [
            ((b"\x05\xff",), HopAuthenticationError, "method negotiation: it requires a login"),
            ((b"HTTP/1.1 400",), HopProtocolError, "method negotiation: .*HTTP"),
            ((NO_LOGIN, b"\x05\x05\0\x01" + bytes(6)), HopRefused, r"request: it could not reach .*refused \(05\)"),
            ((b"",), HopProtocolError, "method negotiation: the connection was"),
            ((NO_LOGIN, b""), HopProtocolError, "request: the connection was"),
        ],
    )
    def test_the_hop_and_the_step_are_named(
        self, background: Background, answers: tuple[bytes, ...], kind: type[Exception], complaint: str
    ) -> None:
        script = Script(*answers)
        with pytest.raises(kind, match=rf"^hop paris \(1 of 1\) at .*, {complaint}"):
            walk(Way("one", (hop_at(background.listen(script)),)))
        assert script.left.wait(20), "the connection is closed"

    @pytest.mark.parametrize(
        ("answers", "heard", "complaint"),
        [
            ((NO_LOGIN, GRANTED[:4]), 2, r"request: no complete answer on the way to 192.0.2.1:80 \(.* s of 10 s\)"),
            ((NO_LOGIN,), 2, "request: no complete answer"),
            ((), 1, "method negotiation: no complete answer"),
        ],
    )
    def test_a_hop_that_does_not_answer(
        self, background: Background, answers: tuple[bytes, ...], heard: int, complaint: str
    ) -> None:
        script = Script(*answers)
        with pytest.raises(DialTimeout, match=rf"^hop paris \(1 of 1\) at .*, {complaint}"):
            walk(Way("one", (hop_at(background.listen(script)),)), is_over=lambda: len(script.heard) == heard)
        assert script.left.wait(20), "the connection is closed"

    @pytest.mark.parametrize("answers", [(b"nonsense",), (NO_LOGIN, b"")])
    def test_nothing_stays_behind_where_others_go_on(self, background: Background, answers: tuple[bytes, ...]) -> None:
        route = Route(Way("one", (hop_at(background.listen(Script(*answers))),)), DESTINATION)
        failures: list[int] = []

        def task(loop: Loop) -> Task:
            for _ in range(3):
                try:
                    yield from route.open(loop)
                except HopProtocolError:
                    failures.append(len(loop._waiting))

        with Loop() as loop:
            loop.start(task(loop))
            loop.run(math.inf)
        assert failures == [0, 0, 0]

    def test_a_hop_of_a_chain(self, background: Background) -> None:
        proxy = background.listen(Script(NO_LOGIN, GRANTED, b"nonsense"))
        lima = Hop("lima", HopProtocol.SOCKS5, Address("192.0.2.9", 1080))
        with pytest.raises(HopProtocolError, match=r"^hop lima \(2 of 2\) at 192.0.2.9:1080, method negotiation: "):
            walk(Way("two", (hop_at(proxy), lima)))

    def test_one_that_speaks_unasked(self, background: Background) -> None:
        proxy = background.listen(Script(NO_LOGIN, GRANTED + b"welcome"))
        lima = Hop("lima", HopProtocol.SOCKS5, Address("192.0.2.9", 1080))
        with pytest.raises(HopProtocolError, match="the hop before sent 7 bytes behind its reply"):
            walk(Way("two", (hop_at(proxy), lima)))

    def test_a_connect_without_an_answer(self) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            address = Address(*full.getsockname())
            queue = [socket.socket() for _ in range(2)]
            for sock in queue:
                sock.setblocking(False)  # noqa: FBT003
                sock.connect_ex((address.host, address.port))
            with pytest.raises(DialTimeout, match=r"TCP connect: no answer \(.* s of 10 s\)"):
                walk(Way("one", (hop_at(address),)), is_over=lambda: True)
            for sock in queue:
                sock.close()

    def test_a_name_without_an_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", fail)
        with pytest.raises(ConnectError, match=r"name lookup: no address for nowhere.invalid: Name or service"):
            Route(Way("one", (hop_at(Address("nowhere.invalid", 1080)),)), DESTINATION)

    def test_an_address_that_a_hop_cannot_carry(self) -> None:
        with pytest.raises(UnsupportedAddress, match="socks4 cannot carry the IPv6 address"):
            Route(Way("one", (hop_at(Address("127.0.0.1", 1), HopProtocol.SOCKS4),)), Address("::1", 80))


def test_when_no_port_is_left_another_address_of_ours_has_some(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """On loopback, where short sessions can be faster than ports become free."""
    peers: list[str] = []

    class Exhausted(socket.socket):
        def connect_ex(self, address: object) -> int:
            if self.getsockname()[0] == "0.0.0.0":
                return errno.EADDRNOTAVAIL
            number = super().connect_ex(address)  # type: ignore[arg-type]
            peers.append(self.getsockname()[0])
            return number

    monkeypatch.setattr(socket, "socket", Exhausted)
    walk(Way("direct"), target.echo, b"word")
    assert peers == ["127.1.0.1"]


def test_a_reset_is_seen_as_one(target: Target) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        route = Route(Way("one", (hop_at(Address(*listener.getsockname())),)), DESTINATION)

        def task(loop: Loop) -> Task:
            yield from route.open(loop)

        with Loop() as loop:
            loop.start(task(loop))
            peer, _ = listener.accept()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
            with pytest.raises(HopProtocolError, match="the connection was reset"):
                loop.run(math.inf)


class TestLocalHost:
    """The way is known by its numbers, and `10.0.0.9` is our address towards each of them."""

    @pytest.fixture(autouse=True)
    def network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def look_up(host: str, port: int, **_: object) -> list[object]:
            if host == "hidden.onion":
                raise socket.gaierror
            return [(socket.AF_INET, 0, 0, "", (host, port))]

        def towards(peer: Address) -> Address:
            return Address(peer.host if is_loopback(peer) else f"{peer.host[:-1]}9", 0)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        monkeypatch.setattr("chainsocks.tools.bench.way.local_address", towards)

    @pytest.mark.parametrize(
        ("urls", "expected"),
        [
            ([], "127.0.0.1"),
            (["socks5://127.0.0.1:1"], "127.0.0.1"),
            (["socks5://127.9.9.9"], "127.0.0.1"),
            (["socks5://[::1]:1"], "127.0.0.1"),
            (["socks5://10.0.0.1", "socks5://192.0.2.1"], "192.0.2.9"),
            (["socks5://10.0.0.1", "socks5://hidden.onion"], "10.0.0.9"),
            (["socks5://hidden.onion"], "127.0.0.1"),
        ],
        ids=["direct", "here", "here too", "IPv6", "towards the last", "towards the first", "unknown"],
    )
    def test_it_is_the_address_towards_the_last_hop_that_is_known(self, urls: list[str], expected: str) -> None:
        assert local_host(Way("way", tuple(map(parse_hop_url, urls)))) == expected
