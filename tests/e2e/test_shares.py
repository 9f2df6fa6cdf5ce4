"""Clients at several addresses, of which one would have everything: a network namespace has the addresses."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.e2e.namespaces import Link, linked_namespace, run
from tests.e2e.programs import PATIENCE, SocketAddress
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.wire import UDP_ASSOCIATE, read, socks5_login, socks5_request

HERE = "10.213.58.1"
GREEDY, OTHER, THIRD = "10.213.58.2", "10.213.58.3", "10.213.58.4"
MANY = 32
"""Sessions, of which 2 are the reserve."""

LINES = ["open = true", "private = true", 'udp_ports = "47310-47313"']
GREETING = b"\x05\x01\x00"
PREFIXES = [b"", GREETING[:2], GREETING, GREETING + socks5_request((HERE, 9))[:-1]]


@pytest.fixture
def link() -> Iterator[Link]:
    with linked_namespace(f"{HERE}/24", f"{GREEDY}/24") as link:
        for address in (OTHER, THIRD):
            run("-n", link.name, "addr", "add", f"{address}/24", "dev", "eth0")
        yield link


class Clients:
    """Clients at addresses of their own."""

    def __init__(self, server: SocketAddress, stack: ExitStack) -> None:
        self._server = server
        self._stack = stack

    def connect(self, source: str, words: bytes = b"") -> socket.socket:
        client = socket.create_connection(self._server, PATIENCE, (source, 0))
        self._stack.callback(client.close)
        client.sendall(words)
        return client

    def ask(self, source: str, destination: SocketAddress, command: int = 1) -> int:
        """Have a session; return its reply code."""
        client = self.connect(source, GREETING + socks5_request(destination, command))
        return read(client, 12)[3]


def at_the_other_end(link: Link, front: Chainsocks, go: Callable[[Clients], None]) -> None:
    address = front.address

    def enter() -> None:
        with ExitStack() as stack:
            go(Clients(address, stack))

    link.run_there(enter)


def test_silent_connections_of_one_address_keep_no_other_out(link: Link, echo: SocketAddress) -> None:
    with chainsocks(listen=[f"{HERE}:0"], server_lines=LINES, max_sessions=MANY, handshake=100) as front:

        def go(clients: Clients) -> None:
            for number in range(2 * MANY):
                clients.connect(GREEDY, PREFIXES[number % len(PREFIXES)])
            for source in (OTHER, THIRD, OTHER, THIRD):
                assert clients.ask(source, echo) == 0
            assert clients.ask(GREEDY, echo) == 0

        at_the_other_end(link, front, go)
        front.wait_for("ended to make room for others, before its request was complete")
        front.wait_for(
            "connections ended to make room for others, before their requests were complete: .* of 10.213.58.2"
        )


def test_sessions_of_one_address_leave_a_reserve(link: Link, echo: SocketAddress) -> None:
    with chainsocks(listen=[f"{HERE}:0"], server_lines=LINES, max_sessions=MANY) as front:

        def go(clients: Clients) -> None:
            for _ in range(MANY - 2):
                assert clients.ask(GREEDY, echo) == 0
            waiting = clients.connect(GREEDY, GREETING)
            waiting.settimeout(0.5)
            with pytest.raises(TimeoutError):
                waiting.recv(2)
            assert clients.ask(OTHER, echo) == 0

        at_the_other_end(link, front, go)
        front.wait_for(r"one client has reached max_sessions \(32\) but for a reserve for others")


def test_sessions_of_one_user_leave_a_reserve(link: Link, echo: SocketAddress) -> None:
    users = {"carol": "secret", "dave": "secret"}
    with chainsocks(listen=[f"{HERE}:0"], server_lines=LINES, max_sessions=MANY, users=users, handshake=2) as front:

        def go(clients: Clients) -> None:
            def ask(source: str, user: str) -> int:
                client = clients.connect(source, b"\x05\x01\x02" + socks5_login(user, "secret") + socks5_request(echo))
                return read(client, 14)[5]

            for number in range(MANY - 2):
                assert ask((GREEDY, THIRD)[number % 2], "carol") == 0
            assert ask(THIRD, "carol") == 1
            assert ask(GREEDY, "dave") == 0

        at_the_other_end(link, front, go)
        front.wait_for("its user has as many sessions as max_sessions allows one user now")


def test_datagram_ports_of_one_address_leave_a_reserve(link: Link) -> None:
    with chainsocks(listen=[f"{HERE}:0"], server_lines=LINES) as front:

        def go(clients: Clients) -> None:
            nowhere = ("0.0.0.0", 0)
            assert [clients.ask(GREEDY, nowhere, UDP_ASSOCIATE) for _ in range(4)] == [0, 0, 0, 1]
            assert [clients.ask(OTHER, nowhere, UDP_ASSOCIATE) for _ in range(2)] == [0, 1]

        at_the_other_end(link, front, go)
        front.wait_for(r"no UDP socket: the client has 3 of 4 udp_ports, and what is left \(1\) is kept for others")
