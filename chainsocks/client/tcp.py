"""TCP connections through a chain, out (`connect_tcp`) and in (`bind_tcp`), by the dialer that the server runs, too."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from anyio.abc import ByteStream

from chainsocks.chain.bind import Binding, bind
from chainsocks.chain.limit import Limit
from chainsocks.chain.operations import close_upstream, open_connection
from chainsocks.client.isolation import own_circuit
from chainsocks.client.network import AnyioNetwork, make_dialer
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.idn import destination_of
from chainsocks.config.models import Timeouts
from chainsocks.protocol.address import Address, HostLike, PortLike

__all__ = ["BoundPort", "bind_tcp", "connect_tcp"]


async def connect_tcp(
    host: HostLike, port: PortLike, *, chain: Chain = DIRECT, timeouts: Timeouts | None = None
) -> ByteStream:
    """Connect to `host` and `port` through `chain`, and return the stream.

    A name goes to the last hop: an international one as A-labels, any other as it is. `timeouts` are the server's own
    by default, see `chainsocks.config.models.Timeouts`.

    The stream is an ``anyio.abc.SocketStream``, directly and through any number of hops; only where a hop's GSSAPI
    protects what is sent, it is a stream around one. Nothing behind the last reply has been received from its socket.

    *Closing*: the stream is the caller's to close. Nothing is left open when this raises, or is cancelled.

    Raises:
        DialError: one of its subclasses; it names the hop, the step, the time spent and the limit.
        ValueError: `host` or `port` cannot be part of a SOCKS request.
    """
    destination = destination_of(host, port)
    chain = own_circuit(chain, destination)
    dialer = make_dialer(timeouts)
    _, upstream = await dialer.run(chain, open_connection, destination, key=destination.packed, close=close_upstream)
    return upstream.stream


async def bind_tcp(
    host: HostLike = "0.0.0.0", port: PortLike = 0, *, chain: Chain = DIRECT, timeouts: Timeouts | None = None
) -> BoundPort:
    """Have a port opened at the far end of `chain`, for one connection from `host`; this is SOCKS's BIND.

    The default host, 0.0.0.0, stands for anyone, as ``::`` does. `port` goes to the last hop as it is; most, such as
    ours, let the peer come from any. A chain without hops opens the port on this machine::

        async with await chainsocks.bind_tcp("192.0.2.21", 20, chain=chain) as bound:
            await tell_the_peer(bound.address)
            stream = await bound.accept()

    *Closing*: the port is the caller's to close. Nothing is left open when this raises, or is cancelled.

    Raises:
        DialError: one of its subclasses; it names the hop, the step, the time spent and the limit.
        ValueError: `host` or `port` cannot be part of a SOCKS request.
    """
    peer = destination_of(host, port)
    _, binding = await make_dialer(timeouts).run(own_circuit(chain, peer), bind, peer, key=peer.packed)
    return BoundPort(binding)


class BoundPort:
    """A port that `bind_tcp` opened, for one connection.

    *Closing*: leaving its ``async with`` block, or `aclose`, closes the port. The stream that `accept` returned is the
    caller's, and stays open.
    """

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self.address = binding.address
        """Where the peer has to connect to. Its host is a name or zeros where a hop does not say more."""
        self.peer: Address | None = None
        """The address of the peer, once `accept` has returned."""

    async def accept(self) -> ByteStream:
        """Wait for the peer, at most `Timeouts.bind` seconds, and return the stream, which is the caller's to close.

        The port takes one connection. When this raises, or is cancelled, the port is closed.

        Raises:
            DialError: one of its subclasses, `DialTimeout` when no peer has connected in time.
        """
        with Limit(AnyioNetwork()) as limit:
            upstream = await self._binding.accept(limit)
        self.peer = upstream.bound
        return upstream.stream

    async def aclose(self) -> None:
        """Close the port."""
        await self._binding.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
