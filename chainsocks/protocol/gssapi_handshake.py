"""GSSAPI's part of a SOCKS5 handshake (RFC 1961 sections 3 and 4), both roles.

::

    client  VER MTYP=1 LEN TOKEN ──>  <── VER MTYP=1 LEN TOKEN  server     as often as the mechanism needs it
            VER MTYP=2 LEN TOKEN ──>  <── VER MTYP=2 LEN TOKEN             the protection level, encapsulated

1. The handshake pauses whenever a token is there for the mechanism to work on, which is somebody else's to do.
2. Once a protection is agreed on, all that follows is encapsulated, and what has come of it already is `release`d,
   undecoded. The handshake goes on with what it is given: the same messages, freed of their capsules.
"""

from __future__ import annotations

from chainsocks.protocol.errors import ProtocolError
from chainsocks.protocol.gssapi import (
    ABORT,
    HEADER,
    MessageType,
    Principal,
    Protection,
    decode_message,
    encode_message,
)
from chainsocks.protocol.handshake import ClientHandshake, Handshake, ServerHandshake, State
from chainsocks.protocol.messages import Credentials

__all__ = ["GssapiClientHandshake", "GssapiHandshake", "GssapiServerHandshake"]

_KINDS = {
    State.GSSAPI_CONTEXT: MessageType.AUTHENTICATION,
    State.GSSAPI_PROTECTION: MessageType.PROTECTION_LEVEL,
}


class GssapiHandshake(Handshake):
    """What both roles share."""

    __slots__ = ()

    @property
    def token(self) -> bytes | None:
        """What the mechanism has to work on now, which may be empty; None while it is not its turn."""
        return self._token

    def continue_context(self, token: bytes) -> None:
        """Send a token of a context that is not complete yet. Call `data_to_send` next.

        Raises:
            ProtocolError: as `receive_data` does, for what came behind the token.
        """
        self._worked_in(State.GSSAPI_CONTEXT)
        self._outgoing += encode_message(MessageType.AUTHENTICATION, token)
        self._run()

    def release(self) -> bytes:
        """Hand over what has come and is not decoded: where a protection was agreed on, it is encapsulated."""
        data, self._incoming = self._incoming, b""
        return data

    def _worked_in(self, state: State) -> None:
        """See that the mechanism's work was asked for, and count it as done."""
        if self.state is not state or self._token is None:
            raise RuntimeError(f"no token is waiting there (state: {self.state})")
        self._token = None

    def _read_token(self, data: bytes) -> bool:
        """Decode the message that is due, and pause."""
        if self._token is None:
            self._token = decode_message(data, _KINDS[self.state])
            if self._token is not None:
                self._incoming = data[HEADER + len(self._token) :]
        return False


class GssapiServerHandshake(GssapiHandshake, ServerHandshake):
    """The side that accepts a context, and has the last word on the protection level."""

    __slots__ = ("_credentials",)

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._credentials: Credentials | None = None

    def complete_context(self, token: bytes, principal: Principal) -> None:
        """Send the last token, if there is any, to a client that has proved who it is. Call `data_to_send` next.

        Raises:
            ProtocolError: as `receive_data` does, for what came behind the token.
        """
        self._worked_in(State.GSSAPI_CONTEXT)
        if token:
            self._outgoing += encode_message(MessageType.AUTHENTICATION, token)
        self._credentials = principal
        self.state = State.GSSAPI_PROTECTION
        self._run()

    def agree(self, token: bytes, protection: Protection) -> None:
        """Send the `protection` that we have chosen, which is in `token`. Call `data_to_send` next.

        Raises:
            ProtocolError: as `receive_data` does, for a request that has come already.
        """
        self._worked_in(State.GSSAPI_PROTECTION)
        self._outgoing += encode_message(MessageType.PROTECTION_LEVEL, token)
        self.state = State.REQUEST
        if protection is Protection.NONE:
            self._run()

    def abort(self) -> None:
        """Turn the client away; the connection is to be closed after `data_to_send` (section 3.8)."""
        self._worked_in(self.state)
        self._outgoing += ABORT
        self._fail()

    def _read_token(self, data: bytes) -> bool:
        try:
            return super()._read_token(data)
        except ProtocolError:
            self._outgoing += ABORT
            raise


class GssapiClientHandshake(GssapiHandshake, ClientHandshake):
    """The side that begins, with a `token` of its mechanism and none of its peer's: an empty one."""

    __slots__ = ()

    def complete_context(self, token: bytes, protection: bytes) -> None:
        """Send the last token, if there is any, and with it the level that we want. Call `data_to_send` next.

        Raises:
            ProtocolError: as `receive_data` does, for what came behind the token.
        """
        self._worked_in(State.GSSAPI_CONTEXT)
        if token:
            self._outgoing += encode_message(MessageType.AUTHENTICATION, token)
        self._outgoing += encode_message(MessageType.PROTECTION_LEVEL, protection)
        self.state = State.GSSAPI_PROTECTION
        self._run()

    def agree(self, protection: Protection) -> None:
        """Go on with the `protection` that the server has chosen. Call `data_to_send` next.

        Raises:
            ProtocolError: as `receive_data` does, for what came behind it.
        """
        self._worked_in(State.GSSAPI_PROTECTION)
        self._send_request()
        if protection is Protection.NONE:
            self._run()

    def _send_request(self) -> None:
        """Owe the proxy our request, and wait for the reply."""
        raise NotImplementedError
