"""What the server answers, asked no more often than it should be.

However many browsers and monitoring systems ask, each answer is asked for once and serves all of them for a moment. One
that takes long is kept for longer: asking takes at most `SHARE` of the time. That there is no answer is kept as well.

Orders have a connection of their own: requests on one are answered in their order, and a reload may take a minute.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import trio

from chainsocks.control.ask import Asker
from chainsocks.control.messages import ControlError, Fault, Hop, Request, Status, What
from chainsocks.observe.metrics import Sample, read_document
from chainsocks.web.merge import Merger, WorkerSamples

__all__ = ["FRESH", "JSON", "PATIENCE", "SHARE", "Chain", "Listed", "Measured", "Member", "Source"]

FRESH = 0.5
"""Seconds for which an answer is kept at least."""

SHARE = 0.1
"""The share of the time in which a question is under way, at most."""

PATIENCE = 5.0
"""Seconds that an answer may take."""

JSON = Mapping[str, Any]

AnswerT = TypeVar("AnswerT")


class _Kept(Generic[AnswerT]):
    """One question, and its answer or failure for as long as that is fresh."""

    def __init__(self, ask: Callable[[], Awaitable[AnswerT]]) -> None:
        self._ask = ask
        self._turn = trio.Lock()
        self._answer: list[AnswerT] = []
        self._failure: ControlError | None = None
        self._good_until = 0.0

    async def get(self) -> AnswerT:
        async with self._turn:
            if not (self._answer or self._failure) or trio.current_time() >= self._good_until:
                await self._refresh()
            if self._failure:
                raise ControlError(self._failure.fault, self._failure.message)
            return self._answer[0]

    async def _refresh(self) -> None:
        began = trio.current_time()
        try:
            answer = await self._ask()
        except ControlError as error:
            self._failure, self._good_until = error, trio.current_time() + FRESH
            return
        done = trio.current_time()
        self._failure, self._answer, self._good_until = None, [answer], done + max(FRESH, (done - began) / SHARE)

    def drop(self) -> None:
        """Ask anew the next time."""
        self._good_until = 0.0


@dataclass(frozen=True, slots=True)
class Member:
    """A place of a chain: a hop, or a group with members."""

    hop: str | None = None
    group: str | None = None
    pick: str | None = None
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain as it is configured."""

    name: str
    places: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """What all workers have counted, at a time."""

    at: float
    samples: tuple[Sample, ...]
    chains: tuple[Chain, ...]
    failures: tuple[JSON, ...]
    """The last sessions that failed, the latest first, as JSON."""
    document: JSON
    """The whole answer."""


@dataclass(frozen=True, slots=True)
class Listed:
    """The sessions that run at a time."""

    at: float
    sessions: Sequence[JSON]
    """Each as the JSON of a `chainsocks.control.messages.Session`: they are many, and only passed on."""


class Source:
    """Asks the server by `asker`, and has it do something by `orders`, which is another connection to it.

    Every question raises `ControlError` where there is no answer.
    """

    def __init__(self, asker: Asker, orders: Asker) -> None:
        self._asker = asker
        self._orders = orders
        self._merger = Merger()
        self._status = _Kept(lambda: asker.status(PATIENCE))
        self._hops = _Kept(lambda: asker.hops(PATIENCE))
        self._sessions = _Kept(self._list_sessions)
        self._measured = _Kept(self._measure)

    async def status(self) -> Status:
        """Return how the server is."""
        return await self._status.get()

    async def hops(self) -> tuple[Hop, ...]:
        """Return its hops."""
        return await self._hops.get()

    async def sessions(self) -> Listed:
        """Return the sessions that run."""
        return await self._sessions.get()

    async def measured(self) -> Measured:
        """Return what it has counted."""
        return await self._measured.get()

    async def order(self, request: Request) -> JSON:
        """Have the server do something; return its answer."""
        [answer] = await self._orders.ask(request)
        for kept in (self._status, self._hops, self._sessions, self._measured):
            kept.drop()
        return answer.document

    async def _list_sessions(self) -> Listed:
        answers = await self._asker.ask(Request(what=What.SESSIONS), PATIENCE)
        sessions = [session for answer in answers for session in answer.document.get("sessions", ())]
        return Listed(trio.current_time(), sessions)

    async def _measure(self) -> Measured:
        [answer] = await self._asker.ask(Request(what=What.METRICS), PATIENCE)
        try:
            workers = answer.document["workers"]
            read = [WorkerSamples(each["worker"], tuple(read_document(each["metrics"]))) for each in workers]
            chains = tuple(_read_chain(each) for each in (workers[0]["chains"] if workers else ()))
            failures = sorted((each for worker in workers for each in worker["failures"]), key=lambda each: each["ago"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ControlError(Fault.BAD_REQUEST, f"the server sent no metrics: {error}") from None
        return Measured(trio.current_time(), tuple(self._merger.merge(read)), chains, tuple(failures), answer.document)


def _read_chain(document: JSON) -> Chain:
    return Chain(document["name"], tuple(map(_read_member, document["places"])))


def _read_member(document: JSON) -> Member:
    members = tuple(map(_read_member, document.get("members", ())))
    return Member(document.get("hop"), document.get("group"), document.get("pick"), members)
