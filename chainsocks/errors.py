"""Every exception that chainsocks raises on purpose.

::

    ChainsocksError
    ├── ConfigError                     the configuration, with every problem in it
    ├── ProtocolError                   a peer broke the protocol
    │   └── LoginRefused                a proxy accepts no login of ours, or we accept none of a client's
    ├── RequestRefused                  a client's request that is not carried out
    ├── GssError                        a GSSAPI mechanism failed
    ├── WebListenError                  the address of the web server is not available
    ├── NotFoundError                   a resolver's final answer, without an address or a name
    └── DialError, OSError              the destination was not reached: who failed, where, at which step, why
        ├── UnsupportedAddress          a hop's protocol cannot carry this kind of address
        ├── ConnectError                no TCP connection to the first hop, or to the destination without a hop
        │   └── DestinationRefused, ConnectionRefusedError      the destination refused that connection
        ├── DestinationTlsError         the TLS handshake with the destination failed, or its certificate was bad
        ├── HopTlsError                 the TLS handshake with a hop failed, or its certificate was not accepted
        ├── HopProtocolError            a hop broke the protocol, or closed the connection
        ├── HopAuthenticationError      a hop refused our login
        ├── HopRefused                  a hop answered our request with a refusal
        │   └── DestinationRefusedHop, ConnectionRefusedError   the destination refused the last hop's connection
        ├── ResolverError               the resolver, of this machine or behind a chain, gave no usable answer
        ├── ResponseError               the destination of a plain HTTP request gave no usable response
        └── DialTimeout, TimeoutError   a step did not end within its limit

What stands behind a comma is the standard library's: ``except OSError`` around a dial catches every `DialError`,
``except TimeoutError`` every `DialTimeout`, ``except ConnectionRefusedError`` every refusal by the destination.

1. Programs match on the class and on `Cause`; the message is for people.
2. An error does not change once it has been raised.
3. Every error can be copied and pickled, with all its attributes, as a pool of processes does with it.
"""

from __future__ import annotations

import copy
import errno as numbers
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self, cast

from chainsocks.protocol.address import Address
from chainsocks.protocol.errors import Cause, ChainsocksError, LoginRefused, ProtocolError
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import ReplyCode, show_code

__all__ = [
    "Cause",
    "ChainsocksError",
    "ConfigError",
    "ConnectError",
    "DestinationRefused",
    "DestinationRefusedHop",
    "DestinationTlsError",
    "DialError",
    "DialTimeout",
    "End",
    "GssError",
    "HopAuthenticationError",
    "HopProtocolError",
    "HopRefused",
    "HopTlsError",
    "LoginRefused",
    "NotFoundError",
    "Place",
    "Problem",
    "ProtocolError",
    "RequestRefused",
    "ResolverError",
    "ResponseError",
    "Step",
    "UnsupportedAddress",
    "WebListenError",
    "reply_code_of",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a configuration: where (a dotted path, or a line), and what to do about it."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(ChainsocksError):
    """A configuration that cannot be used. `problems` holds everything that is wrong with it, not the first only.

    `is_whole` says so: it is False where some checks could not be made before these problems are mended.
    """

    def __init__(self, problems: Sequence[Problem], source: str = "", *, is_whole: bool = True) -> None:
        super().__init__(problems, source)
        self.problems = tuple(problems)
        self.source = source
        self.is_whole = is_whole

    def __str__(self) -> str:
        prefix = f"{self.source}: " if self.source else ""
        return "\n".join(f"{prefix}{problem}" for problem in self.problems)


class WebListenError(ChainsocksError):
    """The address of ``[web] listen`` is not available. `number` is the errno, and `reason` says it in words."""

    def __init__(self, address: str, number: int, reason: str) -> None:
        super().__init__(address, number, reason)
        self.address = address
        self.number = number
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.address}: {self.reason}"


