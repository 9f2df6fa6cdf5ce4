"""Sockets through any chain, opened in the thread of `chainsocks.bridge.thread`.

Where a chain has a bare socket, that is the result. Where bytes are encrypted for a hop, by TLS or GSSAPI, the caller
gets one end of a pair of connected sockets, and a task in the thread relays between the other end and the stream. It
passes on ends, and a reset as a reset: a part is not taken for the whole. The pair is one of TCP, since callers set
options of TCP on what they get.
"""

from __future__ import annotations

import math
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import trio
from anyio.abc import ByteStream

from chainsocks.bridge.thread import background
from chainsocks.client.raw import RawStream
from chainsocks.client.raw_socket import dial_raw
from chainsocks.config.chains import Chain
from chainsocks.config.models import Timeouts
from chainsocks.observe.record import Traffic
from chainsocks.protocol.address import HostLike, PortLike
from chainsocks.relay.relay import PumpedRelay

__all__ = ["Delivery", "SocketRelay", "open_socket", "socket_pair"]


class Delivery:
    """A socket on its way from the thread, which runs `opening`, to a caller. It is there when `future` is done."""

    def __init__(self, opening: Callable[[], Awaitable[socket.socket]]) -> None:
        self._opening = opening
        self._lock = threading.Lock()
        self._is_wanted = True
        self._socket: socket.socket | None = None
        self.future = background().start(self._run)

    async def _run(self) -> None:
        opened = await self._opening()
        with self._lock:
            if self._is_wanted:
                self._socket = opened
            else:
                opened.close()

    def take(self) -> socket.socket:
        """Return the socket, which is the caller's to close."""
        if self._socket is None:
            raise RuntimeError("the socket was taken before it was opened")
        return self._socket

    def refuse(self) -> None:
        """Stop opening the socket; close it, if it is there or when it comes."""
        self.future.cancel()
        with self._lock:
            self._is_wanted = False
            if self._socket:
                self._socket.close()


async def open_socket(
    host: HostLike,
    port: PortLike,
    chain: Chain,
    timeout: float | None,
    timeouts: Timeouts | None,
    local_host: HostLike | None,
    isolation: str | None,
) -> socket.socket:
    """Connect as `chainsocks.client.raw_socket.connect_socket`, through any chain. It runs in the thread.

    Raises:
        DialError, ValueError: as `chainsocks.client.tcp.connect_tcp`.
    """
    stream = await dial_raw(host, port, chain, timeout, timeouts, local_host, isolation)
    if isinstance(stream, RawStream):
        return stream.detach()
    try:
        near, far = await trio.to_thread.run_sync(socket_pair)
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise
    background().keep(SocketRelay(near, RawStream(far), stream, (timeouts or Timeouts()).half_close))
    return near


class SocketRelay:
    """Relays between `far`, the other end of the caller's socket `near`, and `stream`, and closes these two.

    After one direction has ended, the other one has `half_close` seconds without data.
    """

    def __init__(self, near: socket.socket, far: RawStream, stream: ByteStream, half_close: float) -> None:
        self._near = near.fileno()
        self._inode = os.fstat(self._near).st_ino  # the caller may detach the socket, and wrap it
        self._far = far
        self._stream = stream
        self._relay = PumpedRelay(far, stream, Traffic(), idle=math.inf, half_close=half_close)

    async def run(self) -> None:
        """Relay to the end."""
        try:
            with trio.CancelScope() as scope:
                await self._relay.run(scope)
        finally:
            await anyio.aclose_forcefully(self._far)
            await anyio.aclose_forcefully(self._stream)

    def finish(self) -> None:
        """End the caller's side, and the relay as soon as what the caller has sent is passed on."""
        with suppress(OSError):  # it is closed, or finished
            if os.fstat(self._near).st_ino == self._inode:
                with socket.socket(fileno=os.dup(self._near)) as near:
                    near.shutdown(socket.SHUT_WR)
        self._relay.hurry()


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Return two TCP sockets of this machine that are connected to each other, the second one non-blocking.

    *Closing*: the caller closes both.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=8) as listener:
        near = socket.create_connection(listener.getsockname())
        try:
            while True:
                far, peer = listener.accept()
                if peer == near.getsockname():
                    break
                far.close()  # another program of this machine came first
        except BaseException:
            near.close()
            raise
    far.settimeout(0)
    for each in (near, far):
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far
