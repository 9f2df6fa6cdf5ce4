"""What chains, relays and sessions need of the network: connects, lookups, datagrams, the clock and cancel scopes.

The server implements `Network` on trio (`chainsocks.server.network`), the library on anyio
(`chainsocks.client.network`), and tests in memory.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Protocol, Self

from anyio.abc import ByteStream, SocketAttribute

from chainsocks.egress import Egress
from chainsocks.protocol.address import Address, SockAddr

__all__ = ["CancelScope", "DatagramSocket", "Network", "OnDatagram", "PortListener", "Rest", "reset_on_close"]

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for 0 seconds

OnDatagram = Callable[[bytes, tuple[str, int]], None]
"""Callback for a datagram that has arrived, with the host and port that it came from."""

Rest = Callable[[], Awaitable[list[Address]]]
"""Waits for all addresses of a name, where only some were known at first; empty if they cannot be found."""


class CancelScope(Protocol):
    """What trio's and anyio's cancel scopes have in common."""

    deadline: float

    @property
    def cancelled_caught(self) -> bool:
        """Whether the block was cut short."""

    def cancel(self) -> None:
        """Cut the block short."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...


class PortListener(Protocol):
    """A TCP port that a peer can connect to."""

    @property
    def address(self) -> Address:
        """Where it listens."""

    async def accept(self) -> tuple[ByteStream, Address]:
        """Wait for a connection and return it with its peer's address, or raise `OSError`."""

    async def aclose(self) -> None:
        """Close the port."""


class DatagramSocket(Protocol):
    """A UDP socket."""

    address: Address

    def send(self, data: bytes, to: SockAddr) -> bool:
        """Send one datagram; False when the kernel did not take it."""

    async def run(self, on_datagram: OnDatagram) -> None:
        """Call `on_datagram` with each datagram that arrives, until cancelled."""

    def close(self) -> None:
        """Close the socket."""


class Network(Protocol):
    """The network and the clock. Addresses are IP addresses unless a method says otherwise."""

    async def open_tcp(self, address: Address, egress: Egress | None = None) -> ByteStream:
        """Connect to an IP address, as `egress` says if given, or to a unix socket; or raise `OSError`."""

    async def resolve(self, address: Address, client: str = "") -> list[Address]:
        """Resolve a name on this machine and return its addresses, best first, or raise `OSError`.

        It is a `socket.gaierror` if the name has none. Lookups are shared out fairly between clients.
        """

    def rest_of(self, address: Address) -> Rest | None:
        """Return what waits for the other addresses of a name that was resolved just now; None if there are none."""

    def forget(self, address: Address) -> None:
        """Forget the addresses of a name, since none of them could be connected to."""

    async def name_of(self, address: Address, client: str = "") -> str:
        """Resolve an IP address to a name on this machine, or raise `OSError`."""

    async def listen(self, address: Address, egress: Egress | None = None) -> PortListener:
        """Listen on a local IP address, on a port of the kernel's choice for port 0, or raise `OSError`."""

    def open_udp(self, host: str, ports: range = ..., egress: Egress | None = None) -> DatagramSocket:
        """Open a UDP socket bound to a local IP address and a free one of `ports`, or raise `OSError`.

        `host` is an `Address.zoned`. `egress` has the interface and the mark.
        """

    def local_address(self, peer: Address, egress: Egress | None = None) -> Address:
        """Return the local address that the kernel would use to reach `peer`, or raise `OSError`."""

    def open_scope(self, deadline: float) -> CancelScope:
        """Make a cancel scope of the async library that runs; `deadline` is on the clock of `now`."""

    def now(self) -> float:
        """Return the time on that library's clock, in seconds."""


def reset_on_close(stream: ByteStream) -> None:
    """Make closing reset the connection, so that the peer cannot mistake a cut stream for a complete one.

    It works on wrapped streams too, if the innermost one has a socket.
    """
    sock = stream.extra(SocketAttribute.raw_socket, None)
    if sock is not None:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        except OSError:
            pass  # closed already, or a kind of socket without resets
