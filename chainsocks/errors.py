"""Every exception that chainsocks raises on purpose.

::

    ChainsocksError
    ├── ConfigError                 the configuration, with every problem in it
    ├── ProtocolError               a peer that does not speak proper SOCKS
    │   └── LoginRefused            a proxy that wants other credentials
    ├── RequestRefused              a client's request that we do not carry out
    ├── GssError                    a security mechanism's refusal
    ├── NotFoundError               a resolver's answer that there is nothing to find, or that it cannot say
    └── DialError                   the way to the destination failed: who, where, at which step
        ├── UnsupportedAddress      a hop cannot be asked for this kind of address
        ├── ConnectError            TCP to the first hop, or to the destination when there is no hop
        ├── HopProtocolError        a hop broke the protocol, or broke off
        ├── HopAuthenticationError  a hop refused our login
        ├── HopRefused              a hop answered our request with a refusal
        ├── ResolverError           the resolver, here or behind a chain, has no answer that can be used
        └── DialTimeout             a step did not end within its limit

Each error that a client may be waiting for knows the reply code that tells the truth about it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chainsocks.protocol.address import Address
from chainsocks.protocol.errors import ChainsocksError, LoginRefused, ProtocolError
from chainsocks.protocol.messages import ReplyCode

__all__ = [
    "ChainsocksError",
    "ConfigError",
    "ConnectError",
    "DialError",
    "DialTimeout",
    "GssError",
    "HopAuthenticationError",
    "HopProtocolError",
    "HopRefused",
    "LoginRefused",
    "NotFoundError",
    "Place",
    "Problem",
    "ProtocolError",
    "RequestRefused",
    "ResolverError",
    "UnsupportedAddress",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a configuration: where (a dotted path, or a line), and what to do about it."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(ChainsocksError):
    """A configuration that cannot be used. `problems` holds everything that is wrong with it, not the first only."""

    def __init__(self, problems: Sequence[Problem], source: str = "") -> None:
        super().__init__(problems, source)
        self.problems = tuple(problems)
        self.source = source

    def __str__(self) -> str:
        prefix = f"{self.source}: " if self.source else ""
        return "\n".join(f"{prefix}{problem}" for problem in self.problems)


class RequestRefused(ChainsocksError):
    """A well-formed request that we do not carry out; `reply_code` is what the client is told."""

    def __init__(self, message: str, reply_code: int) -> None:
        super().__init__(message)
        self.reply_code = reply_code


class GssError(ChainsocksError):
    """A mechanism's refusal, in its own words; there is no token in them."""


class NotFoundError(ChainsocksError):
    """The resolver has answered, and it is no use to ask on; `reply_code` is what a waiting client is told."""

    def __init__(self, problem: str, reply_code: int) -> None:
        super().__init__(problem)
        self.reply_code = reply_code


@dataclass(frozen=True, slots=True)
class Place:
    """Where on the way something happened: at a hop, or (`hop` is None) at its end, which is what `end` says."""

    hop: str | None
    address: Address
    step: str
    end: str = "destination"

    def __str__(self) -> str:
        who = f"hop {self.hop} at {self.address}" if self.hop else f"{self.end} {self.address}"
        return f"{who}, {self.step}"


class DialError(ChainsocksError):
    """The way to the destination could not be opened.

    Attributes:
        place: the hop (or destination), its address, and the step it failed at.
        problem: what happened there, in words.
        elapsed: seconds spent in that step's limit.
        limit: seconds that were allowed; ``inf`` where the limit is off.
        reply_code: what a waiting client is told.
        earlier: the errors of tries by other hops before this one, for the same request.
    """

    reply_code: int = ReplyCode.GENERAL_FAILURE

    def __init__(
        self, place: Place, problem: str, *, elapsed: float, limit: float, reply_code: int | None = None
    ) -> None:
        super().__init__(place, problem, elapsed, limit)
        self.place = place
        self.problem = problem
        self.elapsed = elapsed
        self.limit = limit
        self.earlier: tuple[DialError, ...] = ()
        if reply_code is not None:
            self.reply_code = reply_code

    def __str__(self) -> str:
        limit = f"of {self.limit:g} s" if math.isfinite(self.limit) else "without a limit"
        before = "".join(f"; before that, {error}" for error in self.earlier)
        return f"{self.place}: {self.problem} ({self.elapsed:.2f} s {limit}){before}"


class UnsupportedAddress(DialError):
    """A hop's protocol cannot carry the address that it would have to be asked for."""

    reply_code = ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED


class ConnectError(DialError):
    """No TCP connection to the first hop, or to the destination when the chain has no hop."""


class HopProtocolError(DialError):
    """A hop broke the protocol or closed the connection in the middle of it."""


class HopAuthenticationError(DialError):
    """A hop refused our login, or none of its methods is one of ours."""


class HopRefused(DialError):
    """A hop answered our request with a refusal.

    The last hop's code goes to the client as it is. A middle hop's refusal speaks of the next hop, and may be either's
    failure: the client is told of a general failure. `code` is the hop's own word in either case.
    """

    code: int = ReplyCode.GENERAL_FAILURE


class ResolverError(DialError):
    """The resolver that was asked, here or through a chain, knows no such name, fails, or does not speak proper DNS."""


class DialTimeout(DialError):
    """A step did not end within its limit."""

    reply_code = ReplyCode.TTL_EXPIRED
