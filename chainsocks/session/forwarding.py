"""A plain HTTP request on its open way: pass it on, and its response back, and say what has come of that."""

from __future__ import annotations

from collections.abc import Callable

from anyio.abc import ByteStream

from chainsocks.chain.operations import Upstream
from chainsocks.errors import Cause, DialError, DialTimeout, Place, ProtocolError, ResponseError, Step
from chainsocks.limits.bandwidth import Share
from chainsocks.net.tls import TlsStream
from chainsocks.observe.record import Traffic
from chainsocks.protocol.address import Address
from chainsocks.protocol.http_exchange import HttpExchange
from chainsocks.protocol.http_proxy import HttpServerHandshake
from chainsocks.relay.http_relay import HttpRelay
from chainsocks.relay.idle import Scope
from chainsocks.session.lingering_close import linger_and_close
from chainsocks.session.outcome import SessionOver, relay_over
from chainsocks.session.relay_limits import RelayLimits

__all__ = ["END", "Forwarding"]

END = 1
"""Seconds for a destination that was sent ``Connection: close``, and for the hops, to end a way with TLS."""


class Forwarding:
    """The request of `handshake`, whose `exchange` goes over `upstream` to `destination`. `relay` closes `share`."""

    __slots__ = ("_began", "_exchange", "_handshake", "_idle", "_now", "_place", "_upstream", "relay")

    def __init__(
        self,
        client: ByteStream,
        upstream: Upstream,
        handshake: HttpServerHandshake,
        exchange: HttpExchange,
        destination: Address,
        traffic: Traffic,
        share: Share | None,
        limits: RelayLimits,
        via: str | None,
        now: Callable[[], float],
    ) -> None:
        exchange.via = via or ""
        idle, half_close = limits
        self.relay = HttpRelay(client, upstream.stream, traffic, exchange, share, idle=idle, half_close=half_close)
        self._upstream = upstream
        self._handshake = handshake
        self._exchange = exchange
        self._idle = idle
        self._place = Place(None, destination, Step.RESPONSE)
        self._now = now
        self._began = now()

    async def run(self, scope: Scope) -> None:
        """Pass both messages on, until the response is complete or anything breaks; for `scope` see `Relay.run`.

        Raises:
            ResponseError: nothing of a response has come; the client is owed a refusal.
            ProtocolError: nothing of a response has come, and the request is malformed; the client is owed an answer.
        """
        await self.relay.run(scope, self._handshake.trailing_data, self._upstream.trailing_data)
        bad_request, bad_response = self.relay.bad_request, self.relay.bad_response
        if self._exchange.has_request and self._exchange.has_response:
            await self._end_tls()
        if self._exchange.has_answer:
            return
        if bad_request:
            self._handshake.refuse_body(bad_request)
            raise bad_request
        if bad_response:
            elapsed = self._now() - self._began
            problem, cause = str(bad_response), bad_response.cause
            raise ResponseError(
                self._place, problem, cause, elapsed=elapsed, limit=self._idle, at_destination=True
            ) from None

    async def _end_tls(self) -> None:
        """End the TLS of the hops. A response may be complete, by its length, before its connection ends."""
        upstream = self._upstream.stream
        if isinstance(upstream, TlsStream):
            await linger_and_close(upstream, END)  # what still came in after a close would be answered by a reset
            upstream.finish()

    def expired(self) -> DialError | SessionOver:
        """Return the end of a session whose messages have not moved for too long."""
        if self._exchange.has_answer or not self._exchange.has_request:
            return relay_over(self.relay)
        problem, cause = "no response", Cause.TIMED_OUT
        return DialTimeout(self._place, problem, cause, elapsed=self._idle, limit=self._idle, at_destination=True)

    @property
    def problem(self) -> ProtocolError | None:
        """What was wrong with a message that was passed on in part."""
        return self.relay.bad_request or self.relay.bad_response
