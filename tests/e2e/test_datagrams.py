"""Datagrams through whole servers: a question to a name server, an echo at a steady rate, dante among the hops.

The 100,000 datagrams of a real measurement are ``python -m benchmarks.datagrams``.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import permutations

import pytest

from benchmarks.datagrams import echoing, exchange
from chainsocks.protocol.address import Address
from tests.e2e.programs import PATIENCE, SocketAddress
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.wire import GREETING, UDP_ASSOCIATE, connect, read, read_socks5_reply, socks5_request

RATE, COUNT = 1000, 300

QUESTION = struct.pack(">6H", 0x1234, 0x0100, 1, 0, 0, 0) + b"\x07example\x03org\x00" + struct.pack(">2H", 1, 1)
ANSWER = b"\xc0\x0c" + struct.pack(">2HIH", 1, 1, 60, 4) + bytes((192, 0, 2, 80))


@pytest.fixture(scope="module")
def echo() -> Iterator[Address]:
    with echoing() as address:
        yield address


@contextmanager
def name_server() -> Iterator[SocketAddress]:
    """Answer one question."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock, ThreadPoolExecutor() as threads:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(PATIENCE)

        def answer() -> None:
            question, source = sock.recvfrom(512)
            head = question[:2] + struct.pack(">5H", 0x8180, 1, 1, 0, 0)
            sock.sendto(head + question[12:] + ANSWER, source)

        done = threads.submit(answer)
        yield sock.getsockname()
        done.result()


def ask(front: Chainsocks, server: SocketAddress) -> bytes:
    """Put the question, by bytes of our own making; return the answer, which has to come from whom it was put to."""
    with connect(front.address) as control, socket.socket(type=socket.SOCK_DGRAM) as sock:
        control.sendall(GREETING + socks5_request(("0.0.0.0", 0), UDP_ASSOCIATE))
        assert read(control, 2) == b"\x05\x00"
        code, relay = read_socks5_reply(control)
        assert code == 0
        sock.settimeout(PATIENCE)
        sock.bind((control.getsockname()[0], 0))
        header = b"\0\0\0" + socks5_request(server)[3:]
        to = socket.inet_ntoa(relay[:4]), int.from_bytes(relay[4:], "big")
        sock.sendto(header + QUESTION, to)
        answer, source = sock.recvfrom(512)
        assert source == to
        assert answer.startswith(header)
        return answer[len(header) :]


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_question_to_a_name_server(own_hops: list[Chainsocks], count: int) -> None:
    with name_server() as server, chainsocks(*(hop.url for hop in own_hops[:count])) as front:
        answer = ask(front, server)
    assert answer[:2] == QUESTION[:2]
    assert answer.endswith(QUESTION[12:] + ANSWER)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_steady_rate_loses_nothing(own_hops: list[Chainsocks], echo: Address, count: int) -> None:
    with chainsocks(*(hop.url for hop in own_hops[:count])) as front:
        result = exchange(Address(*front.address), echo, COUNT, RATE)
        assert result.received == result.sent
        line = front.wait_for("command=UDP_ASSOCIATE").string
    assert f"up={COUNT * 64} down={COUNT * 64} " in line
    assert 'outcome="finished"' in line


ORDERS = [("danted",), *permutations(("own", "danted")), *sorted(set(permutations(("own", "own", "danted"))))]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_dante_among_the_hops(own_hops: list[Chainsocks], danted: str, echo: Address, order: tuple[str, ...]) -> None:
    own = iter(own_hops)
    urls = [danted if name == "danted" else next(own).url for name in order]
    with chainsocks(*urls) as front:
        result = exchange(Address(*front.address), echo, 200, RATE)
        assert result.received == result.sent