class RequestRefused(ChainsocksError):
    """A well-formed request that is not carried out; `reply_code` is the code of the reply to the client.

    `discreet` is the message where that names a client, a user or a destination: the same without them.
    """

    def __init__(self, message: str, reply_code: int, *, discreet: str = "") -> None:
        super().__init__(message)
        self.reply_code = reply_code
        self._discreet = discreet

    @property
    def discreet(self) -> str:
        """The message without clients, users and destinations."""
        return self._discreet or str(self)

    @property
    def is_failure(self) -> bool:
        """Whether something failed; otherwise a rule or the configuration forbids the request."""
        return self.reply_code in _FAILURES


class GssError(ChainsocksError):
    """A GSSAPI mechanism failed; the message is its own, and contains no token."""

    cause = Cause.GSSAPI_FAILED

    @property
    def discreet(self) -> str:
        """The cause: the mechanism's message may name a principal."""
        return self.cause.words


class NotFoundError(ChainsocksError):
    """The resolver gave a final answer without an address or a name; `cause` says why."""

    def __init__(self, problem: str, cause: Cause) -> None:
        super().__init__(problem)
        self.cause = cause

    @property
    def discreet(self) -> str:
        """The cause."""
        return self.cause.words


class Step(StrEnum):
    """The steps of a dial around a handshake's own (`chainsocks.protocol.handshake.State`)."""

    RESOLVE = "name lookup"
    CONNECT = "TCP connect"
    TLS = "TLS handshake"
    LISTEN = "TCP listen"
    AFTER_REPLY = "what comes behind its request"
    """Waiting for the destination's own first bytes, after the last hop's reply."""
    RESPONSE = "HTTP response"
    """Waiting for the response to a plain HTTP request."""
    OPEN = "open"
    """The connection to the destination is open: the end of a dial."""


class End(StrEnum):
    """Where the last hop of a dial leads to."""

    DESTINATION = "destination"
    """The destination that the client asked for."""
    RESOLVER = "resolver"
    """The DNS resolver of the chain, which the client did not ask for."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a dial something happened: a hop, or (`hop` is None) the end of the dial; and the step."""

    hop: str | None
    """The hop's name."""
    address: Address
    """Of the hop, or of the end."""
    step: State | Step
    position: int = 0
    """The hop's position in the route, from 1; 0 at the end."""
    hops: int = 0
    """How many hops the route has."""
    end: End = field(default=End.DESTINATION, kw_only=True)

    @property
    def who(self) -> str | None:
        """The hop with its position, as in ``osaka (2 of 3)``; None at the end."""
        return f"{self.hop} ({self.position} of {self.hops})" if self.position else self.hop

    def __str__(self) -> str:
        who = f"hop {self.who} at {self.address}" if self.hop else f"{self.end} {self.address}"
        return f"{who}, {self.step}"

    @property
    def discreet(self) -> str:
        """The place without the address of a destination. A resolver is the operator's, as hops are."""
        return f"{self.end}, {self.step}" if self.hop is None and self.end is End.DESTINATION else str(self)


_GENERAL = (ReplyCode.GENERAL_FAILURE, ReplyCode.GENERAL_FAILURE)

_FAILURES = {ReplyCode.GENERAL_FAILURE, ReplyCode.HOST_UNREACHABLE}
"""Codes of refusals that nothing forbids."""

