"""A SOCKS5 hop that reaches every destination: it is itself the server there, and notes what it was asked for."""

from __future__ import annotations

import ipaddress
import select
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from chainsocks.protocol.datagram import header_size
from tests.e2e.programs import PATIENCE, SocketAddress
from tests.e2e.targets import Handler, serving
from tests.e2e.wire import read

__all__ = ["AnsweringHop", "answer_http", "answering_hop", "echoing_hop"]


@dataclass
class AnsweringHop:
    """Where it listens, and where it was asked to connect to, in order."""

    address: SocketAddress
    asked: list[str] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        """Itself as a hop."""
        return f"socks5://{self.address[0]}:{self.address[1]}"

    def wait_for(self, destination: str) -> None:
        """Wait until it has been asked for a destination."""
        with self.news:
            assert self.news.wait_for(lambda: destination in self.asked, PATIENCE), self.asked


def answer_http(sock: socket.socket) -> None:
    """Be a web server at any address, whose page says nothing but a greeting."""
    request = b""
    while b"\r\n\r\n" not in request:
        data = sock.recv(65536)
        if not data:
            return
        request += data
    body = b"greetings\n"
    sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def _read_destination(sock: socket.socket) -> str:
    """Read a request, which has to be a CONNECT: other commands are not supported."""
    _, methods = read(sock, 2)
    read(sock, methods)
    sock.sendall(b"\x05\x00")
    _, command, _, kind = read(sock, 4)
    if kind == 3:
        [size] = read(sock, 1)
        host = read(sock, size).decode()
    else:
        host = str(ipaddress.ip_address(read(sock, 4 if kind == 1 else 16)))
    port = int.from_bytes(read(sock, 2), "big")
    if command != 1:
        sock.sendall(b"\x05\x07\x00\x01" + bytes(6))
        raise EOFError
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Relay until both ends have ended."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=pump, args=(other, one), daemon=True)
    back.start()
    pump(one, other)
    back.join(PATIENCE)


@contextmanager
def answering_hop(
    answer: Handler = answer_http, host: str = "127.0.0.1", behind: Mapping[int, SocketAddress] | None = None
) -> Iterator[AnsweringHop]:
    """Run such a hop. A destination whose port is 1 refuses; `answer` is the server at all others.

    `behind` are real servers, by the ports that they have at every destination.
    """

    def handle(sock: socket.socket) -> None:
        destination = _read_destination(sock)
        with hop.news:
            hop.asked.append(destination)
            hop.news.notify_all()
        refuses = destination.endswith(":1")
        sock.sendall(bytes((5, 5 if refuses else 0, 0, 1)) + bytes(6))
        if refuses:
            return
        if server := (behind or {}).get(int(destination.rpartition(":")[2])):
            with socket.create_connection(server, PATIENCE) as there:
                _relay(sock, there)
        else:
            answer(sock)

    with serving(handle, host) as address:
        hop = AnsweringHop(address)
        yield hop


@contextmanager
def echoing_hop(host: str = "127.0.0.1") -> Iterator[AnsweringHop]:
    """Run a hop for UDP ASSOCIATE, whose every destination answers in capitals."""

    def handle(sock: socket.socket) -> None:
        read(sock, 3)
        sock.sendall(b"\x05\x00")
        *_, kind = read(sock, 4)
        read(sock, 6 if kind == 1 else 18)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as relay:
            relay.bind((host, 0))
            packed = socket.inet_pton(family, host) + relay.getsockname()[1].to_bytes(2, "big")
            sock.sendall(bytes((5, 0, 0, 4 if ":" in host else 1)) + packed)
            while sock not in (ready := select.select([sock, relay], [], [], PATIENCE)[0]):
                assert ready, "no datagrams, and no end"
                data, source = relay.recvfrom(65536)
                size = header_size(data)
                relay.sendto(data[:size] + data[size:].upper(), source)

    with serving(handle, host) as address:
        yield AnsweringHop(address)
