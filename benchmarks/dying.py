"""A hop of a group that dies under load and comes back, and what became of each session in the meantime.

Our server has a failover group of two hops, which are servers of ours as well; all three are processes of their own.
Sessions begin at a steady rate. In the middle the first hop is killed (SIGKILL), or made mute (SIGSTOP: the kernel goes
on accepting, and nobody answers). Later it is started again at its old address, or continued. Nobody tells the server.
"""

from __future__ import annotations

import math
import re
import signal
import sysconfig
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.programs import Program, Running, free_address, open_programs
from benchmarks.steady import Deed, Session, run_steadily
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.protocol.address import Address
from chainsocks.tools.bench.target import open_target
from chainsocks.tools.bench.way import Way

__all__ = ["FIRST", "Effort", "Run", "Scenario", "attribute", "complaints", "run_once"]

FIRST, SECOND = "first", "second"
"""The hops, as the configuration calls them."""

PATIENCE = 5
"""How many limits a client waits for its reply, and for its echo."""

CHAINSOCKS = Path(sysconfig.get_path("scripts")) / "chainsocks"


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done, in seconds: the time before the hop dies, without it, and for it to be used again."""

    rate: float = 200
    """Sessions a second."""
    before: float = 5
    down: float = 10
    after: float = 15
    limit: float = 1
    """What a connect may take, and a hop's negotiation."""
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
    """What has happened: the sessions, each with the hop that it went through, and two moments on the same clock."""

    sessions: Sequence[tuple[Session, str]]
    died_at: float
    alive_at: float
    """From when the hop could be used again."""
    complaints: Sequence[str] = ()
    """What the server said of requests that it could not serve."""

    def was_on_its_way(self, session: Session) -> bool:
        """Whether it had begun, and not ended, when the hop died."""
        return session.due <= self.died_at < session.ended

    @property
    def cut(self) -> list[Session]:
        """Those that had been granted through the hop that died, and were lost with it: nobody could save them."""
        return [one for one, hop in self.sessions if self._is_cut(one, hop)]

    @property
    def failed(self) -> list[Session]:
        """Those that should not have been lost."""
        return [one for one, hop in self.sessions if one.error and not self._is_cut(one, hop)]

    @property
    def used_again_at(self) -> float:
        """When the first session was granted through the hop since it could be used again; infinite without one."""
        granted = (one.opened for one, hop in self.sessions if hop == FIRST and one.opened >= self.alive_at)
        return min(granted, default=math.inf)

    @property
    def back_after(self) -> float:
        """Seconds that this took."""
        return self.used_again_at - self.alive_at

    def _is_cut(self, session: Session, hop: str) -> bool:
        return bool(session.error) and hop == FIRST and session.due <= self.died_at


def run_once(scenario: Scenario, effort: Effort, folder: Path) -> Run:
    """Let the hop die and come back, under load."""
    with ExitStack() as stack, open_target(free_address().host) as target:
        first = stack.enter_context(_open(folder / FIRST))
        second = stack.enter_context(_open(folder / SECOND))
        hedge = effort.hedge if scenario.is_hedged else None
        with _open(folder / "front", _behind(first.address, second.address, effort, hedge)) as front:
            hurt = _Hurt(scenario, first, folder / "again", stack)
            route = (Hop("front", HopProtocol.SOCKS5, front.address),)
            sessions = run_steadily(
                Way("front", route, Timeouts(hop=PATIENCE * effort.limit)),
                target,
                rate=effort.rate,
                until=lambda now: hurt.is_over and now >= hurt.alive_at + effort.after,
                deeds=[
                    # Right behind the beginning of a session, so that one is on its way.
                    Deed(effort.before + 0.2 / effort.rate, hurt.die),
                    Deed(effort.before + effort.down, hurt.come_back),
                ],
            )
        log = (folder / "front" / f"{CHAINSOCKS.name}.log").read_text(errors="replace").splitlines()
    return Run(attribute(sessions, log), hurt.died_at, hurt.alive_at, complaints(log))


class _Hurt:
    """The hop that dies. It is started again beside the load, which does not wait for that."""

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
            self._stack.enter_context(_open(self._folder, address=self._hop.address))
        return time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether it can be used again."""
        return self._alive is not None and self._alive.done()

    @property
    def alive_at(self) -> float:
        """From when; to be asked once it is over."""
        assert self._alive
        return self._alive.result()


def _behind(first: Address, second: Address, effort: Effort, hedge: float | None) -> list[str]:
    """Write the group into a configuration."""
    limits = ["[timeouts]", f"connect = {effort.limit}", f"hop = {effort.limit}"]
    hops = ["[hops]", f'{FIRST} = "socks5://{first}"', f'{SECOND} = "socks5://{second}"']
    group = ["[groups.exits]", f'hops = ["{FIRST}", "{SECOND}"]', 'pick = "failover"']
    group += [f"hedge = {hedge}"] if hedge else []
    health = ["[health]", f"rest = {effort.rest}", f"longest_rest = {effort.longest_rest}"]
    return [*limits, *hops, *group, "[chains]", 'default = ["exits"]', *health]


@contextmanager
def _open(folder: Path, lines: Sequence[str] = (), address: Address | None = None) -> Iterator[Running]:
    """Run one of our servers, in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "chainsocks.toml"

    def plan() -> list[Program]:
        listen = address or free_address()
        config.write_text("\n".join(["[server]", f'listen = ["{listen}"]', *lines]) + "\n")
        return [Program([CHAINSOCKS, "serve", "-c", config], listen)]

    with open_programs(plan, folder) as running:
        yield running


def attribute(sessions: Sequence[Session], log: Sequence[str]) -> list[tuple[Session, str]]:
    """Say which hop each session went through, by the server's log; nothing of one that was not granted."""
    hops = defaultdict[str, deque[str]](deque)
    for line in log:
        if match := re.search(r" client=(\S+) .* hops=(\S+) reply=00 ", line):
            hops[match[1]].append(match[2])
    return [(one, hops[one.client].popleft() if hops[one.client] else "") for one in sessions]


def complaints(log: Sequence[str]) -> list[str]:
    """Return what a server's log says of the requests that were refused."""
    refusals = (re.search(r' reply=(?!00|-)\S+ .* outcome="(.*)"$', line) for line in log)
    return [match[1] for match in refusals if match]
