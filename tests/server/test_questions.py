"""Questions of DNS over UDP and TCP on loopback; their sessions are stand-ins that answer when they are told to."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import dns.message
import pytest
import trio
from anyio import BrokenResourceError, EndOfStream

from chainsocks.config.listeners import Listener, ListenerKind
from chainsocks.net.arrivals import tell_arrival
from chainsocks.net.stream import SocketStream
from chainsocks.protocol.address import Address
from chainsocks.server.questions import MOST_OF_STREAM, Asker, Questions
from chainsocks.session.connection import Connection
from chainsocks.shares import Shares
from tests.net.sockets import tcp_pair

TERMS = Listener(Address("127.0.0.1", 53), ListenerKind.DNS)
SECONDS = 60


class Server:
    """Questions, and the sessions that they have begun."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.questions = Questions(self._begin, nursery.start_soon)
        self.begun: list[tuple[Connection, Asker]] = []
        self.has_places = True

    def _begin(self, connection: Connection, asker: Asker) -> bool:
        if self.has_places:
            assert connection.client is asker
            self.begun.append((connection, asker))
        return self.has_places

    @property
    def names(self) -> list[str]:
        return [connection.question.name for connection, _ in self.begun if connection.question]

    async def answer(self, number: int = 0) -> None:
        """Answer one of the sessions with nothing found, and end it."""
        connection, asker = self.begun.pop(number)
        assert connection.question
        await asker.send(connection.question.answer([], 1))
        await asker.aclose()


@pytest.fixture
def server(nursery: trio.Nursery) -> Server:
    return Server(nursery)


def ask(name: str) -> bytes:
    return dns.message.make_query(name, "A", id=len(name)).to_wire()


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message


def name_in(answer: bytes) -> str:
    return dns.message.from_wire(answer).question[0].name.to_text(omit_final_dot=True)


@contextmanager
def listening(server: Server, nursery: trio.Nursery, host: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0)
        sock.bind((host, 0))
        tell_arrival(sock)
        nursery.start_soon(server.questions.serve_datagrams, sock, lambda: TERMS)
        yield sock.getsockname()
        nursery.cancel_scope.cancel()


async def until(server: Server, length: int) -> None:
    """Wait until so many sessions have begun."""
    while len(server.begun) < length:  # noqa: ASYNC110  (sockets take part)
        await trio.sleep(0.001)


async def test_datagrams_leave_from_where_they_came_to(server: Server, nursery: trio.Nursery) -> None:
    with listening(server, nursery, "0.0.0.0") as (_, port), trio.socket.socket(type=socket.SOCK_DGRAM) as client:
        await client.bind(("127.0.0.1", 0))
        await client.sendto(ask("one.example"), ("127.0.0.5", port))
        await until(server, 1)
        connection, _ = server.begun[0]
        assert connection.host == "127.0.0.1"
        assert connection.name == f"127.0.0.1:{client.getsockname()[1]}"
        await server.answer()
        answer, source = await client.recvfrom(1000)
        assert (name_in(answer), source) == ("one.example", ("127.0.0.5", port))


async def test_a_question_that_is_repeated_is_one_question(server: Server, nursery: trio.Nursery) -> None:
    with listening(server, nursery) as address, trio.socket.socket(type=socket.SOCK_DGRAM) as client:
        await client.connect(address)
        for name in ("one.example", "one.example", "two"):
            await client.send(ask(name))
        await until(server, 2)
        assert server.names == ["one.example", "two"]
        await server.answer()
        assert name_in(await client.recv(1000)) == "one.example"
        await client.send(ask("one.example"))  # it is another one by now
        await until(server, 2)


async def test_what_is_no_question_has_no_session(server: Server, nursery: trio.Nursery) -> None:
    """An answer gets none: two servers would keep each other busy."""
    with listening(server, nursery) as address, trio.socket.socket(type=socket.SOCK_DGRAM) as client:
        await client.connect(address)
        question = dns.message.from_wire(ask("one.example"))
        for data in (b"", b"short", dns.message.make_response(question).to_wire(), ask("one.example")[:20]):
            await client.send(data)
        assert dns.message.from_wire(await client.recv(1000)).rcode() == 1  # FORMERR, of the last one
        assert server.begun == []


async def test_one_client_leaves_room_for_others(
    server: Server, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.questions, "_shares", Shares(8, 4))
    with listening(server, nursery) as address, caplog.at_level(logging.WARNING):
        for host, names, most in (("127.0.0.1", 20, 4), ("127.0.0.2", 1, 5)):
            with trio.socket.socket(type=socket.SOCK_DGRAM) as client:
                await client.bind((host, 0))
                await client.connect(address)
                for number in range(names):
                    await client.send(ask("a" * (number + 1)))
                await until(server, most)
                await trio.testing.wait_all_tasks_blocked(0.01)
                assert len(server.begun) == most
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "4 questions of DNS wait for answers"
    ]


