"""One run of a failover group under load, in which a hop dies and comes back; and the outcome of each session.

Our server has a failover group of two hops, which are servers of ours as well; all three are processes of their own.
Sessions begin at a steady rate. In the middle, the first hop is killed (SIGKILL) or stopped (SIGSTOP: the kernel still
accepts connections, but nothing answers). Later it is started again at its old address, or continued. The server is not
notified of either.
"""

from __future__ import annotations

import math
import re
import signal
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

from benchmarks.peers import OURS, open_ours
from benchmarks.programs import Running, free_address
from benchmarks.steady import Action, Session, run_steadily
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.protocol.address import Address
from chainsocks.tools.bench.target import open_target
from chainsocks.tools.bench.way import Route, Way

__all__ = ["FIRST", "Effort", "Run", "Scenario", "attribute", "refusals", "run_once"]

FIRST, SECOND = "first", "second"
"""The names of the hops in the configuration."""

PATIENCE = 5
"""How many limits a client waits for its reply, and for its echo."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done, in seconds: the time before the hop dies, without it, and for it to be used again."""

    rate: float = 200
    """Sessions a second."""
    before: float = 5
    down: float = 10
    after: float = 15
    limit: float = 1
    """Of a connect, and of a hop's negotiation."""
    hedge: float = 0.3
    rest: float = 2
    longest_rest: float = 120
    """After a hop's first failure, and after many; see ``[health]``."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """How the hop dies, and whether the group has a hedge."""

    name: str
    signal: signal.Signals
    is_hedged: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """The sessions of a run, each with the hop that it used, and two moments on the same clock."""

    sessions: Sequence[tuple[Session, str]]
    died_at: float
    alive_at: float
    """From when the hop could be used again."""
    refusals: Sequence[str] = ()
    """The reasons in the server's log for requests that it refused."""

    def was_open(self, session: Session) -> bool:
        """Whether a session had begun, and not ended, when the hop died."""
        return session.due <= self.died_at < session.ended

    @property
    def cut(self) -> list[Session]:
        """The sessions that had been granted through the hop, and were lost with it: nothing could save them."""
        return [one for one, hop in self.sessions if self._is_cut(one, hop)]

    @property
    def failed(self) -> list[Session]:
        """The sessions that should not have been lost."""
        return [one for one, hop in self.sessions if one.error and not self._is_cut(one, hop)]

    @property
    def used_again_at(self) -> float:
        """When the first session was granted through the hop after it could be used again; infinite without one."""
        granted = (one.opened for one, hop in self.sessions if hop == FIRST and one.opened >= self.alive_at)
        return min(granted, default=math.inf)

    @property
    def back_after(self) -> float:
        """Seconds from when the hop could be used again to when it was."""
        return self.used_again_at - self.alive_at

    def _is_cut(self, session: Session, hop: str) -> bool:
        return bool(session.error) and hop == FIRST and session.due <= self.died_at


def run_once(scenario: Scenario, effort: Effort, folder: Path) -> Run:
    """Let the hop die and come back, under load."""
    folders = {name: folder / name for name in (FIRST, SECOND, "again", "front")}
    for each in folders.values():
        each.mkdir()
    with ExitStack() as stack, open_target(free_address().host) as target:
        first = stack.enter_context(open_ours(folders[FIRST]))
        second = stack.enter_context(open_ours(folders[SECOND]))
        hedge = effort.hedge if scenario.is_hedged else None
        with open_ours(folders["front"], *_group(first.address, second.address, effort, hedge)) as front:
            victim = _Victim(scenario, first, folders["again"], stack)
            hop = Hop("front", HopProtocol.SOCKS5, front.address)
            sessions = run_steadily(
                repeat(Route(Way("front", (hop,), Timeouts(hop=PATIENCE * effort.limit)), target.echo)),
                rate=effort.rate,
                until=lambda now: victim.is_alive and now >= victim.alive_at + effort.after,
                actions=[
                    # Shortly after a session has begun, so that one is open.
                    Action(effort.before + 0.2 / effort.rate, victim.die),
                    Action(effort.before + effort.down, victim.come_back),
                ],
            )
        log = (folders["front"] / OURS / "chainsocks.log").read_text(errors="replace").splitlines()
    return Run(attribute(sessions, log), victim.died_at, victim.alive_at, refusals(log))


class _Victim:
    """The hop that dies. It is started again in a thread, so that the load does not wait for that."""

    def __init__(self, scenario: Scenario, hop: Running, folder: Path, stack: ExitStack) -> None:
        self._scenario = scenario
        self._hop = hop
        self._folder = folder
        self._stack = stack
        self._threads = stack.enter_context(ThreadPoolExecutor(1))
        self._alive: Future[float] | None = None
        self.died_at = math.nan

    def die(self) -> None:
        self._hop.send_signal(self._scenario.signal)
        self.died_at = time.monotonic()

    def come_back(self) -> None:
        self._alive = self._threads.submit(self._come_back)

    def _come_back(self) -> float:
        if self._scenario.signal == signal.SIGSTOP:
            self._hop.send_signal(signal.SIGCONT)
        else:
            self._stack.enter_context(open_ours(self._folder, address=self._hop.address))
        return time.monotonic()

    @property
    def is_alive(self) -> bool:
        """Whether it has come back."""
        return self._alive is not None and self._alive.done()

    @property
    def alive_at(self) -> float:
        """When it could be used again, once it has come back."""
        assert self._alive
        return self._alive.result()


def _group(first: Address, second: Address, effort: Effort, hedge: float | None) -> list[str]:
    """Return the configuration of the group."""
    limits = ["[timeouts]", f"connect = {effort.limit}", f"hop = {effort.limit}"]
    hops = ["[hops]", f'{FIRST} = "socks5://{first}"', f'{SECOND} = "socks5://{second}"']
    group = ["[groups.exits]", f'hops = ["{FIRST}", "{SECOND}"]', 'pick = "failover"']
    group += [f"hedge = {hedge}"] if hedge else []
    health = ["[health]", f"rest = {effort.rest}", f"longest_rest = {effort.longest_rest}"]
    return [*limits, *hops, *group, "[chains]", 'default = ["exits"]', *health]


def attribute(sessions: Sequence[Session], log: Sequence[str]) -> list[tuple[Session, str]]:
    """Add to each session the hop that it used, by the server's log; an empty name if it was not granted."""
    hops = defaultdict[str, deque[str]](deque)
    for line in log:
        if match := re.search(r" client=(\S+) .* hops=(\S+) reply=00 ", line):
            hops[match[1]].append(match[2])
    return [(one, hops[one.client].popleft() if hops[one.client] else "") for one in sessions]


def refusals(log: Sequence[str]) -> list[str]:
    """Return the outcomes of the requests that a server's log has as refused."""
    found = (re.search(r' reply=(?!00|-)\S+ .* outcome="(.*)"$', line) for line in log)
    return [match[1] for match in found if match]
