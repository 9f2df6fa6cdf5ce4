"""Peers that vanish without a word, as by a power cut: a link between two network namespaces is taken down."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from chainsocks.net.keepalive import has_vanished
from tests.e2e.namespaces import Link, linked_namespace
from tests.e2e.programs import PATIENCE, SocketAddress
from tests.e2e.servers import chainsocks
from tests.e2e.wire import UDP_ASSOCIATE, socks5_request

HERE, THERE = "10.213.57.1", "10.213.57.2"


@pytest.fixture
def link() -> Iterator[Link]:
    with linked_namespace(f"{HERE}/30", f"{THERE}/30") as link:
        yield link


def test_a_peer_that_vanishes_while_data_is_on_its_way(link: Link) -> None:
    clients: list[socket.socket] = []
    with socket.create_server((HERE, 0)) as listener:

        def connect() -> None:
            clients.append(socket.create_connection(listener.getsockname(), PATIENCE))

        link.run_there(connect)
        near, _ = listener.accept()
    with near, clients[0]:
        near.send(b"heard")
        assert clients[0].recv(5) == b"heard"
        time.sleep(1)
        assert not has_vanished(near, 0.5)
        link.cut()
        near.send(b"lost")
        end = time.monotonic() + 3 * PATIENCE
        while not has_vanished(near, 5):
            assert time.monotonic() < end
            time.sleep(0.1)


def test_a_client_that_vanishes_ends_its_session_and_its_association(link: Link, echo: SocketAddress) -> None:
    lines = ["keepalive = 1", "open = true", "private = true"]
    with chainsocks(listen=[f"{HERE}:0"], server_lines=lines, idle=10_000, udp_idle=10_000) as front:
        clients: list[socket.socket] = []
        address = front.address

        def open_sessions() -> None:
            for request in (socks5_request(echo), socks5_request(("0.0.0.0", 0), UDP_ASSOCIATE)):
                client = socket.create_connection(address, PATIENCE)
                clients.append(client)
                client.sendall(b"\x05\x01\x00" + request)
                assert client.recv(2) == b"\x05\x00"
                assert client.recv(10)[1] == 0

        link.run_there(open_sessions)
        names = [client.getsockname() for client in clients]
        time.sleep(0.5)  # for the delayed acknowledgements of the replies: while they are due, there are no probes
        link.cut()
        for name in names:
            assert "reset by the client" in front.session(name)
        for client in clients:
            client.close()
