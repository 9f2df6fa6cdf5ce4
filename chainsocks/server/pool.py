"""The processes of the workers: how the parent starts, asks, signals and reaps them.

1. The parent reserves the addresses before there is a worker, and opens each worker's listeners right before the fork.
   So an address that is not available ends the server at its start, as with one process; and the listeners of a worker
   that dies are closed with it, so that no connection waits there for the replacement.
2. Workers that keep dying soon after their start are replaced at growing intervals (`next_pause`), without end.
3. A change of the configuration has two steps (`chainsocks.server.orders`). A worker that starts meanwhile does so
   afterwards, with the configuration that has come of it.
4. A worker that stops by itself when its parent has died is `chainsocks.server.worker`.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import count

from chainsocks.config.listeners import Listener
from chainsocks.config.models import Config
from chainsocks.errors import ConfigError, Problem
from chainsocks.limits.board import Board
from chainsocks.net.listeners import OpenListener
from chainsocks.net.sharing import bind_beside, listen_beside, reserve
from chainsocks.observe.log import change_logging
from chainsocks.server.channel import MOST_SOCKETS, Channel, open_channel
from chainsocks.server.dealing import share_limits, share_out, share_ports
from chainsocks.server.inbox import Inbox
from chainsocks.server.orders import Changed, Order, Prepare, Prepared, Told
from chainsocks.server.summary import Summary
from chainsocks.server.worker import Worker, flush_output, run_worker

__all__ = ["Pool", "Slot", "next_pause"]

log = logging.getLogger("chainsocks.server")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
"""Seconds from a worker's death to its replacement: short after one death, long enough not to load the machine when
every worker dies."""

BEFORE_FORK = 0.1
"""Seconds for the log before a worker is forked."""

SETTLED = 10.0
"""Seconds after which a worker's death no longer counts as a failed start."""

PREPARING, CHANGING = 30.0, 10.0
"""Seconds that workers have to prepare a change, and then to make it."""


def next_pause(last: float, lived: float) -> float:
    """Return the seconds to wait before a dead worker is replaced.

    `last` is the pause before that worker's own start, 0 for the first in its slot; `lived` is its age in seconds.
    """
    return FIRST_PAUSE if lived >= SETTLED else min(max(2 * last, FIRST_PAUSE), LONGEST_PAUSE)


@dataclass(slots=True, eq=False)
class Slot:
    """Room for one worker, and for its replacements one after another. Times are seconds on the monotonic clock."""

    max_sessions: int
    udp_ports: range
    number: int = 0
    pid: int = 0
    """0 while it is vacant."""
    column: int | None = None
    """That of its worker on the board; None while it is vacant, or if there is none left."""
    channel: Channel | None = None
    """To the worker; None while it is vacant, and once the worker has closed its end."""
    answer: object = None
    """What the worker has said last."""
    told: Told | None = None
    """Its state when it last told that; None while it is to tell it anew."""
    summary: Summary = field(default_factory=lambda: Summary(0, 0))
    """The same, for as long as there is no newer one."""
    is_asked: bool = False
    """Whether it has been asked for its state, and has not told it yet."""
    started: float = 0
    pause: float = 0
    """Seconds from the death of the worker to the start of its replacement."""
    due: float = 0
    """When a vacant slot is to be filled."""

    @property
    def worker(self) -> str:
        """The worker, for the log."""
        return f"worker {self.number} (pid {self.pid})"

    def vacate(self) -> None:
        """Note that its worker has died or has not started."""
        self.pid, self.due = 0, time.monotonic() + self.pause

    def tell(self, message: object, sockets: Sequence[socket.socket] = ()) -> None:
        """Send a message to the worker."""
        self.answer = None
        if self.channel:
            try:
                self.channel.send(message, sockets)
            except OSError as error:
                self.answer = Prepared(f"it cannot be told: {error.strerror}")


