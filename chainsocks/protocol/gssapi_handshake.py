"""The GSSAPI part of a SOCKS5 handshake, both roles (RFC 1961 sections 3 and 4).

::

    client  VER MTYP=1 LEN TOKEN ──>  <── VER MTYP=1 LEN TOKEN  server     as often as the mechanism needs it
            VER MTYP=2 LEN TOKEN ──>  <── VER MTYP=2 LEN TOKEN             the protection level, encapsulated

1. The handshake waits whenever a `token` has arrived. The driver passes the token to the mechanism, and the
   mechanism's answer to `continue_context`, `complete_context` or `agree`.
2. After the two sides have agreed on a protection level, all further bytes are encapsulated. The driver takes those
   that have arrived already from `release`, and passes everything that it decapsulates to `receive_data`.
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

__all__ = ["GssapiClientHandshake", "GssapiHandshake", "GssapiServerHandshake"]

_KINDS = {
    State.GSSAPI_CONTEXT: MessageType.AUTHENTICATION,
    State.GSSAPI_PROTECTION: MessageType.PROTECTION_LEVEL,
}


class GssapiHandshake(Handshake):
    """The part that is common to both roles."""

    __slots__ = ()

    @property
    def token(self) -> bytes | None:
        """The token that the mechanism has to process now, which may be empty; None if there is none."""
        return self._token

    def continue_context(self, token: bytes) -> None:
        """Send a token of a context that needs more tokens. Call `data_to_send` next.

        Raises:
            ProtocolError: as `receive_data` does, for the bytes that followed the token.
        """
        self._take_token(State.GSSAPI_CONTEXT)
        self._outgoing += encode_message(MessageType.AUTHENTICATION, token)
        self._run()

    def release(self) -> bytes:
        """Return the bytes that have arrived and are not decoded, once; after `agree` they are encapsulated."""
        data, self._incoming = self._incoming, b""
        return data

    def _take_token(self, state: State) -> None:
        """Check that a token is waiting in this state, and count it as processed."""
        if self.state is not state or self._token is None:
            raise RuntimeError(f"no token is waiting (state: {self.state})")
        self._token = None

    def _read_token(self, data: bytes) -> bool:
        """Decode the next message, and wait for the mechanism."""
        if self._token is None:
            self._token = decode_message(data, _KINDS[self.state])
            if self._token is not None:
                self._incoming = data[HEADER + len(self._token) :]
        return False


class GssapiServerHandshake(GssapiHandshake, ServerHandshake):
    """The side that accepts a context, and chooses the protection level."""

    __slots__ = ()

    def complete_context(self, token: bytes, principal: Principal) -> None:
        """Send the last token, if it is not empty, to a client that has proved its name. Call `data_to_send` next.

        Raises:
            ProtocolError: as `receive_data` does, for the bytes that followed the token.
        """
        self._take_token(State.GSSAPI_CONTEXT)
        if token:
            self._outgoing += encode_message(MessageType.AUTHENTICATION, token)
        self._credentials = principal
        self.state = State.GSSAPI_PROTECTION
        self._run()

    def agree(self, token: bytes, protection: Protection) -> None:
        """Send `token`, which contains the `protection` level that was chosen. Call `data_to_send` next.

        Raises:
            ProtocolError: as `receive_data` does, for a request that has arrived already.
        """
        self._take_token(State.GSSAPI_PROTECTION)
        self._outgoing += encode_message(MessageType.PROTECTION_LEVEL, token)
        self.state = State.REQUEST
        if protection is Protection.NONE:
            self._run()

    def abort(self) -> None:
        """Refuse the client. The caller closes the connection after `data_to_send` (section 3.8)."""
        self._take_token(self.state)
        self._outgoing += ABORT
        self._fail()

    def _read_token(self, data: bytes) -> bool:
        try:
            return super()._read_token(data)
        except ProtocolError:
            self._outgoing += ABORT
            raise


class GssapiClientHandshake(GssapiHandshake, ClientHandshake):
    """The side that begins; its first `token` is empty, as no token has arrived yet."""

    __slots__ = ()

    def complete_context(self, token: bytes, protection: bytes) -> None:
        """Send the last token, if it is not empty, and the level that is wanted. Call `data_to_send` next.

        Raises:
            ProtocolError: as `receive_data` does, for the bytes that followed the token.
        """
        self._take_token(State.GSSAPI_CONTEXT)
        if token:
            self._outgoing += encode_message(MessageType.AUTHENTICATION, token)
        self._outgoing += encode_message(MessageType.PROTECTION_LEVEL, protection)
        self.state = State.GSSAPI_PROTECTION
        self._run()

    def agree(self, protection: Protection) -> None:
        """Accept the `protection` level that the server has chosen. Call `data_to_send` next.

        Raises:
            ProtocolError: as `receive_data` does, for the bytes that followed it.
        """
        self._take_token(State.GSSAPI_PROTECTION)
        self._send_request()
        if protection is Protection.NONE:
            self._run()

    def _send_request(self) -> None:
        """Queue the request, and wait for the reply."""
        raise NotImplementedError
