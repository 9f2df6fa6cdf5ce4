"""Clients, destinations and hops with link-local addresses, which are worth nothing without their interface."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from tests.e2e.programs import PATIENCE, SocketAddress
from tests.e2e.servers import chainsocks
from tests.e2e.wire import UDP_ASSOCIATE, socks5_request

HERE, THERE = "fe80::5", "fe80::7"
BIND = 2
LINES = ["open = true", "private = true"]


@dataclass(frozen=True)
class Link:
    """A namespace with `THERE`, and its link to `HERE` on the interface `name`."""

    name: str
    problems: list[BaseException] = field(default_factory=list)

    def run_there(self, function: Callable[[], None]) -> None:
        """Run a function at the other end of the link."""

        def enter() -> None:
            try:
                with open(f"/run/netns/{self.name}") as namespace:  # noqa: PTH123
                    assert ctypes.CDLL(None).setns(namespace.fileno(), 0) == 0
                function()
            except BaseException as error:  # noqa: BLE001
                self.problems.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if self.problems:
            raise self.problems[0]


def run(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def link() -> Iterator[Link]:
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("needs root and ip(8), for a network namespace")
    name = f"cl{os.getpid()}"
    try:
        run("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr}")
    try:
        run("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        for host, where in ((HERE, ("dev", name)), (THERE, ("dev", "eth0"))):
            inside = ("-n", name) if where[1] == "eth0" else ()
            run(*inside, "addr", "add", f"{host}/64", *where, "nodad")
            run(*inside, "link", "set", where[1], "up")
        yield Link(name)
        run("link", "del", name)
    finally:
        run("netns", "del", name)


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