@dataclass(slots=True)
class Pool:
    """All workers of a server, by the configuration that new ones get."""

    config: Config
    reserved: Sequence[OpenListener]
    """The addresses, in the order in which each worker has its listeners."""
    inbox: Inbox
    slots: list[Slot] = field(default_factory=list)
    retiring: list[Slot] = field(default_factory=list)
    """Workers that accept no more connections, because there are to be fewer, and end with their last sessions."""
    asked: list[tuple[Channel, object]] = field(default_factory=list)
    """Messages of other processes than workers, with the channels that they came on."""
    on_start: Callable[[Slot], None] = lambda _: None
    """Called with each slot whose worker has started."""
    is_watched: bool = False
    """Whether workers keep what the control socket shows."""
    unwanted: Sequence[socket.socket] = ()
    """Sockets that workers inherit and close."""
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    board: Board = field(default_factory=Board)
    """What the workers tell one another, for limits."""

    # Their processes.

    def start(self, workers: int) -> None:
        """Start so many workers.

        Raises:
            OSError: one of them cannot be started.
        """
        self._deal(workers)
        for slot in self.slots:
            self._start_worker(slot)

    def fill(self) -> None:
        """Start a worker in each slot that is vacant and due."""
        for slot in self.slots:
            if not slot.pid and slot.due <= time.monotonic():
                try:
                    self._start_worker(slot)
                except OSError as error:
                    slot.pause = next_pause(slot.pause, 0)
                    log.error("%s cannot start: %s; trying again in %g s", error.filename, error.strerror, slot.pause)
                    slot.vacate()

    @property
    def due(self) -> float:
        """When a vacant slot is to be filled; infinite if there is none."""
        return min((slot.due for slot in self.slots if not slot.pid), default=math.inf)

    @property
    def workers(self) -> list[Slot]:
        """The slots with a worker in it, retiring or not."""
        return [slot for slot in (*self.slots, *self.retiring) if slot.pid]

    def reap(self) -> Iterator[tuple[Slot, int]]:
        """Reap the workers that have died; yield the slot and the exit code of each."""
        for slot in self.workers:
            pid, status = os.waitpid(slot.pid, os.WNOHANG)
            if pid:
                self._hang_up(slot)
                self._give_back_column(slot)
                yield slot, os.waitstatus_to_exitcode(status)
        self.retiring = [slot for slot in self.retiring if slot.pid]

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to all workers."""
        for slot in self.workers:
            os.kill(slot.pid, number)

    def close(self) -> None:
        """Kill and reap the workers that are left."""
        self.signal_all(signal.SIGKILL)
        for slot in self.workers:
            os.waitpid(slot.pid, 0)
            self._hang_up(slot)

    def release(self) -> None:
        """Give up the addresses."""
        for each in self.reserved:
            each.close()
        self.reserved = ()

    def _give_back_column(self, slot: Slot) -> None:
        if slot.column is not None:
            self.board.give_back(slot.column)
            slot.column = None

    # What they say.

    def wait(self, until: float = math.inf) -> Sequence[signal.Signals]:
        """Wait for something to do, at most until `until`; return the signals that have come."""
        signals, channels = self.inbox.wait(until)
        for channel in channels:
            slot = next((slot for slot in self.workers if slot.channel is channel), None)
            try:
                while received := channel.receive():
                    self._note(slot, channel, received.message)
            except EOFError:
                if slot:
                    self._hang_up(slot)
                else:
                    self.inbox.remove(channel)
        return signals

    def _note(self, slot: Slot | None, channel: Channel, message: object) -> None:
        if slot is None:
            self.asked.append((channel, message))
        elif isinstance(message, Told):
            slot.told, slot.summary, slot.is_asked = message, message.summary, False
        else:
            slot.answer = message

    def _wait_for_answers(self, slots: Sequence[Slot], seconds: float) -> list[signal.Signals]:
        """Wait until all of `slots` have answered, or have died; return the signals that have come meanwhile."""
        until, signals = time.monotonic() + seconds, list[signal.Signals]()
        while any(slot.channel and slot.answer is None for slot in slots) and time.monotonic() < until:
            signals += self.wait(until)
        return signals

    # Another configuration.

    def change(self, config: Config, workers: int, arranged: Sequence[OpenListener]) -> list[signal.Signals]:
        """Have all workers change to a configuration, or none; return the signals that have come meanwhile.

        There are so many workers then. `arranged` are the new addresses: those of `reserved` that stay, and bound ones,
        which the caller closes on failure.

        Raises:
            ConfigError: a worker could not prepare the change.
            OSError: there are not enough sockets.
        """
        current = {each.sock: index for index, each in enumerate(self.reserved)}
        new = [each for each in arranged if each.sock not in current]
        if len(new) > MOST_SOCKETS:
            what = f"{len(new)} new addresses are too many for one reload, which may have {MOST_SOCKETS}"
            raise ConfigError([Problem("server.listen", what)])
        for each in new:
            if not each.is_shared:
                reserve(each)
        staying = [slot for slot in self.slots[:workers] if slot.pid]
        try:
            listeners = [(each.listener, current.get(each.sock)) for each in arranged]
            for slot, mine in zip(self.slots, self._shares(config, workers), strict=False):
                if slot.pid:
                    _tell_to_prepare(slot, mine, listeners, new)
            signals = self._wait_for_answers(staying, PREPARING)
            if problems := [*_problems(staying)]:
                raise ConfigError(problems)
        except BaseException:
            for slot in staying:
                slot.tell(Order.ABORT)
            raise
        self._commit(config, workers, arranged, staying)
        return signals + self._wait_for_change(staying)

    def _commit(self, config: Config, workers: int, arranged: Sequence[OpenListener], staying: Sequence[Slot]) -> None:
        """Change what new workers get, and have those that stay change."""
        kept = {each.sock for each in arranged}
        gone = [each for each in self.reserved if each.sock not in kept]
        for each in arranged:
            if each.is_shared:
                reserve(each)
        self.config, self.reserved = config, arranged
        change_logging(config.log)
        for slot in staying:
            slot.tell(Order.CHANGE)
        self._deal(workers)
        for each in gone:
            each.close()

    def _wait_for_change(self, staying: Sequence[Slot]) -> list[signal.Signals]:
        """Wait until the workers have changed; kill those that have not, so that they are replaced."""
        signals = self._wait_for_answers(staying, CHANGING)
        for slot in staying:
            if slot.channel and not isinstance(slot.answer, Changed):
                log.error(
                    "%s has not changed to the new configuration within %g s; it is killed", slot.worker, CHANGING
                )
                os.kill(slot.pid, signal.SIGKILL)
        return signals

    def _deal(self, workers: int) -> None:
        """Have so many slots, each with its share; retire the workers of those that are too many."""
        for slot in self.slots[workers:]:
            if slot.pid:
                log.info("%s retires: it ends with its last session", slot.worker)
                slot.tell(Order.RETIRE)
                self.retiring.append(slot)
        del self.slots[workers:]
        for index, mine in enumerate(self._shares(self.config, workers)):
            if index == len(self.slots):
                self.slots.append(Slot(0, range(0)))
            self.slots[index].max_sessions = mine.server.max_sessions
            self.slots[index].udp_ports = mine.server.udp_ports

    def _shares(self, config: Config, workers: int) -> list[Config]:
        """Return the configuration for each worker."""
        server, limits = config.server, share_limits(config.limits, workers)
        return [
            replace(config, server=replace(server, max_sessions=sessions, udp_ports=ports), limits=limits)
            for sessions, ports in zip(
                share_out(server.max_sessions, workers), share_ports(server.udp_ports, workers), strict=True
            )
        ]

    def _start_worker(self, slot: Slot) -> None:
        server = replace(self.config.server, max_sessions=slot.max_sessions, udp_ports=slot.udp_ports)
        slot.number = next(self.numbers)
        flush_output(BEFORE_FORK)
        try:
            with ExitStack() as stack:
                listeners = stack.enter_context(listen_beside(self.reserved, self.config.server.keepalive))
                stack.enter_context(self.inbox.held())
                channel, theirs = open_channel()
                stack.callback(theirs.close)
                unused = stack.enter_context(ExitStack())
                unused.callback(channel.close)
                config = replace(self.config, server=server, limits=share_limits(self.config.limits, len(self.slots)))
                slot.column = self.board.take_column()
                others = None if slot.column is None else self.board.column(slot.column)
                worker = Worker(slot.number, config, listeners, theirs, self.is_watched, others, slot in self.slots[:1])
                pid = os.fork()
                if pid == 0:
                    channel.close()
                    run_worker(worker, self.leave)
                unused.pop_all()
        except OSError as error:
            self._give_back_column(slot)
            raise OSError(error.errno, error.strerror, f"worker {slot.number}") from error
        self.inbox.add(channel)
        slot.pid, slot.channel, slot.started = pid, channel, time.monotonic()
        slot.answer = slot.told = None
        slot.is_asked = False
        log.info("%s has started", slot.worker)
        self.on_start(slot)

    def leave(self) -> None:
        """Close what is the parent's, in the process of a worker that was forked."""
        self.leave_to_control_process()
        for sock in self.unwanted:
            sock.close()

    def leave_to_control_process(self) -> None:
        """Close what is the parent's, in the control process."""
        self.inbox.leave()
        for each in self.reserved:
            each.sock.close()  # and the files of unix sockets stay

    def _hang_up(self, slot: Slot) -> None:
        if slot.channel:
            self.inbox.remove(slot.channel)
            slot.channel.close()
            slot.channel = None


def _tell_to_prepare(
    slot: Slot, config: Config, listeners: Sequence[tuple[Listener, int | None]], new: Sequence[OpenListener]
) -> None:
    with ExitStack() as stack:
        sockets = []
        for each in new:
            beside = bind_beside(each)
            stack.callback(beside.close)
            sockets.append(beside.sock)
        slot.tell(Prepare(config, listeners), sockets)


def _problems(slots: Sequence[Slot]) -> Iterator[Problem]:
    """Say which of the workers that live have not prepared a change, and why."""
    for slot in slots:
        if slot.channel and not isinstance(slot.answer, Prepared):
            yield Problem("", f"{slot.worker} has not answered within {PREPARING:g} s")
        elif slot.channel and isinstance(slot.answer, Prepared) and slot.answer.problem:
            yield Problem("", f"{slot.worker} cannot prepare for it: {slot.answer.problem}")
