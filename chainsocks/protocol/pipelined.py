"""A SOCKS5 client that pipelines: it sends the greeting, the login and the request at once.

RFC 1928 has the client wait for each answer. Waiting is needless where only one answer lets the client go on, provided
that the proxy does not discard bytes which arrive before their turn.

1. One method is offered: username/password if there are credentials, otherwise no authentication. So the messages that
   follow are known beforehand.
2. Every answer is checked, in order and in any segmentation, as without pipelining.
"""

from __future__ import annotations

from chainsocks.protocol.errors import Cause, LoginRefused, ProtocolError
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import IsolationLogin, Method, UsernamePassword, Version
from chainsocks.protocol.socks5 import ClientHandshake

__all__ = ["PipelinedHandshake"]


class PipelinedHandshake(ClientHandshake):
    """The method negotiation, login and request to a proxy, which the first `data_to_send` returns together.

    `passed` has the states whose answers arrived together with that of an earlier one.

    Raises:
        ValueError: the username or the password is over 255 bytes.
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
        """Process bytes from the peer, as every handshake does, and note the states in `passed`."""
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
                    problem = "it does not accept username/password, the only method that is offered when pipelining"
                    raise LoginRefused(problem, Cause.NO_ACCEPTABLE_METHOD)
        return super()._read_method(data)

    def _send_login(self, login: UsernamePassword) -> None:
        self.state = State.SUB_NEGOTIATION

    def _send_request(self) -> None:
        self.state = State.REQUEST
