"""SOCKS5's client side with all its messages sent ahead of the answers: greeting, login and request at once.

RFC 1928 has the client wait for each answer. It need not, where there is one answer only that it can go on with, and
where the proxy keeps what it has not asked for yet.

1. One method is offered: username/password with credentials, no authentication without. What follows is then certain.
2. Every answer is verified, in order and in any segmentation, as if each had been waited for.
"""

from __future__ import annotations

from chainsocks.protocol.errors import Cause, LoginRefused, ProtocolError
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import IsolationLogin, Method, UsernamePassword, Version
from chainsocks.protocol.socks5 import ClientHandshake

__all__ = ["PipelinedHandshake"]


class PipelinedHandshake(ClientHandshake):
    """Our method negotiation, login and request to a proxy, which the first `data_to_send` returns in one piece.

    `passed` has the steps whose answers arrived with those of the steps before.

    Raises:
        ValueError: the username or the password is empty or over 255 bytes.
    """

    __slots__ = ("_began_in", "passed")

    def _greet(self) -> None:
        method = Method.USERNAME_PASSWORD if self._credentials else Method.NO_AUTHENTICATION_REQUIRED
        self._outgoing = bytes((Version.SOCKS5, 1, method))
        if self._credentials:
            super()._send_login(self._credentials)
        super()._send_request()
        self.state = self._began_in = State.METHOD_NEGOTIATION
        self.passed: list[State] = []

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer, as any handshake does, and note the steps in `passed`."""
        self._began_in, self.passed = self.state, []
        super().receive_data(data)

    def _advance(self) -> bool:
        state = self.state
        goes_on = super()._advance()
        if self.state is not state and state is not self._began_in:
            self.passed.append(state)
        return goes_on

    def _read_method(self, data: bytes) -> bool:
        if self._credentials and len(data) >= 2 and data[0] == Version.SOCKS5:
            match data[1]:
                case Method.NO_AUTHENTICATION_REQUIRED:
                    raise ProtocolError(f"it picked method {data[1]:02X}, which we did not offer", Cause.WRONG_METHOD)
                case Method.NO_ACCEPTABLE_METHODS if not isinstance(self._credentials, IsolationLogin):
                    problem = "it does not accept username/password, and pipelined nothing else is offered"
                    raise LoginRefused(problem, Cause.NO_ACCEPTABLE_METHOD)
        return super()._read_method(data)

    def _send_login(self, login: UsernamePassword) -> None:
        self.state = State.SUB_NEGOTIATION

    def _send_request(self) -> None:
        self.state = State.REQUEST
