"""Private places of the machine, asked for from beyond it: a network namespace is the client's machine."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.e2e.namespaces import Link, linked_namespace
from tests.e2e.programs import PATIENCE, SocketAddress
from tests.e2e.servers import chainsocks
from tests.e2e.wire import UDP_ASSOCIATE, read, read_socks5_reply, socks5_login, socks5_request

HERE, THERE = "10.213.59.1", "10.213.59.2"

PRIVATE = [
    "127.0.0.1",
    "127.1",
    "0x7f.1",
    "2130706433",
    "localhost",
    "::1",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "0.0.0.0",
    "::",
    "169.254.169.254",
    "fe80::1",
    HERE,
    f"::ffff:{HERE}",
]

USERS = {"carol": "secret"}
OPEN = "open = true"
FROM = f'[[rules]]\nfrom = ["{THERE}"]\nchain = "direct"\n[[rules]]\ndeny = true'
EVERYTHING = '[[rules]]\nto = ["0.0.0.0/0", "::/0"]\nchain = "direct"\n[[rules]]\nchain = "direct"'


@pytest.fixture(scope="module")
def link() -> Iterator[Link]:
    with linked_namespace(f"{HERE}/24", f"{THERE}/24") as link:
        yield link


@pytest.fixture(scope="module")
def local_service() -> Iterator[int]:
    """A service of the server's machine, at all of its addresses, by TCP and UDP; the port."""
    with socket.create_server(("", 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        port: int = tcp.getsockname()[1]
        udp.bind(("", port))

        def answer() -> None:
            while data := udp.recvfrom(100):
                if data[0] == b"end":
                    break
                udp.sendto(data[0], data[1])

        thread = threading.Thread(target=answer)
        thread.start()
        yield port
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"end", ("127.0.0.1", port))
        thread.join()


def asking(link: Link | None, server: SocketAddress, destinations: Sequence[SocketAddress], login: bytes) -> list[int]:
    """Ask for one destination after the other, from the other end of a link; return the reply codes."""
    codes: list[int] = []

    def ask() -> None:
        for destination in destinations:
            with socket.create_connection(server, PATIENCE) as sock:
                sock.sendall(b"\x05\x01\x02" + login if login else b"\x05\x01\x00")
                read(sock, 4 if login else 2)
                sock.sendall(socks5_request(destination))
                codes.append(read_socks5_reply(sock)[0])

    if link:
        link.run_there(ask)
    else:
        ask()
    return codes


@pytest.mark.parametrize(
    ("lines", "users"),
    [
        pytest.param(OPEN, None, id="open"),
        pytest.param("", USERS, id="users"),
        pytest.param(FROM, None, id="from"),
        pytest.param(f"{OPEN}\n{EVERYTHING}", None, id="rules-for-everything"),
    ],
)
@pytest.mark.parametrize("lane", [True, False], ids=["lane", "task"])
def test_they_are_refused(
    link: Link, local_service: int, lines: str, users: dict[str, str] | None, *, lane: bool
) -> None:
    login = socks5_login("carol", "secret") if users else b""
    with chainsocks(listen=[f"{HERE}:0", "127.0.0.1:0"], server_lines=[lines], users=users, lane=lane) as front:
        destinations = [(host, local_service) for host in PRIVATE]
        assert asking(link, front.address, destinations, login) == [2] * len(PRIVATE)
        front.wait_for(rf"TCP connect: {re.escape(HERE)} is a private place of this machine; a rule that allows it")
        if FROM not in lines:
            host, _, port = front.listeners[1].rpartition(":")
            usable = [("127.0.0.1", local_service), ("localhost", local_service), (HERE, local_service)]
            assert asking(None, (host, int(port)), usable, login) == [0, 0, 0]


@pytest.mark.parametrize(
    ("lines", "allowed"),
    [
        pytest.param(f"{OPEN}\nprivate = true", {"127.0.0.1", "localhost", HERE}, id="private"),
        pytest.param(
            f'{OPEN}\n[[rules]]\nto = ["127.0.0.1"]\nchain = "direct"\n[[rules]]\nchain = "direct"',
            {"127.0.0.1"},
            id="a-host",
        ),
        pytest.param(
            f'{OPEN}\n[[rules]]\nto = ["{HERE}"]\nchain = "direct"\n[[rules]]\nchain = "direct"',
            {HERE},
            id="own-address",
        ),
        pytest.param(
            f'{OPEN}\n[[rules]]\nto = ["127.0.0.0/16"]\nchain = "direct"\n[[rules]]\nchain = "direct"',
            {"127.0.0.1"},
            id="a-network-within",
        ),
    ],
)
def test_they_can_be_allowed(link: Link, local_service: int, lines: str, allowed: set[str]) -> None:
    hosts = ["127.0.0.1", HERE]
    with chainsocks(listen=[f"{HERE}:0"], server_lines=[lines], lane=True) as front:
        codes = asking(link, front.address, [(host, local_service) for host in hosts], b"")
    assert codes == [0 if host in allowed else 2 for host in hosts]


@contextmanager
def association(server: SocketAddress) -> Iterator[tuple[socket.socket, SocketAddress]]:
    with (
        socket.create_connection(server, PATIENCE) as control,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        control.sendall(b"\x05\x01\x00" + socks5_request(("0.0.0.0", 0), UDP_ASSOCIATE))
        read(control, 2)
        code, bound = read_socks5_reply(control)
        assert code == 0
        sock.settimeout(PATIENCE)
        yield sock, (socket.inet_ntoa(bound[:4]), int.from_bytes(bound[4:6], "big"))


def datagram(destination: SocketAddress, payload: bytes) -> bytes:
    return b"\0\0\0" + socks5_request(destination)[3:] + payload


def answered(link: Link, server: SocketAddress, hosts: Sequence[str], port: int, answers: int) -> set[bytes]:
    """Send a datagram to the service at each of `hosts`, and one to ourselves at last; return so many answers."""
    heard: set[bytes] = set()

    def send() -> None:
        with association(server) as (sock, relay), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind((THERE, 0))
            other.settimeout(PATIENCE)
            for host in hosts:
                sock.sendto(datagram((host, port), host.encode()), relay)
            sock.sendto(datagram(other.getsockname(), b"last"), relay)
            data, sender = other.recvfrom(100)
            other.sendto(data, sender)
            while len(heard) < answers:
                heard.add(sock.recv(200)[10:])

    link.run_there(send)
    return heard


def test_datagrams_to_them_are_dropped(link: Link, local_service: int) -> None:
    hosts = ["127.0.0.1", "127.1", HERE, "0.0.0.0", "169.254.169.254"]
    with chainsocks(listen=[f"{HERE}:0"], server_lines=[OPEN]) as front:
        assert answered(link, front.address, hosts, local_service, 1) == {b"last"}
        front.wait_for(f"dropped: {len(hosts)} not allowed to go there")
    with chainsocks(listen=[f"{HERE}:0"], server_lines=[OPEN, "private = true"]) as front:
        assert answered(link, front.address, hosts[:3], local_service, 4) == {b"last", *map(str.encode, hosts[:3])}


def test_other_hosts_of_private_networks_are_allowed(link: Link) -> None:
    accepted: list[Callable[[], None]] = []
    with chainsocks(listen=[f"{HERE}:0"], server_lines=[OPEN], lane=True) as front:
        address = front.address

        def serve_and_ask() -> None:
            with socket.create_server((THERE, 0)) as listening, socket.create_connection(address, PATIENCE) as sock:
                sock.sendall(b"\x05\x01\x00" + socks5_request(listening.getsockname()))
                assert read(sock, 12)[3] == 0
                peer, _ = listening.accept()
                accepted.append(peer.close)
                peer.close()

        link.run_there(serve_and_ask)
    assert accepted
