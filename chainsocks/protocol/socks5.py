"""SOCKS5 (RFC 1928) with the username/password login of RFC 1929, both roles.

Its messages are in `chainsocks.protocol.socks5_messages`, its GSSAPI part in `chainsocks.protocol.gssapi_handshake`.
"""

from __future__ import annotations

from collections.abc import Sequence

from chainsocks.protocol.address import UNSPECIFIED
from chainsocks.protocol.errors import Cause, LoginRefused, ProtocolError, unexpected_opening
from chainsocks.protocol.gssapi import Gssapi, token_size
from chainsocks.protocol.gssapi_handshake import GssapiClientHandshake, GssapiServerHandshake
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import (
    Command,
    Credentials,
    IsolationLogin,
    Method,
    Reply,
    ReplyCode,
    Request,
    UsernamePassword,
    Version,
)
from chainsocks.protocol.socks5_messages import (
    LOGIN_VERSION,
    MAX_LOGIN,
    decode_address,
    decode_login,
    decode_methods,
    decode_request,
    encode_address,
    encode_reply,
    reply_size,
    skip_name,
)

__all__ = ["ClientHandshake", "GreetingHandshake", "RequestHandshake", "ServerHandshake"]

_VERSION = b"\x05"
_LOGIN_ACCEPTED, _LOGIN_REFUSED = b"\x01\x00", b"\x01\x01"
_ANSWERED_BY_ADDRESS = {Command.RESOLVE, Command.RESOLVE_PTR}
_REFUSALS = {
    Cause.UNKNOWN_COMMAND: ReplyCode.COMMAND_NOT_SUPPORTED,
    Cause.UNKNOWN_ADDRESS_TYPE: ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED,
}
"""How a request that breaks the protocol is refused; GENERAL_FAILURE otherwise."""
_SOCKS5 = Version.SOCKS5.value  # these are read for each message: a global is quicker than an enum attribute
_NEGOTIATING, _ASKING, _REPLYING = State.METHOD_NEGOTIATION, State.REQUEST, State.REPLY
_VERSION_5 = Version.SOCKS5
_NO_LOGIN = Method.NO_AUTHENTICATION_REQUIRED.value
_WITHOUT_LOGIN = bytes((_SOCKS5, 1, _NO_LOGIN))
_UNSPECIFIED = encode_address(UNSPECIFIED)  # what most proxies reply
_NEXT = {Method.USERNAME_PASSWORD: State.SUB_NEGOTIATION, Method.GSSAPI: State.GSSAPI_CONTEXT}
_IN_WORDS = {0: "no login (00)", 1: "GSSAPI (01)", 2: "username and password (02)"}


class ServerHandshake(GssapiServerHandshake):
    """The server of SOCKS5: method negotiation, login, request, and the replies to them.

    `methods` are the methods to accept, most preferred first. For username/password the handshake waits in LOGIN, with
    `login` set, until `accept_login` or `refuse_login` is called; for GSSAPI it waits with `token` set.
    """

    __slots__ = ("_methods",)

    def __init__(self, methods: Sequence[Method] = (Method.NO_AUTHENTICATION_REQUIRED,)) -> None:
        super().__init__(_NEGOTIATING)
        self._methods = methods

    def _answer_login(self, *, accepted: bool) -> None:
        self._outgoing += _LOGIN_ACCEPTED if accepted else _LOGIN_REFUSED
        if accepted:
            self.state = State.REQUEST

    def _advance(self) -> bool:
        data, state = self._incoming, self.state
        if state is _NEGOTIATING:
            return self._negotiate_method(data)
        if state is _ASKING:
            return self._read_request(data)
        match state:
            case State.SUB_NEGOTIATION:
                return self._read_login(data)
            case State.GSSAPI_CONTEXT | State.GSSAPI_PROTECTION:
                return self._read_token(data)
            case _:
                return False

    def _negotiate_method(self, data: bytes) -> bool:
        decoded = decode_methods(data)
        if decoded is None:
            return False
        offered, end = decoded
        self._incoming = data[end:]
        for method in self._methods:
            if method in offered:
                break
        else:
            self._outgoing += _VERSION + bytes((Method.NO_ACCEPTABLE_METHODS,))
            given = ", ".join(map(_in_words, offered)) or "no method"
            wanted = " or ".join(map(_in_words, self._methods))
            problem = f"the client offers {given}; this server accepts {wanted}"
            raise ProtocolError(problem, Cause.NO_ACCEPTABLE_METHOD)
        self._outgoing += _VERSION + bytes((method,))
        self.state = _NEXT.get(method, _ASKING)
        return True

    def _read_login(self, data: bytes) -> bool:
        try:
            decoded = decode_login(data)
        except ProtocolError:
            self._outgoing += _LOGIN_REFUSED
            raise
        if decoded:
            self._credentials, end = decoded
            self._incoming = data[end:]
            self.state = State.LOGIN
        return False

    def _read_request(self, data: bytes) -> bool:
        try:
            decoded = decode_request(data)
        except ProtocolError as error:
            code = _REFUSALS.get(error.cause, ReplyCode.GENERAL_FAILURE)
            raise self._refuse(code, str(error), error.cause) from None
        if decoded:
            command, destination, end = decoded
            self._request = Request(_VERSION_5, command, destination, self._credentials)
            self._incoming = data[end:]
            self.state = _REPLYING
        return False

    def _encode_reply(self, reply: Reply) -> bytes:
        return encode_reply(reply)


