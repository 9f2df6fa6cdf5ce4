"""What `udp_filter` is for: TFTP, whose server answers from a new port, and the questions of STUN."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from tests.e2e.programs import PATIENCE, SocketAddress
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.wire import GREETING, UDP_ASSOCIATE, connect, read, read_socks5_reply, socks5_request

HOST, OTHER_HOST = "127.0.0.1", "127.0.0.2"
FILE = bytes(range(256)) * 5
BLOCK = 512  # RFC 1350
RRQ, DATA, ACK = 1, 3, 4
SAME, OTHER_PORT, OTHER_ADDRESS = b"same", b"other port", b"other address"
"""What a STUN server can be asked to answer from (RFC 5780 section 4.3)."""


def udp(host: str = HOST) -> socket.socket:
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.settimeout(PATIENCE)
    return sock


def serve_tftp(sock: socket.socket) -> None:
    """Send `FILE` to the first client that wants it, from a port of its own (RFC 1350 section 4)."""
    request, client = sock.recvfrom(600)
    assert request == struct.pack(">H", RRQ) + b"boot.img\0octet\0"
    with udp() as transfer:
        for number in range(len(FILE) // BLOCK + 1):
            block = FILE[number * BLOCK : (number + 1) * BLOCK]
            transfer.sendto(struct.pack(">HH", DATA, number + 1) + block, client)
            assert transfer.recv(100) == struct.pack(">HH", ACK, number + 1)


def serve_stun(sock: socket.socket) -> None:
    """Answer three questions, each from where it is asked to."""
    with udp() as another_port, udp(OTHER_HOST) as another_address:
        answering = {SAME: sock, OTHER_PORT: another_port, OTHER_ADDRESS: another_address}
        for _ in answering:
            question, client = sock.recvfrom(100)
            answering[question].sendto(question, client)


class Client:
    """A client with an association."""

    def __init__(self, control: socket.socket, sock: socket.socket, relay: SocketAddress) -> None:
        self.control, self._socket, self._relay = control, sock, relay

    def send(self, data: bytes, to: SocketAddress) -> None:
        self._socket.sendto(b"\0\0\0" + socks5_request(to)[3:] + data, self._relay)

    def receive(self) -> tuple[bytes, SocketAddress]:
        datagram = self._socket.recv(2000)
        assert datagram[:4] == b"\0\0\0\x01"
        return datagram[10:], (socket.inet_ntoa(datagram[4:8]), int.from_bytes(datagram[8:10], "big"))


@contextmanager
def associated(front: Chainsocks) -> Iterator[Client]:
    with connect(front.address) as control, udp(control.getsockname()[0]) as sock:
        control.sendall(GREETING + socks5_request(("0.0.0.0", 0), UDP_ASSOCIATE))
        assert read(control, 2) == b"\x05\x00"
        code, relay = read_socks5_reply(control)
        assert code == 0
        port = int.from_bytes(relay[-2:], "big")
        yield Client(control, sock, (front.address[0], port))


@contextmanager
def serving(serve: Callable[[socket.socket], None], filter_: str) -> Iterator[tuple[Chainsocks, Client, SocketAddress]]:
    """Run a server of datagrams, and a client of ours with an association."""
    with ExitStack() as stack:
        sock = stack.enter_context(udp())
        done = stack.enter_context(ThreadPoolExecutor()).submit(serve, sock)
        tables = ["[chains.direct]", f'udp_filter = "{filter_}"']
        front = stack.enter_context(chainsocks(tables=tables))
        client = stack.enter_context(associated(front))
        yield front, client, sock.getsockname()
        done.result()


@pytest.mark.parametrize("filter_", ["address", "any"])
def test_a_file_by_tftp(filter_: str) -> None:
    with serving(serve_tftp, filter_) as (_, client, server):
        client.send(struct.pack(">H", RRQ) + b"boot.img\0octet\0", server)
        got = b""
        number, size = 0, BLOCK
        while size == BLOCK:
            data, transfer = client.receive()
            assert transfer[0] == server[0]
            assert transfer[1] != server[1]
            number, size = number + 1, len(data) - 4
            assert data[:4] == struct.pack(">HH", DATA, number)
            got += data[4:]
            client.send(struct.pack(">HH", ACK, number), transfer)
    assert got == FILE


@pytest.mark.parametrize(
    ("filter_", "heard"),
    [
        ("address-and-port", [SAME]),
        ("address", [OTHER_PORT, SAME]),
        ("any", [OTHER_PORT, OTHER_ADDRESS, SAME]),
    ],
)
def test_what_stun_finds_out(filter_: str, heard: list[bytes]) -> None:
    with serving(serve_stun, filter_) as (front, client, server):
        for question in (OTHER_PORT, OTHER_ADDRESS, SAME):  # the last one is answered in any case
            client.send(question, server)
        got = [client.receive() for _ in heard]
        name = client.control.getsockname()
        client.control.close()
        line = front.session(name)
    assert [data for data, _ in got] == heard
    assert {data: origin[0] for data, origin in got} == {
        data: OTHER_HOST if data == OTHER_ADDRESS else HOST for data in heard
    }
    dropped = re.search(r"dropped: (\d) from strangers", line)
    assert (int(dropped[1]) if dropped else 0) == 3 - len(heard)
