"""All workers of a server behind one control socket: questions go to each of them, and the answers become one.

Each worker serves the very protocol of the control socket, on a stream to the process that asks here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TypeVar

import trio

from chainsocks.control.ask import Asker
from chainsocks.control.fleet import SendSessions, WorkerMetrics
from chainsocks.control.messages import (
    ControlError,
    Count,
    Draining,
    Fault,
    Hop,
    HopState,
    Reloaded,
    Request,
    ServerState,
    Session,
    Status,
    What,
    Worker,
)
from chainsocks.control.wire import from_document
from chainsocks.server.hop_state import BAD, trouble_of

__all__ = ["PATIENCE", "AllWorkers", "Member", "ServerControls"]

PATIENCE = 3.0
"""Seconds that a worker has for an answer. One that is stuck must not keep the others' answers from being read."""

SLICE = 200
"""Sessions that are sent at once."""

_WORST = (HopState.RESTED, HopState.FAILING, HopState.BACKOFF, HopState.WELL, HopState.UNKNOWN)

ResultT = TypeVar("ResultT")


@dataclass(eq=False, slots=True)
class Member:
    """A worker."""

    number: int
    pid: int
    asker: Asker


@dataclass(frozen=True, slots=True)
class ServerControls:
    """What is asked of the server as a whole."""

    reload: Callable[[], Awaitable[Reloaded]]
    drain: Callable[[float], None]
    pid: int
    """Of the process that ends with the server."""
    grace: Callable[[], float]


