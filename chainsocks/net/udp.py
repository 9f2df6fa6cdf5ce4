"""UDP sockets that receive in batches, through the poller if there is one.

1. Nothing is queued here; the kernel's buffer is the only queue. A datagram that it does not take at once is not sent,
   and the caller learns that.
2. A batch is bounded, so a flood on one socket does not delay the others.
3. If a callback raises, the `run` of its own socket raises, and no other.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import trio
from trio.lowlevel import checkpoint, wait_readable

from chainsocks.egress import Egress
from chainsocks.net.poller import Poller
from chainsocks.network import OnDatagram
from chainsocks.protocol.address import SockAddr, address_of
from chainsocks.sockets import ANY_PORT, MAX_DATAGRAM, udp_socket

__all__ = ["UDPSocket", "open_udp"]

BATCH = 32
"""Datagrams that one socket delivers before others have their turn: some 300 microseconds."""


class UDPSocket:
    """A non-blocking UDP socket, which this object owns. `address` is the one that it is bound to."""

    __slots__ = ("_error", "_on_datagram", "_poller", "_queued", "_socket", "_stopped", "address", "on_close")

    def __init__(self, sock: socket.socket, poller: Poller | None) -> None:
        self._socket = sock
        self._poller = poller
        self._on_datagram: OnDatagram | None = None
        self._queued = False
        self._stopped = trio.Event()
        self._error: Exception | None = None
        self.address = address_of(sock.getsockname())
        self.on_close: Callable[[], None] | None = None
        """Called once the socket is closed."""

    def send(self, data: bytes, to: SockAddr) -> bool:
        """Send one datagram to an IP address; return False if the kernel did not take it."""
        try:
            self._socket.sendto(data, to)
        except OSError:  # no room, no route, too large, not allowed: this one is lost, the next one may get through
            return False
        return True

    async def run(self, on_datagram: OnDatagram) -> None:
        """Call `on_datagram` with each datagram that arrives, until cancelled. It must do a bounded amount of work.

        To be called once.

        Raises:
            Exception: whatever `on_datagram` raises.
        """
        if self._poller is None:
            while True:
                if self._receive_batch(on_datagram):
                    await checkpoint()
                else:
                    await wait_readable(self._socket)
        self._on_datagram = on_datagram
        self._poller.register(self._socket.fileno(), self)
        try:
            await self._stopped.wait()
        finally:
            self._on_datagram = None
        if self._error:
            raise self._error

    def close(self) -> None:
        """Close the socket; `run` must have ended."""
        if self._poller:
            self._poller.forget(self._socket.fileno())
        self._socket.close()
        if self.on_close:
            self.on_close()
            self.on_close = None

    def on_event(self, _: int) -> None:
        """Deliver what has arrived; for the poller."""
        if not self._queued:
            self._step()

    def _step(self) -> None:
        """Deliver a batch; if there may be more, queue for the next one."""
        self._queued = False
        if self._on_datagram is None or self._poller is None:
            return
        try:
            more = self._receive_batch(self._on_datagram)
        except Exception as error:  # noqa: BLE001  (raised again by `run`; here it would end the poller)
            self._on_datagram, self._error = None, error
            self._stopped.set()
            return
        if more:
            self._queued = True
            self._poller.enqueue(self._step)

    def _receive_batch(self, on_datagram: OnDatagram) -> bool:
        """Deliver up to `BATCH` datagrams; return False once there are no more."""
        receive = self._socket.recvfrom
        for _ in range(BATCH):
            try:
                data, source = receive(MAX_DATAGRAM)
            except BlockingIOError:
                return False
            except OSError:
                continue  # an ICMP error about an earlier datagram, reported once; there may be more behind it
            on_datagram(data, source[:2])
        return True


def open_udp(
    host: str, poller: Poller | None = None, ports: range = ANY_PORT, egress: Egress | None = None
) -> UDPSocket:
    """Open a UDP socket; see `chainsocks.sockets.udp_socket`.

    *Closing*: the caller closes the socket.

    Raises:
        OSError: the address is not available; with EADDRINUSE if no port is free.
    """
    return UDPSocket(udp_socket(host, ports, egress), poller)