_REPLY_CODES: Mapping[Cause, tuple[ReplyCode, ReplyCode]] = {
    # Of a failure at the destination, and of one at a hop or on the way to the resolver. Every other cause is a
    # general failure in both places, except `Cause.REFUSED`: the last hop's own code is passed through.
    Cause.CONNECTION_REFUSED: (ReplyCode.CONNECTION_REFUSED, ReplyCode.GENERAL_FAILURE),
    Cause.NETWORK_UNREACHABLE: (ReplyCode.NETWORK_UNREACHABLE, ReplyCode.GENERAL_FAILURE),
    Cause.HOST_UNREACHABLE: (ReplyCode.HOST_UNREACHABLE, ReplyCode.GENERAL_FAILURE),
    Cause.NAME_NOT_FOUND: (ReplyCode.HOST_UNREACHABLE, ReplyCode.GENERAL_FAILURE),
    Cause.NO_ANSWER: (ReplyCode.TTL_EXPIRED, ReplyCode.GENERAL_FAILURE),
    Cause.NOT_ALLOWED: (ReplyCode.NOT_ALLOWED_BY_RULESET, ReplyCode.GENERAL_FAILURE),
    Cause.NO_ADDRESS_FAMILY: (ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED, ReplyCode.GENERAL_FAILURE),
    Cause.TIMED_OUT: (ReplyCode.TTL_EXPIRED, ReplyCode.TTL_EXPIRED),
    Cause.UNSUPPORTED_ADDRESS: (ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED, ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED),
}

_ABOUT_THE_DESTINATION = {
    ReplyCode.HOST_UNREACHABLE,
    ReplyCode.CONNECTION_REFUSED,
    ReplyCode.TTL_EXPIRED,
    *(code for code in ReplyCode if code >= ReplyCode.ONION_DESCRIPTOR_NOT_FOUND),
}
"""Codes by which a last hop reports what happened at the destination. The others speak of the hop, or say nothing."""


def reply_code_of(cause: Cause, *, at_destination: bool) -> ReplyCode:
    """Return the code of the reply to a client whose dial failed for `cause`, at its destination or elsewhere."""
    return _REPLY_CODES.get(cause, _GENERAL)[0 if at_destination else 1]


class DialError(ChainsocksError, OSError):
    """The destination was not reached.

    Attributes:
        place: the hop or destination, its address, and the step that failed.
        problem: what happened there, in words.
        cause: what happened there, for programs.
        elapsed: seconds since the step's limit began.
        limit: seconds that were allowed; ``inf`` where the limit is off.
        at_destination: whether the destination itself failed, and no hop: it was reached directly, or the last hop
            reported it.
        errno: of the system call that failed, if one did; ``ECONNREFUSED`` and ``ETIMEDOUT`` also where a hop or a
            limit says so.
        earlier: the errors of earlier attempts by other routes, for the same request.
    """

    place: Place
    problem: str
    cause: Cause
    elapsed: float
    limit: float
    at_destination: bool
    errno: int | None
    earlier: tuple[DialError, ...]

    _errno: int | None = None
    """The ``errno`` of a class whose name says which it is."""

    def __init__(
        self,
        place: Place,
        problem: str,
        cause: Cause,
        *,
        elapsed: float,
        limit: float,
        at_destination: bool = False,
        errno: int | None = None,
        earlier: Iterable[DialError] = (),
    ) -> None:
        super().__init__(problem)
        self.args = (problem,)  # OSError leaves them empty where a subclass has a __new__ of its own
        self.strerror = problem
        self.place = place
        self.problem = problem
        self.cause = cause
        self.elapsed = elapsed
        self.limit = limit
        self.at_destination = at_destination
        self.errno = self._errno if errno is None else errno
        self.earlier = tuple(earlier)

    @property
    def reply_code(self) -> int:
        """The code of the reply to a client that waits for this dial."""
        return reply_code_of(self.cause, at_destination=self.at_destination)

    @property
    def is_failure(self) -> bool:
        """Whether something failed; otherwise this program does not let the client go there."""
        forbidden = self.cause is Cause.NOT_ALLOWED and self.at_destination and self.errno is None
        return not forbidden

    def after(self, earlier: Iterable[DialError]) -> Self:
        """Return a copy that has these `earlier` errors, with this error's traceback and cause."""
        copied = copy.copy(self)
        copied.earlier = tuple(earlier)
        copied.__cause__, copied.__context__ = self.__cause__, self.__context__
        copied.__suppress_context__ = self.__suppress_context__
        return copied.with_traceback(self.__traceback__)

    def __str__(self) -> str:
        before = "".join(f"; before that, {error}" for error in self.earlier)
        return f"{self.place}: {self.problem} {self._time}{before}"

    @property
    def discreet(self) -> str:
        """Place, cause and time: the message may name the destination."""
        before = "".join(f"; before that, {error.discreet}" for error in self.earlier)
        return f"{self.place.discreet}: {self._discreet_problem} {self._time}{before}"

    @property
    def _discreet_problem(self) -> str:
        return self.cause.words

    @property
    def _time(self) -> str:
        limit = f"of {self.limit:g} s" if math.isfinite(self.limit) else "without a limit"
        return f"({self.elapsed:.2f} s {limit})"

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "errno": self.errno, "strerror": self.strerror}


