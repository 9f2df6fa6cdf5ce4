"""Clients, destinations and hops with link-local addresses, which are worth nothing without their interface."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.e2e.namespaces import Link, linked_namespace
from tests.e2e.programs import PATIENCE, SocketAddress
from tests.e2e.servers import chainsocks
from tests.e2e.wire import UDP_ASSOCIATE, socks5_request

HERE, THERE = "fe80::5", "fe80::7"
BIND = 2
LINES = ["open = true", "private = true"]


@pytest.fixture
def link() -> Iterator[Link]:
    with linked_namespace(f"{HERE}/64", f"{THERE}/64") as link:
        yield link


def connect(port: int, request: bytes) -> tuple[socket.socket, bytes]:
    """Send a request to the server at the other end of the link; return the connection and the reply."""
    client = socket.create_connection((f"{HERE}%eth0", port), PATIENCE)
    client.sendall(b"\x05\x01\x00" + request)
    assert client.recv(2) == b"\x05\x00"
    return client, client.recv(22)


def by_name(host: str, port: int) -> bytes:
    """A request for an address with an interface of the server's, which only a name can hold."""
    return b"\x05\x01\0\x03" + bytes([len(host)]) + host.encode() + port.to_bytes(2, "big")


def listen(name: str) -> socket.socket:
    """Listen at `HERE`, on the link alone."""
    sock = socket.socket(socket.AF_INET6)
    sock.bind((HERE, 0, 0, socket.if_nametoindex(name)))
    sock.listen()
    return sock


def test_connections_of_a_client_on_the_link(link: Link) -> None:
    with (
        chainsocks(listen=[f"[{HERE}%{link.name}]:0"], server_lines=LINES) as front,
        listen(link.name) as destination,
    ):
        front_port, port = front.address[1], destination.getsockname()[1]

        def go() -> None:
            for request in (socks5_request((HERE, port)), by_name(f"{HERE}%{link.name}", port)):
                client, reply = connect(front_port, request)
                assert reply[1] == 0
                client.close()
            client, reply = connect(front_port, socks5_request((THERE, 0), BIND))
            assert reply[:4] == b"\x05\0\0\x04"
            bound = socket.inet_ntop(socket.AF_INET6, reply[4:20]), int.from_bytes(reply[20:22], "big")
            with socket.create_connection((f"{bound[0]}%eth0", bound[1]), PATIENCE) as peer:
                assert client.recv(22)[:4] == b"\x05\0\0\x04"
                peer.sendall(b"hello")
                assert client.recv(5) == b"hello"
            client.close()

        link.run_there(go)


def test_datagrams_of_a_client_on_the_link(link: Link) -> None:
    with (
        chainsocks(listen=[f"[{HERE}%{link.name}]:0"], server_lines=LINES) as front,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as destination,
    ):
        destination.bind((HERE, 0, 0, socket.if_nametoindex(link.name)))
        destination.settimeout(PATIENCE)
        front_port, port = front.address[1], destination.getsockname()[1]

        def go() -> None:
            client, reply = connect(front_port, socks5_request(("::", 0), UDP_ASSOCIATE))
            assert reply[:4] == b"\x05\0\0\x04"
            relay = (HERE, int.from_bytes(reply[20:22], "big"), 0, socket.if_nametoindex("eth0"))
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as ours:
                ours.settimeout(PATIENCE)
                for request in (socks5_request((HERE, port)), by_name(f"{HERE}%{link.name}", port)):
                    ours.sendto(b"\0\0\0" + request[3:] + b"hello", relay)
                    data, source = destination.recvfrom(100)
                    assert data == b"hello"
                    destination.sendto(b"answer", source)
                    assert ours.recv(100)[22:] == b"answer"
            client.close()

        link.run_there(go)


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_hop_on_the_link(kind: str, link: Link, echo: SocketAddress) -> None:
    with (
        chainsocks(listen=[f"[{HERE}%{link.name}]:0"], server_lines=LINES) as hop,
        chainsocks(f"socks5://[{HERE}%{link.name}]:{hop.address[1]}") as front,
        socket.create_connection(front.address, PATIENCE) as client,
    ):
        request = socks5_request(echo) if kind == "tcp" else socks5_request(("0.0.0.0", 0), UDP_ASSOCIATE)
        client.sendall(b"\x05\x01\x00" + request)
        assert client.recv(2) == b"\x05\x00"
        reply = client.recv(10)
        assert reply[1] == 0
        if kind == "tcp":
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"
            return
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as destination,
        ):
            for sock in (ours, destination):
                sock.bind(("127.0.0.1", 0))
                sock.settimeout(PATIENCE)
            header = b"\0\0\0" + socks5_request(destination.getsockname())[3:]
            ours.sendto(header + b"hello", ("127.0.0.1", int.from_bytes(reply[8:10], "big")))
            data, source = destination.recvfrom(100)
            assert data == b"hello"
            destination.sendto(b"answer", source)
            assert ours.recv(100)[10:] == b"answer"
