"""The relay of one plain HTTP request and its response (`chainsocks.protocol.http_exchange`).

1. It is over with the response, whatever the client still has to send; or with the client's reset.
2. A client that has finished its side may wait for its response, with `half_close` as the idle timeout.
3. A stream that got a part of a message is reset, unless nothing of the response was passed on: then the client is
   owed a refusal.
"""

from __future__ import annotations

import trio
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream
from trio.lowlevel import checkpoint

from chainsocks.limits.bandwidth import Share
from chainsocks.network import reset_on_close
from chainsocks.observe.record import Traffic
from chainsocks.protocol.errors import Cause, ProtocolError
from chainsocks.protocol.http_exchange import HttpExchange
from chainsocks.relay.idle import Scope
from chainsocks.relay.pump import CHUNK, ROUNDS_BEFORE_YIELD, End
from chainsocks.relay.relay import Relay

__all__ = ["EARLY", "HttpRelay"]

EARLY = 64 * 1024
"""Bytes of further requests that are read before the response is complete; more waits in the client's socket."""


class HttpRelay(Relay[ByteStream]):
    """The relay of `exchange`, with a share of the bandwidth where that is limited. It closes `share`."""

    __slots__ = ("_exchange", "_share", "bad_request", "bad_response")

    def __init__(
        self,
        client: ByteStream,
        upstream: ByteStream,
        traffic: Traffic,
        exchange: HttpExchange,
        share: Share | None = None,
        *,
        idle: float,
        half_close: float,
    ) -> None:
        super().__init__(client, upstream, traffic, idle=idle, half_close=half_close)
        self._exchange = exchange
        self._share = share
        self.bad_request: ProtocolError | None = None
        """Why the rest of the request could not be passed on."""
        self.bad_response: ProtocolError | None = None
        """Why the response, or the rest of it, could not be passed on."""

    async def run(self, scope: Scope, early_up: bytes = b"", early_down: bytes = b"") -> None:
        """See `Relay.run`; `early_up` is what has come behind the header section of the request."""

        async def go_up() -> None:
            self._up_ended(await self._pass_request(early_up))
            if self._is_over:
                nursery.cancel_scope.cancel()

        self._begin(scope)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(go_up)
                self._down_ended(await self._pass_response(early_down))
                nursery.cancel_scope.cancel()
        finally:
            self._reset_incomplete()
            if self._share:
                self._share.close()

    def _judge(self) -> bool:
        return self._down_end is not None or self._up_end is End.SOURCE_BROKEN

    async def _pass_request(self, early: bytes) -> End:
        """Pass the request on, and then wait until the client finishes its side."""
        exchange, rounds = self._exchange, 0
        try:
            data = exchange.begin(early)
            while True:
                if data:
                    try:
                        await self.upstream.send(data)
                    except BrokenResourceError:
                        return End.SINK_BROKEN
                    self._moved_up(len(data))
                if exchange.has_request:
                    break
                rounds += 1
                if exchange.client_has_more:
                    await checkpoint()
                    data = exchange.from_client()
                else:
                    data = exchange.from_client(await self._receive(self.client, rounds))
        except ProtocolError as error:
            self.bad_request = error
            return End.SOURCE_BROKEN
        except EndOfStream:
            self.bad_request = ProtocolError("its body is cut", Cause.CLOSED)
            return End.SOURCE_BROKEN
        except BrokenResourceError:
            return End.SOURCE_BROKEN
        return await self._watch_client()

    async def _watch_client(self) -> End:
        """Keep what the client sends behind its request, and pass on that it finishes its side."""
        exchange = self._exchange
        try:
            while len(exchange.trailing_data) < EARLY:
                exchange.keep(await self.client.receive(CHUNK))
            await trio.sleep_forever()
        except BrokenResourceError:
            return End.SOURCE_BROKEN
        except EndOfStream:
            try:
                await self.upstream.send_eof()
            except BrokenResourceError:
                return End.SINK_BROKEN
        return End.FINISHED

    async def _pass_response(self, early: bytes) -> End:
        exchange, data, rounds = self._exchange, early or None, 0
        while True:
            if exchange.server_has_more:
                await checkpoint()
            elif not data:
                rounds += 1
                try:
                    data = await self._receive(self.upstream, rounds)
                except EndOfStream:
                    data = b""  # the exchange knows whether this is the end of the response
                except BrokenResourceError:
                    self.bad_response = ProtocolError("it reset the connection", Cause.RESET)
                    return End.SOURCE_BROKEN
            try:
                answer = exchange.from_server(data)
            except ProtocolError as error:
                self.bad_response = error
                return End.SOURCE_BROKEN
            data = None
            if answer:
                try:
                    await self.client.send(answer)
                except BrokenResourceError:
                    return End.SINK_BROKEN
                self._moved_down(len(answer))
            if exchange.has_response:
                return End.FINISHED

    async def _receive(self, source: ByteStream, rounds: int) -> bytes:
        if rounds % ROUNDS_BEFORE_YIELD == 0:
            await checkpoint()
        if self._share:
            await self._share.wait_for_turn()
        return await source.receive(CHUNK)

    def _moved_up(self, size: int) -> None:
        if self._share:
            self._share.spend(size)
        super()._moved_up(size)

    def _moved_down(self, size: int) -> None:
        if self._share:
            self._share.spend(size)
        super()._moved_down(size)

    def _reset_incomplete(self) -> None:
        if not self._exchange.has_request:
            reset_on_close(self.upstream)
        if self._exchange.has_answer and self._down_end is not End.FINISHED:
            reset_on_close(self.client)
