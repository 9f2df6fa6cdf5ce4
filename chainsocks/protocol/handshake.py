"""The state machine of every handshake: bytes in, bytes out, a named state, and the bytes that follow the handshake.

A driver alternates between `Handshake.data_to_send` and `Handshake.receive_data` until the handshake is `done`. In some
states the handshake waits for a decision of the driver instead of bytes; the table names the method to call. A SOCKS5
handshake begins in METHOD_NEGOTIATION, a SOCKS4 handshake in REQUEST::

    role    state               next state          when
    server  METHOD_NEGOTIATION  SUB_NEGOTIATION     the client offers username/password, and that is accepted
    server  METHOD_NEGOTIATION  GSSAPI_CONTEXT      the client offers GSSAPI, and that is accepted
    server  METHOD_NEGOTIATION  REQUEST             the client offers no authentication, and that is accepted
    server  SUB_NEGOTIATION     LOGIN               the username and the password have arrived
    server  LOGIN               REQUEST             accept_login is called
    server  GSSAPI_CONTEXT      GSSAPI_PROTECTION   complete_context is called
    server  GSSAPI_PROTECTION   REQUEST             agree is called
    server  REQUEST             REPLY               the request has arrived
    server  REPLY               DONE                send_reply is called, with success
    server  REPLY               SECOND_REPLY        send_reply is called, with success, for a BIND
    server  SECOND_REPLY        DONE                send_reply is called again, with success
    client  METHOD_NEGOTIATION  SUB_NEGOTIATION     the proxy picks username/password
    client  METHOD_NEGOTIATION  GSSAPI_CONTEXT      the proxy picks GSSAPI
    client  METHOD_NEGOTIATION  REQUEST             the proxy picks no authentication
    client  SUB_NEGOTIATION     REQUEST             the login is accepted
    client  GSSAPI_CONTEXT      GSSAPI_PROTECTION   complete_context is called
    client  GSSAPI_PROTECTION   REQUEST             agree is called
    client  REQUEST             DONE                the reply has arrived, whatever its code
    client  DONE                SECOND_REPLY        expect_second_reply is called, after the first reply to a BIND
    client  SECOND_REPLY        DONE                the second reply has arrived, whatever its code

Every state but DONE leads to FAILED as well: by a `ProtocolError`, on the server also by a login or a request that the
driver refuses. BIND has two replies (RFC 1928 section 6); every other command has one. GSSAPI's two states have a
module of their own, `chainsocks.protocol.gssapi_handshake`.

1. A message that has not arrived completely consumes no bytes. Waiting for more is a state, not an exception.
2. Each message is built in one piece, so that one segment can carry it.
3. After a `ProtocolError` the state is FAILED, and `data_to_send` still returns the refusal that the peer is to get.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from chainsocks.protocol.errors import Cause, ProtocolError
from chainsocks.protocol.messages import Command, Credentials, Reply, Request, UsernamePassword

__all__ = ["ClientHandshake", "Handshake", "ServerHandshake", "State"]


class State(StrEnum):
    """The state of a handshake; the values are the words that errors and the log use for the step."""

    METHOD_NEGOTIATION = "method negotiation"
    SUB_NEGOTIATION = "username/password sub-negotiation"
    LOGIN = "login check"
    GSSAPI_CONTEXT = "GSSAPI context"
    GSSAPI_PROTECTION = "GSSAPI protection level"
    REQUEST = "request"
    REPLY = "reply"
    SECOND_REPLY = "second reply"
    DONE = "done"
    FAILED = "failed"


REPLY, SECOND_REPLY, DONE = State.REPLY, State.SECOND_REPLY, State.DONE  # a global is 30 times as quick as a member
BIND = Command.BIND


class Handshake:
    """The part that is common to both roles and both versions."""

    __slots__ = ("_failed_in", "_incoming", "_outgoing", "_token", "state")

    def __init__(self, state: State) -> None:
        self.state = state
        self._failed_in: State | None = None
        self._incoming = b""
        self._outgoing = b""
        self._token: bytes | None = None  # of GSSAPI

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {self.state}>"

    @property
    def step(self) -> State:
        """The state; after a failure, the state that failed."""
        return self._failed_in or self.state

    @property
    def done(self) -> bool:
        """Whether the handshake has ended, without a failure."""
        return self.state is DONE

    @property
    def is_midway(self) -> bool:
        """Whether a part of a message has arrived."""
        return bool(self._incoming)

    @property
    def trailing_data(self) -> bytes:
        """Bytes that arrived after the handshake: the first data of the stream. Valid when `done`."""
        return self._incoming

    def data_to_send(self) -> bytes:
        """Return the bytes to send now, once; empty when the peer has to send first."""
        data, self._outgoing = self._outgoing, b""
        return data

    def receive_data(self, data: bytes) -> None:
        """Process bytes from the peer, in portions of any size. Call `data_to_send` next.

        Empty `data` means that the peer has closed its side.

        Raises:
            ProtocolError: the peer broke the protocol. `data_to_send` may still return a refusal.
        """
        if not data:
            self._end_of_data()
            return
        self._incoming = self._incoming + data if self._incoming else data
        self._run()

    def _run(self) -> None:
        try:
            while self._incoming and self._advance():
                pass
        except ProtocolError:
            self._fail()
            raise

    def _fail(self) -> None:
        self._failed_in, self.state = self.state, State.FAILED

    def _end_of_data(self) -> None:
        self._fail()
        middle = f", {len(self._incoming)} bytes into a message" if self._incoming else ""
        raise ProtocolError(f"the connection was closed during the {self.step}{middle}", Cause.CLOSED)

    def _advance(self) -> bool:
        """Process one whole message; return False if more bytes, or a decision of the driver, have to come first.

        Some bytes have come.
        """
        raise NotImplementedError


class ClientHandshake(Handshake):
    """The side that sends the request. `reply` is available when `done`; its code says whether it succeeded."""

    passed: Sequence[State] = ()
    """The states that the last `receive_data` passed through. Empty unless messages were sent before their turn."""
    opening = 0
    """The first byte of the proxy's first message."""

    __slots__ = ("_reply",)

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._reply: Reply | None = None

    @property
    def reply(self) -> Reply:
        """The proxy's reply.

        Raises:
            RuntimeError: the handshake is not `done`.
        """
        if self._reply is None:
            raise RuntimeError("the handshake is not done: there is no reply yet")
        return self._reply

    @property
    def missing(self) -> int:
        """The bytes that still have to come, at least, before the current message is complete.

        A driver that receives no more than these never receives a byte of what follows the handshake.
        """
        raise NotImplementedError

    def expect_second_reply(self) -> None:
        """Go on to the second reply of a BIND that succeeded, with the bytes of it that have arrived already.

        The handshake is `done` again, with another `reply`, when that is complete.

        Raises:
            ProtocolError: as `receive_data` does.
            RuntimeError: there is no first reply, or it is a refusal.
        """
        if not self.done or not self.reply.succeeded:
            raise RuntimeError(f"a second reply follows a first one that succeeded (state: {self.state})")
        self.state = State.SECOND_REPLY
        self._run()

    def _finish(self, reply: Reply, trailing_data: bytes) -> None:
        self._reply = reply
        self._incoming = trailing_data
        self.state = DONE