async def test_without_a_place_a_question_is_dropped(server: Server, nursery: trio.Nursery) -> None:
    server.has_places = False
    with listening(server, nursery) as address, trio.socket.socket(type=socket.SOCK_DGRAM) as client:
        await client.connect(address)
        await client.send(ask("one.example"))
        await client.send(ask("one.example")[:20])
        assert len(await client.recv(1000)) == 12  # to the second one
        server.has_places = True
        await client.send(ask("one.example"))
        await until(server, 1)


@contextmanager
def connected(server: Server) -> Iterator[SocketStream]:
    """A client's connection that the server has taken."""
    ours, theirs = tcp_pair()
    with ours:
        stream = SocketStream(theirs)
        server.questions.take_stream(stream, Connection(stream, "client", "127.0.0.1", TERMS), SECONDS)
        yield SocketStream(ours)


async def read(client: SocketStream) -> bytes:
    data = b""
    while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
        data += await client.receive(1 if len(data) < 2 else 2 + int.from_bytes(data[:2], "big") - len(data))
    return data[2:]


@pytest.mark.parametrize("portion", [1, 7, 1000])
async def test_a_connection_has_several_questions(server: Server, portion: int) -> None:
    with connected(server) as client:
        data = b"".join(framed(ask(name)) for name in ("one", "three", "forty"))
        for place in range(0, len(data), portion):
            await client.send(data[place : place + portion])
            await trio.testing.wait_all_tasks_blocked()
        await until(server, 3)
        for number, name in ((2, "forty"), (0, "one")):
            await server.answer(number)
            assert name_in(await read(client)) == name
        await client.send_eof()
        await server.answer()
        assert name_in(await read(client)) == "three"
        with pytest.raises(EndOfStream):
            await client.receive()


async def test_a_connection_has_so_many_that_wait(server: Server) -> None:
    with connected(server) as client:
        await client.send(b"".join(framed(ask("a" * number)) for number in range(1, 30)))
        await until(server, MOST_OF_STREAM)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(server.begun) == MOST_OF_STREAM
        await server.answer()
        await until(server, MOST_OF_STREAM)
        while server.begun:
            await server.answer()
            await trio.testing.wait_all_tasks_blocked(0.01)


async def test_a_client_that_leaves_ends_its_questions(server: Server) -> None:
    with connected(server) as client:
        await client.send(framed(ask("one")))
        await until(server, 1)
    [(_, asker)] = server.begun
    client.socket.close()
    await asker.aclose()

    ours, theirs = tcp_pair()
    stream = SocketStream(theirs)
    server.questions.take_stream(stream, Connection(stream, "client", "127.0.0.1", TERMS), SECONDS)
    ours.sendall(framed(ask("two")))
    await until(server, 2)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    ours.close()
    _, asker = server.begun[1]
    with pytest.raises(BrokenResourceError):
        await asker.receive()
    await asker.aclose()


@pytest.mark.parametrize("sent", [b"", b"\0", framed(b"x" * 20)[:9]], ids=["nothing", "half a length", "a part"])
async def test_a_client_that_is_slow(
    server: Server, sent: bytes, sockets_on_mock_clock: trio.testing.MockClock
) -> None:
    with connected(server) as client:
        if sent:
            await client.send(sent)
        with pytest.raises(EndOfStream):
            await client.receive()
        assert trio.current_time() == pytest.approx(SECONDS)


async def test_waiting_for_an_answer_is_not_slow(server: Server, sockets_on_mock_clock: trio.testing.MockClock) -> None:
    with connected(server) as client:
        await client.send(framed(ask("one")))
        await until(server, 1)
        await trio.sleep(SECONDS * 3)
        await server.answer()
        assert name_in(await read(client)) == "one"


async def test_too_many_connections(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.questions, "_streams", Shares(1, 0))
    with connected(server) as first:
        with connected(server) as second, pytest.raises(BrokenResourceError):
            await second.receive()
        await first.send(framed(ask("one")))
        await until(server, 1)
        await server.answer()
        await read(first)
        await first.send_eof()
        with pytest.raises(EndOfStream):
            await first.receive()
    with connected(server) as third:
        await third.send(framed(ask("two")))
        await until(server, 1)
        await server.answer()


async def test_without_a_place_a_connection_ends(server: Server) -> None:
    server.has_places = False
    with connected(server) as client:
        await client.send(framed(ask("one")))
        with pytest.raises((BrokenResourceError, EndOfStream)):
            await client.receive()
