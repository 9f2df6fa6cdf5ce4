"""Clients that keep a server busy, in a process of their own that takes as little CPU as it can.

1. Each holds a number of connections, and opens a new one, with a pause, for each that the server ends. With a pace, it
   opens so many a second from its beginning on.
2. A connection says all that it ever says at once, and listens until the server ends it.
3. For UDP, each connection is an association, and names new destinations again and again.

A flood begins when so many were opened, and ends with standard input.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.lab import ATTACKER, SILENT
from benchmarks.names import DEAD
from chainsocks.protocol.address import Address, parse_address
from chainsocks.protocol.datagram import encode_header
from chainsocks.server.file_limit import raise_limit
from chainsocks.tools.bench.child import open_child, say_ready

__all__ = ["Flood", "message", "open_flood"]

TICK = 0.05
"""Seconds between two turns, in which connections are opened."""

AT_FIRST, LATER = 100, 10
"""Connections to open in a turn, at first and once all are open."""

NAMES = 8
"""Destinations of each association."""

AGAIN = 20
"""Turns between two datagrams to the same destination; the associations take turns."""

NO_LOGIN, WITH_LOGIN = b"\x05\x01\x00", b"\x05\x01\x02"


class Flood(StrEnum):
    """What a connection of a flood does."""

    NAMES = "names"
    """It asks for a dead name."""
    LOGINS = "logins"
    """It logs in with a wrong password."""
    SILENT = "silent"
    """It says nothing."""
    HALF_GREETING = "half a greeting"
    HALF_LOGIN = "half a login"
    HALF_REQUEST = "half a request"
    NO_ANSWER = "silent destination"
    """It asks for a destination that does not answer."""
    SESSIONS = "sessions"
    """It asks for the echo, and leaves."""
    UDP = "UDP"
    """It has an association, and sends datagrams to dead names."""


def message(flood: Flood, number: int, echo: Address) -> bytes:
    """Return what the connection of this number says."""
    match flood:
        case Flood.NAMES:
            return NO_LOGIN + _request(Address(f"n{number}.{DEAD}", 80))
        case Flood.LOGINS:
            return WITH_LOGIN + _login(b"known", b"wrong %d" % number)
        case Flood.SILENT:
            return b""
        case Flood.HALF_GREETING:
            return WITH_LOGIN[:2]
        case Flood.HALF_LOGIN:
            return WITH_LOGIN + _login(b"known", b"wrong")[:-2]
        case Flood.HALF_REQUEST:
            return NO_LOGIN + _request(Address(f"n{number}.{DEAD}", 80))[:-3]
        case Flood.NO_ANSWER:
            return NO_LOGIN + _request(Address(SILENT, 80))
        case Flood.SESSIONS:
            return NO_LOGIN + _request(echo)
        case Flood.UDP:
            return NO_LOGIN + _request(Address("0.0.0.0", 0), command=3)


def _request(address: Address, command: int = 1) -> bytes:
    return bytes((5, command)) + encode_header(address)[2:]


def _login(name: bytes, password: bytes) -> bytes:
    return b"\x01" + bytes((len(name),)) + name + bytes((len(password),)) + password


@contextmanager
def open_flood(
    flood: Flood, server: Address, echo: Address, connections: int, pace: float | None = None
) -> Iterator[int]:
    """Run a flood with so many connections at a time; yield its process when so many were opened.

    With a `pace` in connections a second, that is the rate from the beginning, and the process is yielded at once.
    """
    words = [flood.name, str(server), str(echo), str(connections), *([f"{pace:g}"] if pace else [])]
    with open_child("benchmarks.flooders", *words) as child:
        yield child.pid


@dataclass(slots=True)
class _Connection:
    sock: socket.socket
    number: int
    heard: bytes = b""
    datagrams: socket.socket | None = None

    def close(self) -> None:
        self.sock.close()
        if self.datagrams:
            self.datagrams.close()


class _Flooder:
    def __init__(self, flood: Flood, server: Address, echo: Address, connections: int, pace: float | None) -> None:
        self._flood = flood
        self._server = server.host, server.port
        self._echo = echo
        self._wanted = connections
        self._pace = pace
        self._opened = 0
        self._open: dict[int, _Connection] = {}
        self._poll = select.epoll()

    def run(self, ready: Callable[[], None]) -> None:
        self._poll.register(sys.stdin, select.EPOLLIN)
        at_first, next_turn, turns, due = self._pace is None, time.monotonic(), 0, 0.0
        per_turn = LATER if self._pace is None else self._pace * TICK
        if not at_first:
            ready()
        while True:
            if time.monotonic() >= next_turn:
                next_turn += TICK
                turns += 1
                due = AT_FIRST if at_first else due % 1 + per_turn
                for _ in range(min(int(due), self._wanted - len(self._open))):
                    self._connect()
                if at_first and self._opened >= self._wanted:
                    at_first, due = False, 0.0
                    ready()
                if self._flood is Flood.UDP:
                    self._send_datagrams(turns)
            for fd, events in self._poll.poll(max(0.0, next_turn - time.monotonic())):
                if fd == sys.stdin.fileno():
                    if not os.read(fd, 100):
                        self._break_off()
                        return
                else:
                    self._handle(self._open[fd], events)

    def _break_off(self) -> None:
        """Reset all connections: their ports are free for the next flood then, which needs thousands again."""
        for connection in self._open.values():
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    def _connect(self) -> None:
        sock = socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((ATTACKER, 0))
        sock.connect_ex(self._server)
        self._open[sock.fileno()] = _Connection(sock, self._opened)
        self._opened += 1
        self._poll.register(sock, select.EPOLLOUT)

    def _handle(self, connection: _Connection, events: int) -> None:
        fd = connection.sock.fileno()
        try:
            if events & select.EPOLLOUT:
                connection.sock.send(message(self._flood, connection.number, self._echo))
                self._poll.modify(fd, select.EPOLLIN | select.EPOLLRDHUP)
                return
            data = connection.sock.recv(4096)
            connection.heard += data
            if data and not self._has_enough(connection):
                return
        except BlockingIOError:
            return
        except OSError:
            pass  # the server has ended it
        del self._open[fd]
        connection.close()

    def _has_enough(self, connection: _Connection) -> bool:
        """Tell whether a connection has heard all that it wants, and open the other half of an association."""
        granted = len(connection.heard) >= len(b"\x05\x00") + 10
        if granted and self._flood is Flood.UDP and connection.datagrams is None:
            connection.datagrams = socket.socket(type=socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            connection.datagrams.bind((ATTACKER, 0))
            connection.datagrams.connect((self._server[0], int.from_bytes(connection.heard[10:12], "big")))
        return granted and self._flood is Flood.SESSIONS

    def _send_datagrams(self, turns: int) -> None:
        """Send for the associations whose turn it is."""
        for connection in self._open.values():
            if connection.datagrams and connection.number % AGAIN == turns % AGAIN:
                for number in range(NAMES):
                    header = encode_header(Address(f"u{connection.number}-{number}.{DEAD}", 80))
                    connection.datagrams.send(header + b"a few bytes")


IP_BIND_ADDRESS_NO_PORT = 24
"""Ports are chosen by the connect, as without a bind, so that there are enough of them (ip(7))."""


def main(flood: str, server: str, echo: str, connections: str, pace: str = "") -> None:
    """Run a flood until standard input ends."""
    raise_limit()
    limits = int(connections), float(pace) if pace else None
    flooder = _Flooder(Flood[flood], parse_address(server), parse_address(echo), *limits)
    flooder.run(say_ready)


if __name__ == "__main__":
    main(*sys.argv[1:])
