"""UDP sockets that hand on what arrives in batches, through the poller where there is one.

1. Nothing is queued here beyond what the kernel holds. What it cannot take at once is not sent, and the caller is told.
2. A batch is bounded: a flood on one socket does not keep the others waiting.
3. A callback that raises ends the `run` of its own socket, and nobody else's.
"""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Callable

import trio
from trio.lowlevel import checkpoint, wait_readable

from chainsocks.net.poller import Poller
from chainsocks.protocol.address import address_of

__all__ = ["ANY_PORT", "Received", "UDPSocket", "open_udp"]

BATCH = 32
"""Datagrams that one socket may hand on before the others have their turn: some 300 microseconds."""

LARGEST = 65536
"""Bytes: more than any datagram has."""

BUFFER = 1024 * 1024
"""Bytes of receive buffer to ask for: a burst waits there (Linux grants what net.core.rmem_max says)."""

ANY_PORT = range(1)
"""Whichever the kernel picks."""

_NON_BLOCKING = getattr(socket, "SOCK_NONBLOCK", 0)

Received = Callable[[bytes, tuple[str, int]], None]
"""Is called with each datagram, and the host and port that it came from."""


class UDPSocket:
    """A non-blocking UDP socket, which it owns from now on. `address` is the one that it is bound to."""

    __slots__ = ("_error", "_poller", "_queued", "_received", "_socket", "_stopped", "address")

    def __init__(self, sock: socket.socket, poller: Poller | None) -> None:
        self._socket = sock
        self._poller = poller
        self._received: Received | None = None
        self._queued = False
        self._stopped = trio.Event()
        self._error: Exception | None = None
        self.address = address_of(sock.getsockname())

    def send(self, data: bytes, to: tuple[str, int]) -> bool:
        """Send one datagram to an IP address; False when it could not leave."""
        try:
            self._socket.sendto(data, to)
        except OSError:  # no room, no route, too large, not allowed: this datagram is lost, and the next may not be
            return False
        return True

    async def run(self, received: Received) -> None:
        """Hand on all that arrives, until cancelled; once in a socket's life. `received` must not do unbounded work.

        Raises:
            Exception: what `received` raised.
        """
        if self._poller is None:
            while True:
                if self._hand_on(received):
                    await checkpoint()
                else:
                    await wait_readable(self._socket)
        self._received = received
        self._poller.register(self._socket.fileno(), self._event)
        try:
            await self._stopped.wait()
        finally:
            self._received = None
        if self._error:
            raise self._error

    def close(self) -> None:
        """Close the socket; its `run` has ended by then."""
        if self._poller:
            self._poller.forget(self._socket.fileno())
        self._socket.close()

    def _event(self, _: int) -> None:
        if not self._queued:
            self._step()

    def _step(self) -> None:
        """Hand on a batch; if that was not all, queue for the next one."""
        self._queued = False
        if self._received is None or self._poller is None:
            return
        try:
            more = self._hand_on(self._received)
        except Exception as error:  # noqa: BLE001  (it is raised where `run` waits: here it would end the poller)
            self._received, self._error = None, error
            self._stopped.set()
            return
        if more:
            self._queued = True
            self._poller.enqueue(self._step)

    def _hand_on(self, received: Received) -> bool:
        """Hand on a batch of what has arrived; False when that was all."""
        receive = self._socket.recvfrom
        for _ in range(BATCH):
            try:
                data, source = receive(LARGEST)
            except BlockingIOError:
                return False
            except OSError:
                continue  # what became of a datagram of ours, told once; there may be more behind it
            received(data, source[:2])
        return True


def open_udp(host: str, poller: Poller | None = None, ports: range = ANY_PORT) -> UDPSocket:
    """Open a socket that is bound to an IP address of this machine and, from a random place on, a free one of `ports`.

    *Closing*: the socket is the caller's.

    Raises:
        OSError: it cannot be had; EADDRINUSE when none of the ports is free.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | _NON_BLOCKING)
    try:
        sock.settimeout(0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
        _bind(sock, host, ports)
    except BaseException:
        sock.close()
        raise
    return UDPSocket(sock, poller)


def _bind(sock: socket.socket, host: str, ports: range) -> None:
    start = secrets.randbelow(len(ports))
    for port in (*ports[start:], *ports[:start]):
        try:
            sock.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return
    raise OSError(errno.EADDRINUSE, "no port is free")
