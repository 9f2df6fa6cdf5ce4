"""GSSAPI in a session: the client authenticates itself, and the two sides agree on a protection (RFC 1961).

1. The client names the protection that it wants. The server chooses that one, or the configured minimum if the client
   wants less. The client then decides whether to go on.
2. A client that is not admitted gets an abort, whatever the reason. The log has the reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from anyio.abc import ByteStream

from chainsocks.config.models import ServerGssapi
from chainsocks.errors import Cause, GssError, LoginRefused
from chainsocks.gss.contexts import Acceptor, mechanism
from chainsocks.gss.stream import EncapsulatedStream
from chainsocks.protocol.address import printable
from chainsocks.protocol.gssapi import Principal, Protection
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Method
from chainsocks.protocol.socks5 import ServerHandshake

__all__ = ["GssapiLogin", "accepted_methods"]


def accepted_methods(gssapi: ServerGssapi | None, others: Sequence[Method]) -> Sequence[Method]:
    """Return the SOCKS5 methods to accept, best first, given those to accept without GSSAPI."""
    if gssapi is None:
        return others
    return (Method.GSSAPI,) if gssapi.required else (Method.GSSAPI, *others)


class GssapiLogin:
    """A client's way in: `go_on` whenever the handshake has a `token`."""

    def __init__(self, config: ServerGssapi) -> None:
        self._config = config
        self._context: Acceptor | None = None

    async def go_on(self, handshake: ServerHandshake, client: ByteStream) -> ByteStream:
        """Process the client's token, and answer it; return the stream to go on with.

        Raises:
            ProtocolError: the client is not admitted, and is owed an abort; or it broke the protocol.
            BrokenResourceError: the client's connection broke.
        """
        try:
            while (token := handshake.token) is not None:
                if handshake.state is State.GSSAPI_CONTEXT:
                    await self._step(handshake, token)
                    continue
                protection, answer = self._agree(token)
                handshake.agree(answer, protection)
                if protection is not Protection.NONE:
                    await client.send(handshake.data_to_send())
                    return EncapsulatedStream(client, self._established, protection, handshake.release())
        except (GssError, LoginRefused) as error:
            if handshake.token is not None:
                handshake.abort()
            raise LoginRefused(str(error), error.cause) from None
        return client

    @property
    def _established(self) -> Acceptor:
        if self._context is None:
            raise RuntimeError("there is no context yet")
        return self._context

    async def _step(self, handshake: ServerHandshake, token: bytes) -> None:
        if self._context is None:
            self._context = mechanism().accept(self._config.keytab)
        context = self._context
        answer = await context.step(token)
        if not context.complete:
            handshake.continue_context(answer)
            return
        principal, service = context.principal, context.service
        if service not in self._config.services:
            problem = f"it has a ticket for {printable(service)}, which is not among gssapi_services"
            raise LoginRefused(problem, Cause.LOGIN_REFUSED)
        if not self._config.admits(principal):
            raise LoginRefused(f"{printable(principal)} is not among gssapi_principals", Cause.LOGIN_REFUSED)
        handshake.complete_context(answer, Principal(principal))

    def _agree(self, token: bytes) -> tuple[Protection, bytes]:
        """Choose a protection level, and return it with the token that says so."""
        context = self._established
        asked = context.unwrap(token, Protection.NONE)
        if len(asked) != 1 or asked[0] > Protection.SELECTIVE:
            problem = "it asks for a protection level that RFC 1961 does not have"
            raise LoginRefused(problem, Cause.GSSAPI_PROTECTION)
        protection = Protection(asked[0])
        if protection is Protection.SELECTIVE:
            protection = Protection.CONFIDENTIALITY
        protection = max(protection, self._config.protection)
        return protection, context.wrap(bytes((protection,)), Protection.NONE)
