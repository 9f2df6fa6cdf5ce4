"""What every handshake has in common: a buffer in, bytes out, a named state, and what trails behind.

A driver alternates between `Handshake.data_to_send` and `Handshake.receive_data` until the handshake is `done`, or,
on the server's side, until it `pauses` for a decision that is not the wire's to take (`State.LOGIN`, `State.REPLY`,
`State.SECOND_REPLY`). Either side pauses for GSSAPI's cryptography (`chainsocks.protocol.gssapi_handshake`).

BIND has two replies (RFC 1928 section 6): the server sends both by `ServerHandshake.send_reply`, and the client is done
with the first until it calls `ClientHandshake.expect_second_reply`.

1. A message that has not arrived whole consumes nothing; waiting for more is a state, not an exception.
2. Each protocol message is built in one piece, so that it can leave in one segment.
3. After a `ProtocolError` the state is `State.FAILED`, and `data_to_send` still holds the refusal owed to the peer.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from chainsocks.protocol.errors import Cause, ProtocolError
from chainsocks.protocol.messages import Command, Reply, Request

__all__ = ["ClientHandshake", "Handshake", "ServerHandshake", "State"]


class State(StrEnum):
    """The step that a handshake is in, in words for people: a time-out prints it."""

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


DONE = State.DONE  # every driver asks for it before each message


class Handshake:
    """The part that both roles and both versions share."""

    __slots__ = ("_failed_in", "_incoming", "_outgoing", "_token", "state")

    def __init__(self, state: State) -> None:
        self.state = state
        self._failed_in: State | None = None
        self._incoming = b""
        self._outgoing = b""
        self._token: bytes | None = None  # of GSSAPI, where the handshake knows it

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {self.state}>"

    @property
    def step(self) -> State:
        """The state; once that is `State.FAILED`, the one that it failed in."""
        return self._failed_in or self.state

    @property
    def done(self) -> bool:
        """Whether the handshake has come to its good end."""
        return self.state is DONE

    @property
    def trailing_data(self) -> bytes:
        """Bytes that arrived behind the handshake: the first data of the stream. Take them when `done`."""
        return self._incoming

    def data_to_send(self) -> bytes:
        """Return what the peer is owed now, and forget it; empty when it is the peer's turn."""
        data, self._outgoing = self._outgoing, b""
        return data

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer, in any portions, and go as far as they carry. Call `data_to_send` next.

        No bytes at all mean that the peer has closed its side.

        Raises:
            ProtocolError: the peer broke the protocol. `data_to_send` may still hold an answer to it.
        """
        if not data:
            self._end_of_data()
            return
        self._incoming = self._incoming + data if self._incoming else data
        self._run()

    def _run(self) -> None:
        try:
            while self._advance():
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
        """Decode one whole message and act on it; False when more bytes, or a decision, must come first."""
        raise NotImplementedError


class ClientHandshake(Handshake):
    """The side that asks. `reply` is set when `done`; only its code says whether the request was granted."""

    passed: Sequence[State] = ()
    """Steps that the last `receive_data` went right through: none, unless messages are sent ahead of the answers."""

    __slots__ = ("_reply",)

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._reply: Reply | None = None

    @property
    def reply(self) -> Reply:
        """The proxy's answer; there is one once the handshake is `done`."""
        if self._reply is None:
            raise RuntimeError("the handshake is not done: there is no reply yet")
        return self._reply

    def expect_second_reply(self) -> None:
        """Go on to the second reply of a BIND that was granted, and decode what of it has come already.

        The handshake is `done` again, with another `reply`, once it is complete.

        Raises:
            ProtocolError: as `receive_data` does.
        """
        if not self.done or not self.reply.succeeded:
            raise RuntimeError(f"a second reply follows on a first one that grants (state: {self.state})")
        self.state = State.SECOND_REPLY
        self._run()

    def _finish(self, reply: Reply, trailing_data: bytes) -> None:
        self._reply = reply
        self._incoming = trailing_data
        self.state = State.DONE


class ServerHandshake(Handshake):
    """The side that is asked.

    It pauses at `State.LOGIN`, for the login's check, and at `State.REPLY` and `State.SECOND_REPLY`, for `send_reply`.
    """

    __slots__ = ("_request",)

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._request: Request | None = None

    @property
    def request(self) -> Request:
        """The client's request; there is one from `State.REPLY` on."""
        if self._request is None:
            raise RuntimeError("the request has not arrived yet")
        return self._request

    def send_reply(self, reply: Reply) -> None:
        """Answer the request; `data_to_send` then holds the answer in the client's own version.

        A BIND that is granted waits for a second one. After a refusal the connection is to be closed (RFC 1928
        section 6: within ten seconds).
        """
        if self.state not in (State.REPLY, State.SECOND_REPLY):
            raise RuntimeError(f"no request is waiting for a reply (state: {self.state})")
        self._outgoing += self._encode_reply(reply)
        if not reply.succeeded:
            self._fail()
        elif self.state is State.REPLY and self.request.command is Command.BIND:
            self.state = State.SECOND_REPLY
        else:
            self.state = State.DONE

    def _encode_reply(self, reply: Reply) -> bytes:
        raise NotImplementedError

    def _refuse(self, code: int, message: str, cause: Cause) -> ProtocolError:
        """Owe the client a full-length refusal, and return the error to raise."""
        self._outgoing += self._encode_reply(Reply(code))
        return ProtocolError(message, cause)