class AllWorkers:
    """A `chainsocks.control.fleet.Fleet` of several workers. `began` is on the monotonic clock."""

    def __init__(self, controls: ServerControls, began: float) -> None:
        self._controls = controls
        self._began = began
        self._members: list[Member] = []
        self._rested: set[str] = set()
        self.expected = 0
        """How many workers there are to be."""
        self.drained_at = math.inf
        """When the server stops accepting, on the monotonic clock."""
        self.complete = trio.Event()
        """Set once so many workers have joined."""

    @property
    def is_draining(self) -> bool:
        """Whether the server is about to stop, or stops."""
        return self.drained_at < math.inf

    async def join(self, member: Member) -> None:
        """Ask a further worker from now on, and send it the hops that `rest` has been called for."""
        self._members.append(member)
        if len(self._members) >= self.expected:
            self.complete.set()
        for hop in sorted(self._rested):
            try:
                await member.asker.ask(Request(what=What.REST, hop=hop), PATIENCE)
            except ControlError:
                pass  # it has no such hop any more, or does not answer

    async def aclose(self) -> None:
        """Close the streams to all workers."""
        while self._members:
            await self._members.pop().asker.aclose()

    async def status(self) -> Status:
        """See `chainsocks.control.fleet.Fleet`."""
        answers = await self._ask(lambda asker: asker.status(PATIENCE))
        told = [status for _, status in answers if isinstance(status, Status)]
        workers = [_worker_of(member, status) for member, status in answers]
        trouble = [f"worker {worker.number} does not answer" for worker in workers if not worker.answers]
        if len(workers) < self.expected:
            trouble.append(f"{len(workers)} of {self.expected} workers run")
        hops = await self.hops()
        trouble += filter(None, map(trouble_of, hops))
        if waiting := sum(status.waiting for status in told):
            trouble.append(f"connections wait for a session to end: {waiting}")
        if self.is_draining:
            trouble.append("the server is about to stop")
        return Status(
            ServerState.DRAINING if self.is_draining else ServerState.RUNNING,
            version("chainsocks"),
            self._controls.pid,
            time.monotonic() - self._began,
            tuple(dict.fromkeys(address for status in told for address in status.listen)),
            sum(status.sessions for status in told),
            sum(status.max_sessions for status in told),
            waiting,
            len(hops),
            sum(hop.state not in BAD for hop in hops),
            tuple(trouble),
            tuple(workers),
            sum(status.ended for status in told),
            sum(status.failed for status in told),
            sum(status.up for status in told),
            sum(status.down for status in told),
            next((status.source for status in told), ""),
        )

    async def sessions(self, send: SendSessions) -> None:
        """See `chainsocks.control.fleet.Fleet`."""
        answers = await self._ask(lambda asker: asker.sessions(PATIENCE))
        for _, sessions in answers:
            found: Sequence[Session] = sessions or ()
            for start in range(0, len(found), SLICE):
                await send(found[start : start + SLICE])

    async def hops(self) -> Sequence[Hop]:
        """See `chainsocks.control.fleet.Fleet`."""
        answers = await self._ask(lambda asker: asker.hops(PATIENCE))
        by_name: dict[str, list[Hop]] = {}
        for _, hops in answers:
            for hop in hops or ():
                by_name.setdefault(hop.name, []).append(hop)
        return [*map(_merge, by_name.values())]

    async def metrics(self) -> Sequence[WorkerMetrics]:
        """See `chainsocks.control.fleet.Fleet`."""

        async def ask(asker: Asker) -> Sequence[WorkerMetrics]:
            [answer] = await asker.ask(Request(what=What.METRICS), PATIENCE)
            workers: Sequence[WorkerMetrics] = answer.document["workers"]
            return workers

        return [worker for _, workers in await self._ask(ask) for worker in workers or ()]

    async def kill(self, which: Request) -> int:
        """See `chainsocks.control.fleet.Fleet`."""
        return sum(await self._count(which))

    async def rest(self, hop: str) -> int:
        """See `chainsocks.control.fleet.Fleet`."""
        found = max(await self._count(Request(what=What.REST, hop=hop)), default=0)
        if found:
            self._rested.add(hop)
        return found

    async def wake(self, hop: str) -> int:
        """See `chainsocks.control.fleet.Fleet`."""
        self._rested.discard(hop)
        return max(await self._count(Request(what=What.WAKE, hop=hop)), default=0)

    async def reload(self) -> Reloaded:
        """See `chainsocks.control.fleet.Fleet`."""
        return await self._controls.reload()

    async def drain(self, delay: float) -> Draining:
        """See `chainsocks.control.fleet.Fleet`."""
        now = time.monotonic()
        left = min(delay, max(0, self.drained_at - now))
        self.drained_at = min(self.drained_at, now + delay)
        self._controls.drain(delay)
        grace = self._controls.grace()
        return Draining(self._controls.pid, left, None if math.isinf(grace) else grace)

    async def _count(self, request: Request) -> list[int]:
        async def ask(asker: Asker) -> int:
            [answer] = await asker.ask(request, PATIENCE)
            return from_document(Count, answer.document).count

        return [count for _, count in await self._ask(ask) if count is not None]

    async def _ask(self, question: Callable[[Asker], Awaitable[ResultT]]) -> list[tuple[Member, ResultT | None]]:
        """Ask all workers at a time; return their answers in the order of the workers, None where there is none.

        A worker that is gone is left out from now on.
        """
        answers: dict[Member, ResultT | None] = dict.fromkeys(self._members)

        async def ask(member: Member) -> None:
            try:
                answers[member] = await question(member.asker)
            except ControlError as error:
                if member.asker.is_broken:
                    del answers[member]
                    if member in self._members:
                        self._members.remove(member)
                        await member.asker.aclose()
                elif error.fault is Fault.BUG:
                    raise

        async with trio.open_nursery() as nursery:
            for member in answers:
                nursery.start_soon(ask, member)
        return [*answers.items()]


def _worker_of(member: Member, status: Status | None) -> Worker:
    if status is None:
        return Worker(member.number, member.pid, 0, 0, 0, answers=False)
    return status.workers[0]


def _merge(known: Sequence[Hop]) -> Hop:
    """Return what several workers know of a hop: the worst of it."""
    worst = min(known, key=lambda hop: (_WORST.index(hop.state), -(hop.retry or 0)))
    return replace(
        worst,
        dial_time=_average(hop.dial_time for hop in known),
        latency=_average(hop.latency for hop in known),
        success=_least(hop.success for hop in known),
        sessions=sum(hop.sessions for hop in known),
        workers=len(known),
        workers_avoiding=sum(hop.workers_avoiding for hop in known),
    )


def _average(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)
