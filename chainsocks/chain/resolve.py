"""tor's RESOLVE and RESOLVE_PTR: look up a name, or the name of an address, the way that a chain's connections go.

Who answers is decided by the chain:

1. An IP address that is to be resolved is its own answer, as tor has it. Nobody is asked.
2. A direct chain asks the resolver of this machine, and so does one whose last hop has ``resolve = "local"``.
3. A last hop with ``tor = true`` is sent the command, and what it says is passed on, its refusals with their codes.
4. Otherwise the chain's `resolver` is asked, in DNS over TCP through all hops (`chainsocks.chain.resolver`). Failing
   to reach it is a general failure: the client has not asked for it.
5. Otherwise the request is refused. No name ever goes around a hop.

Of a name with addresses of both families, an IPv4 one is told. The way to whoever answers has the limits of a dial, and
the answer has `resolve`, or `hop` where a hop gives it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum, auto
from typing import Protocol

import anyio

from chainsocks.chain.dial import Choices, walk_through
from chainsocks.chain.network import CancelScope, Network
from chainsocks.chain.resolver import Question, ask, dialect
from chainsocks.chain.walk import OPEN, RESOLVE, OnStep, Upstream, Walk
from chainsocks.config.chains import Chain, Route
from chainsocks.config.hops import Resolve
from chainsocks.config.models import Timeouts
from chainsocks.errors import (
    Cause,
    ConnectError,
    End,
    HopProtocolError,
    NotFoundError,
    ProtocolError,
    RequestRefused,
    ResolverError,
)
from chainsocks.protocol.address import Address, AddressType, canonical, printable
from chainsocks.protocol.messages import Command, ReplyCode

__all__ = ["ResolveNetwork", "ResolveWalk", "resolve"]


class ResolveNetwork(Network, Protocol):
    """The network of a dial, with names for addresses."""

    async def name_of(self, address: Address) -> str:
        """Look up the name of an IP address locally, or raise `OSError`."""


class _Oracle(Enum):
    """Who is asked."""

    NOBODY = auto()
    THIS_MACHINE = auto()
    LAST_HOP = auto()
    RESOLVER = auto()


async def resolve(
    chain: Chain,
    subject: Address,
    timeouts: Timeouts,
    network: ResolveNetwork,
    command: Command = Command.RESOLVE,
    choices: Choices | None = None,
) -> Address:
    """Return the address of a name, or with `Command.RESOLVE_PTR` the name of an address; its port is 0.

    Raises:
        DialError: one of its subclasses, by cause.
        RequestRefused: this chain has nobody to ask, or there is no asking for this.
    """

    def begin(route: Route, began: float | None) -> ResolveWalk:
        return ResolveWalk(route, command, subject, timeouts, network, began=began)

    _, answer = await walk_through(chain, subject.packed, choices, network, begin, ResolveWalk.answer)
    return answer


class ResolveWalk(Walk):
    """The walk to whoever answers, and the question. The port of `subject` means nothing.

    Raises:
        RequestRefused: this chain has nobody to ask, or there is no asking for this.
    """

    __slots__ = ("_asked", "_names", "_oracle", "_subject")

    def __init__(
        self,
        route: Route,
        command: Command,
        subject: Address,
        timeouts: Timeouts,
        network: ResolveNetwork,
        on_step: OnStep | None = None,
        began: float | None = None,
    ) -> None:
        self._asked = command
        self._subject = Address(subject.host, 0)
        self._names = network
        self._oracle = _oracle(route, command, subject)
        resolver = route.chain.resolver if self._oracle is _Oracle.RESOLVER else None
        super().__init__(route, resolver or self._subject, timeouts, network, on_step, began)
        if resolver:
            self._end = End.RESOLVER

    async def answer(self, scope: CancelScope) -> Address:
        """Ask, inside `scope`; when that cuts it short, raise `timeout` behind it. Nothing is left open.

        Raises:
            DialError: one of its subclasses, by cause.
        """
        self._scope = scope
        match self._oracle:
            case _Oracle.NOBODY:
                answer = self._subject
            case _Oracle.THIS_MACHINE:
                answer = await self._ask_this_machine()
            case _Oracle.LAST_HOP:
                answer = await self._ask_last_hop()
            case _Oracle.RESOLVER:
                answer = await self._ask_resolver(scope)
        self._at(None, OPEN)
        return answer

    async def _ask_this_machine(self) -> Address:
        if self._asked is Command.RESOLVE:
            try:
                found = await self._look_up(None, self._destination)
            except ConnectError as error:
                raise self._error(ResolverError, error.problem, error.cause, at_destination=True) from error
            return canonical(min(found, key=lambda address: address.type))
        self._at(None, RESOLVE)
        self._allow(self._timeouts.resolve, self._subject)
        try:
            name = await self._names.name_of(self._subject)
        except OSError as error:
            problem = f"no name for {self._subject.host}: {error.strerror or error}"
            raise self._error(ResolverError, problem, Cause.NAME_NOT_FOUND, at_destination=True) from error
        return self._usable(name)

    async def _ask_last_hop(self) -> Address:
        stream, reply, _ = await self._follow(self._plan(self._subject, self._asked))
        await anyio.aclose_forcefully(stream)
        answer = reply.bound
        is_name = answer.type is AddressType.DOMAINNAME
        if is_name is not (self._asked is Command.RESOLVE_PTR):
            wanted = "an IP address" if is_name else "a name"
            problem = f"it answered {self._asked.name} with {answer}, which is not {wanted}"
            raise self._error(HopProtocolError, problem, Cause.UNUSABLE)
        return Address(answer.host, 0)

    async def _ask_resolver(self, scope: CancelScope) -> Address:
        try:
            questions = dialect().questions(self._asked, self._subject)
        except ValueError as error:
            self._at(None, RESOLVE)
            problem = f"no name that could be asked for is {printable(self._subject.host)}: {error}"
            raise self._error(ResolverError, problem, Cause.NAME_NOT_FOUND, at_destination=True) from None
        upstream = await self.go(scope)
        try:
            return await self._converse(upstream, questions)
        finally:
            await anyio.aclose_forcefully(upstream.stream)

    async def _converse(self, upstream: Upstream, questions: Sequence[Question]) -> Address:
        self._at(None, RESOLVE)
        self._total = math.inf  # the dial is over: from here on it is the resolver's time
        self._allow(self._timeouts.resolve, self._subject)
        seen = f" (as seen through {self._route.hops[-1].name})" if self._route.hops else ""
        try:
            answer = await ask(upstream.stream, upstream.trailing_data, questions)
        except NotFoundError as error:
            problem = f"no answer for {printable(self._subject.host)}: {error}"
            own = error.cause is Cause.NAME_NOT_FOUND
            raise self._error(ResolverError, problem, error.cause, at_destination=own) from None
        except ProtocolError as error:
            raise self._error(ResolverError, f"{error}{seen}", error.cause) from None
        return self._usable(answer)

    def _usable(self, answer: str) -> Address:
        """Return what a resolver has found, if it can be told. Anybody can put anything there for their address."""
        is_ptr = self._asked is Command.RESOLVE_PTR
        try:
            found = Address(answer, 0)
            if is_ptr and found.type is not AddressType.DOMAINNAME:
                raise ValueError("it is called by an address")
        except ValueError as error:
            problem = f"no name for {self._subject.host}: {error}"
            raise self._error(ResolverError, problem, Cause.NAME_NOT_FOUND, at_destination=True) from None
        return found


def _oracle(route: Route, command: Command, subject: Address) -> _Oracle:
    """Decide who is asked."""
    is_name = subject.type is AddressType.DOMAINNAME
    if command is Command.RESOLVE_PTR and is_name:
        problem = f"RESOLVE_PTR asks for the name of an IP address, which {printable(subject.host)} is not"
        raise RequestRefused(problem, ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED)
    if command is Command.RESOLVE and not is_name:
        return _Oracle.NOBODY
    last = route.hops[-1] if route.hops else None
    if last and last.resolve is Resolve.LOCAL:
        return _Oracle.THIS_MACHINE
    if last and last.tor:
        return _Oracle.LAST_HOP
    if route.chain.resolver:
        return _Oracle.RESOLVER
    if last is None:
        return _Oracle.THIS_MACHINE
    problem = f"chain {route.chain.name} has nobody to ask for names; give it a resolver, or its last hop tor = true"
    raise RequestRefused(problem, ReplyCode.COMMAND_NOT_SUPPORTED)
