"""Walk until the last hop is ready to be asked, and ask it for nothing.

1. What is met on the way is what a dial meets, under the same limits, pipelined if that is.
2. The last hop is greeted and logged in to, in order. No request is sent to it, so nobody behind it hears of this.
3. SOCKS4 says nothing before a request: there the walk ends with the connection to the hop.
4. Nothing is left open.
"""

from __future__ import annotations

import anyio
from anyio.abc import ByteStream

from chainsocks.chain.legs import Leg
from chainsocks.chain.network import CancelScope, Network
from chainsocks.chain.walk import OPEN, OnStep, Walk
from chainsocks.config.chains import Route
from chainsocks.config.hops import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.errors import Cause, HopProtocolError
from chainsocks.protocol.address import UNSPECIFIED
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command, Request
from chainsocks.protocol.socks5 import ClientHandshake

__all__ = ["GreetingWalk"]


class GreetingWalk(Walk):
    """The walk to the last hop of `route`.

    Raises:
        ValueError: there is no hop to greet.
    """

    __slots__ = ("_legs",)

    def __init__(
        self,
        route: Route,
        timeouts: Timeouts,
        network: Network,
        on_step: OnStep | None = None,
        began: float | None = None,
    ) -> None:
        if not route.hops:
            raise ValueError("the direct way has no hop to greet")
        super().__init__(route, UNSPECIFIED, timeouts, network, on_step, began)
        self._legs = self._plan(UNSPECIFIED, Command.CONNECT)

    async def greet(self, scope: CancelScope) -> None:
        """Walk there, inside `scope`; when that cuts it short, raise `timeout` behind it.

        Raises:
            DialError: one of its subclasses, by cause.
        """
        self._scope = scope
        *before, last = self._legs
        stream, _, trailing_data = await self._follow(before)
        try:
            if trailing_data:
                problem = f"{len(trailing_data)} bytes came behind its reply, unasked"
                raise self._error(HopProtocolError, problem, Cause.UNSOLICITED)
            hop = last.hop
            if hop.protocol is HopProtocol.SOCKS5:
                self._allow(self._timeouts.hop if hop.timeout is None else hop.timeout, hop.address)
                request = Request(hop.protocol.version, Command.CONNECT, UNSPECIFIED, hop.credentials)
                stream = await self._negotiate(last, _Greeting(request), stream)
        finally:
            await anyio.aclose_forcefully(stream)
        self._at(None, OPEN)

    async def _connect(self, first: Leg | None) -> ByteStream:
        return await super()._connect(first or self._legs[0])

    @property
    def _purpose(self) -> str:
        at_the_end = self._leg is not None and self._leg.next is None
        return "" if at_the_end else super()._purpose


class _Greeting(ClientHandshake):
    """A handshake that is done when its request would be next."""

    __slots__ = ()

    @property
    def done(self) -> bool:
        return self.state in (State.REQUEST, State.DONE)
