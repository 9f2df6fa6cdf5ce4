"""What takes part in a measurement: a SOCKS server, a bare splice loop, or our own server in several ways.

Each measurement has a contestant that was just started, and a far end of its own on an address that was not used
before: neither memory nor the ports of closed connections of an earlier measurement are in it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.cores import held_to_first
from benchmarks.peers import PEERS, Peer, open_ours, open_peer
from benchmarks.programs import Command, Program, Running, find_program, free_address, open_programs
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import Credentials
from chainsocks.tools.bench.run import Subject
from chainsocks.tools.bench.target import Target, open_target
from chainsocks.tools.bench.way import Way

__all__ = ["LOOPS", "Contestant", "Loop", "Opened", "compile_c", "front", "held", "loop", "open_loop", "ours", "peer"]


@dataclass(frozen=True, slots=True)
class Opened:
    """A running contestant: its programs, the way through them with their processes, and the far end."""

    subject: Subject
    target: Target
    running: Running
    descriptors: int = 2
    """File descriptors that a session takes in a program."""
    folder: Path = Path()
    """For the files of a measurement, where it needs any."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A contestant: `missing` says what it lacks to take part; `open` runs it, and may keep files in the folder."""

    name: str
    open: Callable[[Path], AbstractContextManager[Opened]]
    missing: str = ""


def peer(server: Peer) -> Contestant:
    """Return a SOCKS server."""
    through = _through(server.name, lambda folder: open_peer(server, folder))

    @contextmanager
    def start(folder: Path) -> Iterator[Opened]:
        with through.open(folder) as opened:
            yield replace(opened, descriptors=server.descriptors)

    return Contestant(server.name, start, server.missing)


def ours(name: str, *lines: str, hops: int = 1, workers: int = 1) -> Contestant:
    """Return a chain of so many of our own servers, a program each, with these lines in their configuration."""
    return _through(name, *[lambda folder: open_ours(folder, *lines, workers=workers)] * hops)


def _through(name: str, *servers: Callable[[Path], AbstractContextManager[Running]]) -> Contestant:
    """Return the way through servers, one after the other."""

    @contextmanager
    def start(folder: Path) -> Iterator[Opened]:
        with ExitStack() as stack:
            target = stack.enter_context(open_target(free_address().host))
            opened: list[Running] = []
            for number, server in enumerate(servers, 1):
                own = folder / str(number)
                own.mkdir(exist_ok=True)
                opened.append(stack.enter_context(server(own)))
            way = Way(name, tuple(Hop(name, HopProtocol.SOCKS5, server.address) for server in opened))
            pids = tuple(pid for server in opened for pid in server.pids)
            yield Opened(Subject(way, pids), target, Running(opened[-1].address, pids))

    return Contestant(name, start)


def front(
    name: str, *lines: str, hops: int = 0, server: Peer = PEERS[0], credentials: Credentials | None = None
) -> Contestant:
    """Return our server with these lines in its configuration, and with a chain of so many hops behind it.

    The hops are instances of `server`. Only the CPU time and the memory of the front server count. Clients log in with
    `credentials`.
    """

    @contextmanager
    def start(folder: Path) -> Iterator[Opened]:
        with ExitStack() as stack:
            target = stack.enter_context(open_target(free_address().host))
            chain, urls = [f"hop{number}" for number in range(1, hops + 1)], []
            for each in chain:
                own = folder / each
                own.mkdir(exist_ok=True)
                urls.append(f'{each} = "socks5://{stack.enter_context(open_peer(server, own)).address}"')
            routes = ["[hops]", *urls, "[chains]", f"default = {chain}"] if hops else []
            running = stack.enter_context(open_ours(folder, *routes, *lines))
            way = Way(name, (Hop(name, HopProtocol.SOCKS5, running.address, credentials),))
            yield Opened(Subject(way, running.pids), target, running)

    return Contestant(name, start, server.missing if hops else "")


def held(contestant: Contestant) -> Contestant:
    """Return a contestant whose servers start on the first core, and stay there.

    `open` raises `benchmarks.cores.CannotLimit` on a machine with one core.
    """

    @contextmanager
    def start(folder: Path) -> Iterator[Opened]:
        with ExitStack() as stack:
            with held_to_first():
                opened = stack.enter_context(contestant.open(folder))
            yield replace(opened, folder=folder)

    return replace(contestant, open=start)


@dataclass(frozen=True, slots=True)
class Loop:
    """A bare splice loop: it forwards to one destination and knows no SOCKS. It is the limit for a relay of one thread.

    `command` returns a command that takes the two addresses; it may leave files in the folder.
    """

    name: str
    command: Callable[[Path], Command]
    program: str = ""
    """The program that it needs."""

    @property
    def missing(self) -> str:
        """What is not installed; empty when the loop can be run."""
        return f"there is no {self.program} here" if self.program and not find_program(self.program) else ""


def loop(kind: Loop) -> Contestant:
    """Return a bare loop to the source of the far end, for bulk that comes down."""

    @contextmanager
    def start(folder: Path) -> Iterator[Opened]:
        with open_target(free_address().host) as target, open_loop(kind, target.source, folder) as running:
            yield Opened(Subject(Way(kind.name), running.pids), replace(target, source=running.address), running)

    return Contestant(kind.name, start, kind.missing)


@contextmanager
def open_loop(kind: Loop, destination: Address, folder: Path) -> Iterator[Running]:
    """Run a loop; what it is compiled to stays in `folder`, for the next time.

    Raises:
        CannotStart: it does not come to accept connections.
    """
    own = folder / kind.name
    own.mkdir(exist_ok=True)
    command = kind.command(own)

    def plan() -> list[Program]:
        here = free_address()
        ends = [here.host, str(here.port), destination.host, str(destination.port)]
        return [Program([*command, *ends], here)]

    with open_programs(plan, own) as running:
        yield running


def compile_c(name: str, folder: Path) -> Path:
    """Return the program of a C file beside this one, compiled into `folder` unless it is there."""
    binary = folder / name
    if not binary.exists():
        source = Path(__file__).with_name(f"{name}.c")
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", binary, source], check=True)
    return binary


def _c(folder: Path) -> Command:
    return [compile_c("splice_loop", folder)]


def _python(_: Path) -> Command:
    return [sys.executable, Path(__file__).with_name("splice_loop.py")]


LOOPS = (Loop("C splice loop", _c, "gcc"), Loop("Python splice loop", _python))
