"""Flows of datagrams on loopback; their sessions are stand-ins."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from chainsocks.config.listeners import Listener, ListenerKind
from chainsocks.net.arrivals import tell_arrival
from chainsocks.network import DatagramSocket
from chainsocks.protocol.address import Address, address_of
from chainsocks.protocol.datagram import encode_header
from chainsocks.server.flows import EARLY, PAUSE, Flows
from chainsocks.server.silent_client import SilentClient
from chainsocks.session.connection import Connection
from chainsocks.session.own_listeners import OwnListeners
from chainsocks.shares import Shares

TARGET = Address("db.internal", 53)
TUNNEL = Listener(Address("127.0.0.1", 53), ListenerKind.TUNNEL, TARGET, udp=True)
TPROXY = Listener(Address("127.0.0.1", 53), ListenerKind.TPROXY, udp=True)
HEADER = encode_header(TARGET)


class Sessions:
    """What has begun, and a way to go on with it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.own = OwnListeners()
        self.flows = Flows(self._begin, self.own)
        self.begun: list[tuple[Connection, SilentClient]] = []
        self.taken: list[bytes] = []
        self.has_places = True
        self._nursery = nursery

    def _begin(self, connection: Connection, client: SilentClient) -> bool:
        if self.has_places:
            self.begun.append((connection, client))
        return self.has_places

    def flow(self, number: int = 0) -> DatagramSocket:
        flow = self.begun[number][0].datagrams
        assert flow
        return flow

    def open(self, number: int = 0) -> None:
        """Open the way of a flow."""
        self._nursery.start_soon(self.flow(number).run, lambda data, _: self.taken.append(data))

    async def until_begun(self, length: int) -> None:
        while len(self.begun) < length:  # noqa: ASYNC110  (sockets take part)
            await trio.sleep(0.001)

    async def until_taken(self, *datagrams: bytes) -> None:
        while len(self.taken) < len(datagrams):  # noqa: ASYNC110
            await trio.sleep(0.001)
        assert self.taken == [*datagrams]


@pytest.fixture
def sessions(nursery: trio.Nursery) -> Sessions:
    return Sessions(nursery)


@contextmanager
def listening(
    sessions: Sessions, nursery: trio.Nursery, terms: Listener = TUNNEL, host: str = "127.0.0.1"
) -> Iterator[tuple[str, int]]:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(0)
        sock.bind((host, 0))
        tell_arrival(sock)
        nursery.start_soon(sessions.flows.serve, sock, lambda: terms)
        yield sock.getsockname()
        nursery.cancel_scope.cancel()


@contextmanager
def client_of(address: tuple[str, int], host: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.bind((host, 0))
        client.connect(address)
        yield client


async def test_a_flow_has_what_its_client_sends_and_its_answers(sessions: Sessions, nursery: trio.Nursery) -> None:
    with listening(sessions, nursery, host="0.0.0.0") as (_, port), client_of(("127.0.0.5", port)) as client:
        client.send(b"early")
        client.send(b"")
        await sessions.until_begun(1)
        connection, _ = sessions.begun[0]
        host, client_port = client.getsockname()
        assert (connection.name, connection.host, connection.target) == (f"{host}:{client_port}", host, TARGET)
        await trio.testing.wait_all_tasks_blocked(0.01)
        sessions.open()
        await sessions.until_taken(HEADER + b"early", HEADER)
        client.send(b"late")
        await sessions.until_taken(HEADER + b"early", HEADER, HEADER + b"late")
        assert sessions.flow().send(encode_header(Address("192.0.2.80", 53)) + b"answer", ("127.0.0.1", 1))
        assert client.recv(100) == b"answer"  # from where it was sent to, to which it is connected
        assert len(sessions.begun) == 1


async def test_each_client_has_its_own(sessions: Sessions, nursery: trio.Nursery) -> None:
    with listening(sessions, nursery) as address, client_of(address) as one, client_of(address) as other:
        one.send(b"one")
        await sessions.until_begun(1)
        other.send(b"other")
        await sessions.until_begun(2)
        for number, client in enumerate((one, other)):
            assert sessions.flow(number).send(HEADER + str(number).encode(), ("127.0.0.1", 1))
            assert client.recv(100) == str(number).encode()


async def test_some_datagrams_wait_for_the_way(sessions: Sessions, nursery: trio.Nursery) -> None:
    with listening(sessions, nursery) as address, client_of(address) as client:
        for number in range(EARLY + 10):
            client.send(b"%d" % number)
        await sessions.until_begun(1)
        await trio.testing.wait_all_tasks_blocked(0.01)
        sessions.open()
        await sessions.until_taken(*(HEADER + b"%d" % number for number in range(EARLY)))


async def test_a_way_that_does_not_open_is_not_tried_again_at_once(
    sessions: Sessions, nursery: trio.Nursery, sockets_on_mock_clock: trio.testing.MockClock
) -> None:
    with listening(sessions, nursery) as address, client_of(address) as client, client_of(address) as other:
        client.send(b"one")
        await sessions.until_begun(1)
        await sessions.begun[0][1].aclose()
        client.send(b"two")
        other.send(b"not paused")
        await sessions.until_begun(2)
        assert sessions.begun[1][0].name.endswith(f":{other.getsockname()[1]}")
        await trio.sleep(PAUSE)
        client.send(b"three")
        await sessions.until_begun(3)
        sessions.open(2)
        await sessions.until_taken(HEADER + b"three")
        await sessions.begun[2][1].aclose()
        client.send(b"four")  # that way was open, so the next one may be
        await sessions.until_begun(4)


async def test_one_client_leaves_room_for_others(
    sessions: Sessions, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions.flows, "_shares", Shares(8, 4))
    with listening(sessions, nursery) as address, caplog.at_level(logging.WARNING):
        for host, ports, most in (("127.0.0.1", 10, 4), ("127.0.0.2", 1, 5)):
            for _ in range(ports):
                with client_of(address, host) as client:
                    client.send(b"hello")
            await sessions.until_begun(most)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert len(sessions.begun) == most
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("4 flows of datagrams: ")


async def test_without_a_place_there_is_no_flow(sessions: Sessions, nursery: trio.Nursery) -> None:
    sessions.has_places = False
    with listening(sessions, nursery) as address, client_of(address) as client:
        client.send(b"one")
        await trio.testing.wait_all_tasks_blocked(0.01)
        sessions.has_places = True
        client.send(b"two")
        await sessions.until_begun(1)
        sessions.open()
        await sessions.until_taken(HEADER + b"two")


async def test_what_was_sent_to_a_tproxy_listener_itself(
    sessions: Sessions, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        listening(sessions, nursery, TPROXY) as address,
        client_of(address) as client,
        caplog.at_level(logging.WARNING),
    ):
        sessions.own.for_datagrams.add(address_of(address))
        client.send(b"one")
        client.send(b"two")
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert sessions.begun == []
    [line] = [record.getMessage() for record in caplog.records]
    assert line == (
        f"a datagram was sent to 127.0.0.1:{address[1]} itself, and not handed over to it: it would lead back to it"
    )


async def test_a_bug_in_a_relay_ends_its_flow_only(sessions: Sessions, nursery: trio.Nursery) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a bug")

    with listening(sessions, nursery) as address, client_of(address) as client, client_of(address) as other:
        client.send(b"one")
        await sessions.until_begun(1)
        with pytest.raises(ValueError, match="a bug"):
            await sessions.flow().run(fail)
        other.send(b"two")
        await sessions.until_begun(2)
