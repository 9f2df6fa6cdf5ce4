"""GSSAPI in a dial: authenticate to a hop, and agree with it on a protection (RFC 1961)."""

from __future__ import annotations

from anyio.abc import ByteStream

from chainsocks.errors import Cause, GssError, LoginRefused, ProtocolError
from chainsocks.gss.contexts import Context, mechanism
from chainsocks.gss.stream import EncapsulatedStream
from chainsocks.protocol.gssapi import Gssapi, Protection
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command
from chainsocks.protocol.socks5 import ClientHandshake

__all__ = ["HopLogin"]


class HopLogin:
    """Our login to one hop: `go_on` whenever the handshake has a `token`. `host` is that of the hop's address."""

    def __init__(self, login: Gssapi, host: str, command: Command) -> None:
        self._login = login
        self._host = host
        self._command = command
        self._context: Context | None = None

    async def go_on(self, handshake: ClientHandshake, stream: ByteStream) -> ByteStream:
        """Process the hop's token, and prepare the answer; return the stream to go on with.

        Raises:
            LoginRefused: one of the two cannot authenticate itself, or the hop chose less protection than configured.
            ProtocolError: the hop broke the protocol.
        """
        try:
            while (token := handshake.token) is not None:
                if handshake.state is State.GSSAPI_CONTEXT:
                    await self._step(handshake, token)
                    continue
                protection = self._agreed(token)
                handshake.agree(protection)
                if protection is not Protection.NONE:
                    return EncapsulatedStream(stream, self._established, protection, handshake.release())
        except GssError as error:
            raise LoginRefused(str(error), error.cause) from None
        return stream

    @property
    def _established(self) -> Context:
        if self._context is None:
            raise RuntimeError("there is no context yet")
        return self._context

    async def _step(self, handshake: ClientHandshake, token: bytes) -> None:
        if self._context is None:
            self._context = mechanism().initiate(self._login, self._host)
        context = self._context
        answer = await context.step(token)
        if context.complete:
            level = context.wrap(bytes((self._login.protection,)), Protection.NONE)
            handshake.complete_context(answer, level)
        else:
            handshake.continue_context(answer)

    def _agreed(self, token: bytes) -> Protection:
        """Return the protection level that the hop has chosen."""
        chosen = self._established.unwrap(token, Protection.NONE)
        if len(chosen) != 1 or chosen[0] > Protection.CONFIDENTIALITY:
            raise ProtocolError("it chose a protection level that we cannot go on with", Cause.GSSAPI_PROTECTION)
        protection = Protection(chosen[0])
        if protection < self._login.protection:
            problem = f"it goes on with {protection} for protection, and we want {self._login.protection}"
            raise LoginRefused(problem, Cause.GSSAPI_PROTECTION)
        if protection is not Protection.NONE and self._command is Command.UDP_ASSOCIATE:
            problem = f"it goes on with {protection}, which datagrams would not have"
            raise LoginRefused(problem, Cause.GSSAPI_PROTECTION)
        return protection
