"""TCP connections through a chain, out (`connect_tcp`) and in (`bind_tcp`), by the dialer that the server runs, too."""

from __future__ import annotations

import ssl
from types import TracebackType
from typing import Self

import anyio
from anyio import BrokenResourceError
from anyio.abc import ByteStream

from chainsocks.chain.bind import Binding, bind
from chainsocks.chain.limit import Limit
from chainsocks.chain.operations import close_upstream, open_connection
from chainsocks.chain.trip import Trip
from chainsocks.client.arguments import TlsLike, checked_chain, checked_local_host, checked_tls
from chainsocks.client.call import Call
from chainsocks.client.network import AnyioNetwork
from chainsocks.client.over import Over
from chainsocks.client.stream import ChainStream
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.idn import destination_of
from chainsocks.config.models import Timeouts
from chainsocks.errors import Cause, DestinationTlsError, Step
from chainsocks.net.tls import TlsError, TlsStream
from chainsocks.protocol.address import Address, HostLike, PortLike

__all__ = ["BoundPort", "bind_tcp", "connect_tcp"]


async def connect_tcp(
    host: HostLike,
    port: PortLike,
    *,
    chain: Chain = DIRECT,
    timeout: float | None = None,
    timeouts: Timeouts | None = None,
    tls: TlsLike | None = None,
    server_hostname: str | None = None,
    over: ByteStream | None = None,
    local_host: HostLike | None = None,
    isolation: str | None = None,
) -> ChainStream:
    """Connect to `host` and `port` through `chain`, and return the stream.

    A name goes to the last hop: an international one as A-labels, any other as it is. Nothing behind the last reply has
    been received from the stream's socket.

    Args:
        host: of the destination.
        port: of the destination.
        chain: the way; without it the connection is direct.
        timeout: seconds for all of it; None for the limits of `timeouts` alone.
        timeouts: limits of the steps, the server's own by default, see `chainsocks.config.models.Timeouts`. TLS with
            the destination has that of a hop.
        tls: speak TLS with the destination.
        server_hostname: the name that its certificate has to be for, and that is sent as SNI; `host` by default.
        over: a stream to the first hop, in place of a new TCP connection to it; without hops, to the destination. It
            belongs to this call from then on, which closes it on failure, too.
        local_host: the IP address of this machine that the connection leaves from.
        isolation: calls with different texts share no circuit, see `chainsocks.client.isolation.own_circuit`.

    *Closing*: the stream is the caller's to close. Nothing is left open when this raises, or is cancelled.

    Raises:
        DialError: one of its subclasses; it names the hop, the step, the time spent and the limit.
        ValueError: an argument is not what its name says, or `host` or `port` cannot be part of a SOCKS request.
    """
    destination = destination_of(host, port)
    context = checked_tls(tls, server_hostname)
    network = _network(chain, over, local_host)
    call = Call(chain, timeouts, timeout, destination, isolation=isolation, network=network)
    dialer = call.dialer
    trip, upstream = await dialer.run(
        call.chain, open_connection, destination, key=destination.packed, close=close_upstream
    )
    stream = upstream.stream
    if context:
        seconds = call.left(dialer.timeouts.hop)
        stream = await _start_tls(trip, stream, context, server_hostname or destination.host, seconds)
    return ChainStream(stream, trip.route, upstream.bound, dialer.timeouts.reply)


def _network(chain: Chain, over: ByteStream | None, local_host: HostLike | None) -> AnyioNetwork:
    if over is None:
        return AnyioNetwork(checked_local_host(local_host))
    if local_host is not None:
        raise ValueError("over is a connection that is open already, and local_host is for a new one; give one of them")
    if checked_chain(chain).route is None:
        raise ValueError("over is one stream, and the chain has a choice of ways; give a chain without groups")
    return Over(over)


async def _start_tls(trip: Trip, stream: ByteStream, context: ssl.SSLContext, name: str, seconds: float) -> TlsStream:
    """Speak TLS with the destination from now on; close `stream` on failure."""
    try:
        with Limit(trip.network) as limit:
            trip.go_on(limit)
            trip.allow(seconds, None)
            trip.enter(None, Step.TLS)
            secured = TlsStream(stream, context, name, remedy="load one into the SSLContext of tls=")
            try:
                await secured.handshake()
            except TlsError as error:
                raise trip.error(DestinationTlsError, str(error), error.cause, at_destination=True) from None
            except BrokenResourceError:
                problem = "the connection was reset"
                raise trip.error(DestinationTlsError, problem, Cause.RESET, at_destination=True) from None
            return secured
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise


async def bind_tcp(
    host: HostLike = "0.0.0.0",
    port: PortLike = 0,
    *,
    chain: Chain = DIRECT,
    timeout: float | None = None,
    timeouts: Timeouts | None = None,
) -> BoundPort:
    """Have a port opened at the far end of `chain`, for one connection from `host`; this is SOCKS's BIND.

    `timeout` bounds the opening of the port, in seconds; see `BoundPort.accept` for the wait.

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
    call = Call(chain, timeouts, timeout, peer)
    trip, binding = await call.dialer.run(call.chain, bind, peer, key=peer.packed)
    return BoundPort(binding, trip)


class BoundPort:
    """A port that `bind_tcp` opened, for one connection.

    *Closing*: leaving its ``async with`` block, or `aclose`, closes the port. The stream that `accept` returned is the
    caller's, and stays open.
    """

    def __init__(self, binding: Binding, trip: Trip) -> None:
        self._binding = binding
        self._route = trip.route
        self._farewell = trip.timeouts.reply
        self.address = binding.address
        """Where the peer has to connect to. Its host is a name or zeros where a hop does not say more."""
        self.peer: Address | None = None
        """The address of the peer, once `accept` has returned."""

    async def accept(self) -> ChainStream:
        """Wait for the peer, at most `Timeouts.bind` seconds, and return the stream, which is the caller's to close.

        The port takes one connection. When this raises, or is cancelled, the port is closed.

        Raises:
            DialError: one of its subclasses, `DialTimeout` when no peer has connected in time.
        """
        with Limit(AnyioNetwork()) as limit:
            upstream = await self._binding.accept(limit)
        self.peer = upstream.bound
        return ChainStream(upstream.stream, self._route, upstream.bound, self._farewell)

    async def aclose(self) -> None:
        """Close the port."""
        await self._binding.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
