"""What a worker answers to the control socket: how it is, its sessions, its hops.

All is read from the objects that the server has for its own use, at the moment of the question. Sessions are read some
at a time, and the event loop goes on in between.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import TypeVar

import trio

import chainsocks.control.messages as messages
from chainsocks.control.fleet import SendSessions, WorkerMetrics
from chainsocks.control.messages import Draining, Reloaded, Request, ServerState, Status, Worker
from chainsocks.observe.counters import Counters
from chainsocks.observe.live import LiveSession
from chainsocks.server.hop_state import BAD, all_hops, read_hops, trouble_of
from chainsocks.server.lag import LagMeter
from chainsocks.server.metrics import Condition, read_metrics
from chainsocks.server.reload import Steering
from chainsocks.server.server import Server

__all__ = ["OneWorker", "open_worker", "read_session"]

SLICE, MANY = 50, 500
"""Sessions that are read at once, with writing them as JSON, and sessions that are looked at: about a millisecond."""

ItemT = TypeVar("ItemT")


class OneWorker:
    """The `chainsocks.control.fleet.Fleet` of a single process.

    `number` is that of the process among several workers, otherwise 0.
    """

    def __init__(self, server: Server, steering: Steering, lag: LagMeter, number: int = 0) -> None:
        self._server = server
        self._steering = steering
        self._lag = lag
        self._number = number
        self._began = trio.current_time()
        self._started = time.time()

    async def status(self) -> Status:
        """See `chainsocks.control.fleet.Fleet`."""
        server, admission = self._server, self._server.admission
        hops = self._hops({})
        worker = Worker(self._number, os.getpid(), admission.taken, admission.total, admission.waiting, self._lag.ask())
        totals = self._totals()
        trouble = [*filter(None, map(trouble_of, hops))]
        if admission.waiting:
            trouble.append(f"connections wait for a session to end: {admission.waiting}")
        is_draining = self._steering.is_draining
        if is_draining:
            trouble.append("the server is about to stop")
        return Status(
            ServerState.DRAINING if is_draining else ServerState.RUNNING,
            version("chainsocks"),
            worker.pid,
            trio.current_time() - self._began,
            tuple(map(str, server.listeners)),
            worker.sessions,
            worker.max_sessions,
            worker.waiting,
            len(hops),
            sum(hop.state not in BAD for hop in hops),
            tuple(trouble),
            (worker,),
            *totals,
            server.service.config.source,
        )

    def _hops(self, using: Mapping[str, int]) -> list[messages.Hop]:
        service = self._server.service
        health, counters = service.dialer.choices.health, service.counters or Counters()
        return read_hops(service.config, health, counters, using, trio.current_time())

    def _totals(self) -> tuple[int, int, int, int]:
        """Return how many sessions have ended and failed, and the bytes both ways of those and of those that run.

        All is read in one go, in less than a microsecond for each session: otherwise one that ends meanwhile would be
        left out, and totals would shrink.
        """
        counters = self._server.service.counters
        totals = [*counters.sessions.values()] if counters else []
        up, down = sum(each.up for each in totals), sum(each.down for each in totals)
        for session in self._server.live:
            record = session.record
            up += record.up
            down += record.down
        return sum(each.count for each in totals), sum(each.count for each in totals if each.is_failure), up, down

    async def sessions(self, send: SendSessions) -> None:
        """See `chainsocks.control.fleet.Fleet`."""
        self._lag.look_closely()
        for some in _slices([*self._server.live]):
            now = trio.current_time()
            await send([row for session in some if (row := read_session(session, now))])
            await trio.lowlevel.checkpoint()

    async def hops(self) -> Sequence[messages.Hop]:
        """See `chainsocks.control.fleet.Fleet`."""
        self._lag.look_closely()
        using: dict[str, int] = {}
        for some in _slices([*self._server.live], MANY):
            for session in some:
                moment = session.moment()
                for hop in (moment and moment.hops) or ():
                    using[hop.name] = using.get(hop.name, 0) + 1
            await trio.lowlevel.checkpoint()
        return self._hops(using)

    async def metrics(self) -> Sequence[WorkerMetrics]:
        """See `chainsocks.control.fleet.Fleet`."""
        server, counters = self._server, self._server.service.counters
        if counters is None:
            return []
        self._lag.look_closely()
        condition = Condition(self._number, self._started, self._lag.ask(), self._steering.is_draining)
        return [read_metrics(server, counters, all_hops(server.service.config), condition)]

    async def kill(self, which: Request) -> int:
        """See `chainsocks.control.fleet.Fleet`."""
        count = 0
        for some in _slices([*self._server.live]):
            for session in some:
                if session.moment() and _is_meant(session, which):
                    self._server.kill(session)
                    count += 1
            await trio.lowlevel.checkpoint()
        return count

    async def rest(self, hop: str) -> int:
        """See `chainsocks.control.fleet.Fleet`."""
        found = all_hops(self._server.service.config).get(hop)
        if found:
            self._server.service.dialer.choices.health.rest(found)
        return int(found is not None)

    async def wake(self, hop: str) -> int:
        """See `chainsocks.control.fleet.Fleet`."""
        found = all_hops(self._server.service.config).get(hop)
        if found:
            self._server.service.dialer.choices.health.wake(found)
        return int(found is not None)

    async def reload(self) -> Reloaded:
        """See `chainsocks.control.fleet.Fleet`."""
        outcome = await self._steering.reload()
        return Reloaded(outcome.source, tuple(str(outcome).splitlines()), outcome.warnings)

    async def drain(self, delay: float) -> Draining:
        """See `chainsocks.control.fleet.Fleet`."""
        left = self._steering.drain(delay)
        grace = self._server.service.config.timeouts.grace
        return Draining(os.getpid(), left, None if math.isinf(grace) else grace)


def open_worker(server: Server, steering: Steering, nursery: trio.Nursery, number: int = 0) -> OneWorker:
    """Make what answers for this process; the lag of its event loop is measured in `nursery`."""
    lag = LagMeter()
    nursery.start_soon(lag.run)
    return OneWorker(server, steering, lag, number)


def read_session(session: LiveSession, now: float) -> messages.Session | None:
    """Return what the control socket says of a session; None if it has ended."""
    moment = session.moment()
    if moment is None:
        return None
    record, place = session.record, moment.place
    request = record.request
    at_hop = place is not None and place.hop is not None
    return messages.Session(
        record.name,
        record.client,
        record.user or None,
        request.command.name if request else None,
        str(request.destination) if request else None,
        record.chain.name if record.chain else None,
        None if moment.hops is None else tuple(hop.name for hop in moment.hops),
        messages.Place(
            moment.phase,
            place.hop if place else None,
            place.position if place and at_hop else None,
            str(place.step) if place else None,
            None if math.isinf(moment.deadline) else max(0, moment.deadline - now),
        ),
        now - record.began,
        record.up,
        record.down,
    )


def _is_meant(session: LiveSession, which: Request) -> bool:
    record = session.record
    return (
        (which.session is None or record.name == which.session)
        and (which.chain is None or (record.chain is not None and record.chain.name == which.chain))
        and (which.user is None or record.user == which.user)
    )


def _slices(items: Sequence[ItemT], size: int = SLICE) -> Iterator[Sequence[ItemT]]:
    return (items[start : start + size] for start in range(0, len(items), size))