class ServerHandshake(Handshake):
    """The side that answers the request.

    In LOGIN it waits for the driver to check the login, and in REPLY and SECOND_REPLY for `send_reply`.
    """

    __slots__ = ("_credentials", "_request")

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._request: Request | None = None
        self._credentials: Credentials | None = None

    @property
    def login(self) -> UsernamePassword:
        """The client's username and password.

        Raises:
            RuntimeError: they have not arrived yet: the state is one before LOGIN.
        """
        if not isinstance(self._credentials, UsernamePassword):
            raise RuntimeError("the client has not logged in")
        return self._credentials

    def accept_login(self) -> None:
        """Accept the login, and process the bytes that followed it. Call `data_to_send` next.

        Raises:
            ProtocolError: as `receive_data` does, for a request that arrived with the login.
            RuntimeError: no login is waiting.
        """
        self._check_login_waits()
        self._answer_login(accepted=True)
        self._run()

    def refuse_login(self) -> None:
        """Refuse the login. The caller closes the connection after `data_to_send` (RFC 1929 section 2).

        Raises:
            RuntimeError: no login is waiting.
        """
        self._check_login_waits()
        self._answer_login(accepted=False)
        self._fail()

    def _check_login_waits(self) -> None:
        if self.state is not State.LOGIN:
            raise RuntimeError(f"no login is waiting for a decision (state: {self.state})")

    def _answer_login(self, *, accepted: bool) -> None:
        """Queue the answer to a login; go on to the next state if it is accepted."""
        raise NotImplementedError

    @property
    def request(self) -> Request:
        """The client's request.

        Raises:
            RuntimeError: it has not arrived yet: the state is one before REPLY.
        """
        if self._request is None:
            raise RuntimeError("the request has not arrived yet")
        return self._request

    def send_reply(self, reply: Reply) -> None:
        """Answer the request, in the client's own version of SOCKS. Call `data_to_send` next.

        After a BIND that succeeded a second reply has to follow. After a refusal the caller closes the connection
        (RFC 1928 section 6: within ten seconds).

        Raises:
            RuntimeError: no request is waiting for a reply.
        """
        if self.state is not REPLY and self.state is not SECOND_REPLY:
            raise RuntimeError(f"no request is waiting for a reply (state: {self.state})")
        self._outgoing += self._encode_reply(reply)
        if not reply.succeeded:
            self._fail()
        elif self.state is REPLY and self.request.command is BIND:
            self.state = SECOND_REPLY
        else:
            self.state = DONE

    def _encode_reply(self, reply: Reply) -> bytes:
        raise NotImplementedError

    def _refuse(self, code: int, message: str, cause: Cause) -> ProtocolError:
        """Queue a refusal for the client, and return the error to raise."""
        self._outgoing += self._encode_reply(Reply(code))
        return ProtocolError(message, cause)