class ClientHandshake(GssapiClientHandshake):
    """The client of SOCKS5: method negotiation, login, request, and the reply to it.

    With a username and a password, "no authentication" is offered as well, and the proxy picks; curl does the same. An
    `IsolationLogin` has to be used, so it is offered alone. GSSAPI is offered alone, too; the handshake then waits with
    `token` set.

    Raises:
        ValueError: the username or the password is over 255 bytes.
    """

    opening = Version.SOCKS5

    __slots__ = ("_credentials", "_request")

    def __init__(self, request: Request) -> None:
        super().__init__(_NEGOTIATING)
        self._request = request
        self._credentials = _login_of(request.credentials)
        self._greet()

    def _greet(self) -> None:
        if self._request.credentials is None:
            self._outgoing = _WITHOUT_LOGIN
            return
        methods = [Method.NO_AUTHENTICATION_REQUIRED]
        if self._by_gssapi:
            methods = [Method.GSSAPI]
        elif isinstance(self._credentials, IsolationLogin):
            methods = [Method.USERNAME_PASSWORD]
        elif self._credentials:
            methods.append(Method.USERNAME_PASSWORD)
        self._outgoing = bytes((Version.SOCKS5, len(methods), *methods))

    @property
    def missing(self) -> int:
        """As in every handshake of a client."""
        data = self._incoming
        match self.state:
            case State.GSSAPI_CONTEXT | State.GSSAPI_PROTECTION:
                return token_size(data) - len(data)
            case State.REQUEST | State.SECOND_REPLY:
                return reply_size(data) - len(data)
            case _:
                return 2 - len(data)

    @property
    def _by_gssapi(self) -> bool:
        return isinstance(self._request.credentials, Gssapi)

    def _advance(self) -> bool:
        data, state = self._incoming, self.state
        if state is _NEGOTIATING:
            return self._read_method(data)
        if state is _ASKING:
            return self._read_reply(data)
        match state:
            case State.GSSAPI_CONTEXT | State.GSSAPI_PROTECTION:
                return self._read_token(data)
            case State.SUB_NEGOTIATION if len(data) >= 2:
                return self._read_login_status(data)
            case State.SECOND_REPLY:
                return self._read_reply(data)
            case _:
                return False

    def _read_method(self, data: bytes) -> bool:
        """Decode VER METHOD (RFC 1928 section 3)."""
        if data[0] != _SOCKS5:
            raise unexpected_opening("the answer to the method negotiation is not SOCKS5", data)
        if len(data) < 2:
            return False
        self._incoming = data[2:]
        if data[1] == _NO_LOGIN and self._request.credentials is None:
            self._send_request()
            return True
        match data[1]:
            case Method.GSSAPI if self._by_gssapi:
                self.state = State.GSSAPI_CONTEXT
                self._token = b""
            case Method.NO_ACCEPTABLE_METHODS if self._by_gssapi:
                raise LoginRefused("it does not accept GSSAPI", Cause.NO_ACCEPTABLE_METHOD)
            case Method.NO_AUTHENTICATION_REQUIRED if not (
                self._by_gssapi or isinstance(self._credentials, IsolationLogin)
            ):
                self._send_request()
            case Method.USERNAME_PASSWORD if self._credentials:
                self._send_login(self._credentials)
            case Method.NO_ACCEPTABLE_METHODS if isinstance(self._credentials, IsolationLogin):
                problem = "it does not accept username/password, which `isolate` needs to keep circuits apart"
                raise LoginRefused(problem, Cause.NO_ACCEPTABLE_METHOD)
            case Method.NO_ACCEPTABLE_METHODS if self._credentials:
                problem = "it accepts neither username/password nor clients without a login"
                raise LoginRefused(problem, Cause.NO_ACCEPTABLE_METHOD)
            case Method.NO_ACCEPTABLE_METHODS | Method.USERNAME_PASSWORD if not self._by_gssapi:
                problem = "it requires a login, and none is configured; give this hop a username and a password"
                raise LoginRefused(problem, Cause.LOGIN_REQUIRED)
            case _:
                raise ProtocolError(f"it picked method {data[1]:02X}, which we did not offer", Cause.WRONG_METHOD)
        return True

    def _read_login_status(self, data: bytes) -> bool:
        """Decode VER STATUS (RFC 1929 section 2)."""
        # Some proxies send the version of SOCKS here; proxychains-ng and curl accept it as well.
        if data[0] not in (LOGIN_VERSION, Version.SOCKS5):
            problem = f"the answer to the login has version {data[0]}; RFC 1929 wants 1"
            raise ProtocolError(problem, Cause.WRONG_VERSION)
        if data[1]:
            problem = f"it refused our username and password (status {data[1]:02X})"
            raise LoginRefused(problem, Cause.LOGIN_REFUSED)
        self._incoming = data[2:]
        self._send_request()
        return True

    def _send_login(self, login: UsernamePassword) -> None:
        username, password = login.username, login.password
        self._outgoing += bytes((LOGIN_VERSION, len(username))) + username + bytes((len(password),)) + password
        self.state = State.SUB_NEGOTIATION

    def _send_request(self) -> None:
        request = self._request
        self._outgoing += bytes((_SOCKS5, request.command, 0)) + encode_address(request.destination)
        self.state = _ASKING

    def _read_reply(self, data: bytes) -> bool:
        """Decode VER REP RSV ATYP BND.ADDR BND.PORT (RFC 1928 section 6)."""
        if data[0] != _SOCKS5:
            raise ProtocolError(f"the reply has version {data[0]}, not 5", Cause.WRONG_VERSION)
        # RSV is ignored, as curl ignores it.
        try:
            decoded = (UNSPECIFIED, 10) if data[3:10] == _UNSPECIFIED else decode_address(data, 3)
        except ProtocolError as error:
            if data[1]:
                decoded = UNSPECIFIED, 4  # a refusal needs no address; some servers send zeros, also for ATYP
            elif error.cause is Cause.UNKNOWN_ADDRESS_TYPE or self._request.command in _ANSWERED_BY_ADDRESS:
                raise
            else:
                decoded = skip_name(data, 3)  # it has granted the request, and names no place
        if decoded is None:
            return False
        bound, end = decoded
        self._finish(Reply(data[1], bound), data[end:])
        return False

    def _end_of_data(self) -> None:
        # tiny-proxy sends its refusals without an address; the code is enough.
        replying = self.state in (State.REQUEST, State.SECOND_REPLY)
        if replying and len(self._incoming) >= 2 and self._incoming[1]:
            self._finish(Reply(self._incoming[1]), b"")
        else:
            super()._end_of_data()


class GreetingHandshake(ClientHandshake):
    """A method negotiation and a login without a request: `done` where that would come, and without a `reply`.

    It tests a proxy without a connection to any destination.

    Raises:
        ValueError: the username or the password is over 255 bytes.
    """

    __slots__ = ()

    def __init__(self, credentials: Credentials | None) -> None:
        super().__init__(Request(Version.SOCKS5, Command.CONNECT, UNSPECIFIED, credentials))

    def _send_request(self) -> None:
        self.state = State.DONE


class RequestHandshake(ClientHandshake):
    """The request and the reply to it, where a `GreetingHandshake` has done what comes before."""

    __slots__ = ()

    def _greet(self) -> None:
        self._send_request()


def _login_of(credentials: Credentials | None) -> UsernamePassword | None:
    if not isinstance(credentials, UsernamePassword):
        return None
    for what, text in (("username", credentials.username), ("password", credentials.password)):
        if len(text) > MAX_LOGIN:
            raise ValueError(f"a SOCKS5 {what} has at most {MAX_LOGIN} bytes, this one has {len(text)}")
    return credentials


def _in_words(method: int) -> str:
    return _IN_WORDS.get(method, f"method {method:02X}")