class UnsupportedAddress(DialError):
    """A hop's protocol cannot carry the address that the hop would be asked for; nothing was sent to it."""


class ConnectError(DialError):
    """No TCP connection to the first hop, or to the destination when the chain has no hop.

    A refusal by the destination makes a `DestinationRefused`, as ``OSError`` makes a ``ConnectionRefusedError``.
    """

    def __new__(cls, *args: object, at_destination: bool = False, **details: object) -> Self:  # noqa: D102
        refused = at_destination and args[2:3] == (Cause.CONNECTION_REFUSED,)
        return cast(Self, super().__new__(DestinationRefused if refused else cls))


class DestinationRefused(ConnectError, ConnectionRefusedError):
    """The destination refused the TCP connection of this machine."""


class HopProtocolError(DialError):
    """A hop broke the protocol, or closed the connection before its part was done."""


class HopAuthenticationError(DialError):
    """A hop refused our login, or accepts no login method that is configured for it."""


class HopTlsError(DialError):
    """The TLS handshake with a hop failed, or its certificate was not accepted."""


class DestinationTlsError(DialError):
    """The TLS handshake with the destination failed, or its certificate was not accepted."""


class HopRefused(DialError):
    """A hop answered our request with a refusal; `code` is the reply code that it sent.

    `Cause.REFUSED`: the hop refused what the client asked for, and the client gets the hop's code. Code 05 makes a
    `DestinationRefusedHop`. `Cause.NEXT_NOT_REACHED`: the hop did not reach the next hop, or the resolver. Either of
    the two may have failed, and the client gets a general failure.
    """

    code: int

    def __new__(cls, *args: object, code: int = ReplyCode.GENERAL_FAILURE, **details: object) -> Self:  # noqa: D102
        refused = args[2:3] == (Cause.REFUSED,) and code == ReplyCode.CONNECTION_REFUSED
        return cast(Self, super().__new__(DestinationRefusedHop if refused else cls))

    def __init__(
        self,
        place: Place,
        problem: str,
        cause: Cause,
        *,
        code: int,
        elapsed: float,
        limit: float,
        earlier: Iterable[DialError] = (),
    ) -> None:
        super().__init__(
            place,
            problem,
            cause,
            elapsed=elapsed,
            limit=limit,
            at_destination=cause is Cause.REFUSED and code in _ABOUT_THE_DESTINATION,
            earlier=earlier,
        )
        self.code = code

    @property
    def _discreet_problem(self) -> str:
        return f"{self.cause.words}, reply {show_code(self.code)}"

    @property
    def reply_code(self) -> int:
        """The hop's own code, where the client's request was refused."""
        return self.code if self.cause is Cause.REFUSED else super().reply_code


class DestinationRefusedHop(HopRefused, ConnectionRefusedError):
    """The destination refused the TCP connection of the last hop, as that hop reports."""

    _errno = numbers.ECONNREFUSED


class ResolverError(DialError):
    """The resolver, of this machine or behind a chain, knows no such name, failed, or does not speak proper DNS."""


class ResponseError(DialError):
    """The destination of a plain HTTP request was reached, and gave no response that can be passed on."""


class DialTimeout(DialError, TimeoutError):
    """A step did not end within its limit."""

    _errno = numbers.ETIMEDOUT
