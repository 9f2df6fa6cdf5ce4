"""Who takes part in a measurement: a peer, a bare loop, or our own server in several ways.

Each measurement has a contestant of its own, freshly started, and a far end of its own on an address that nobody has
used: nothing that is left of the one before is in it, neither memory nor the ports of closed connections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.loops import Loop, open_loop
from benchmarks.peers import Peer, open_ours, open_peer
from benchmarks.programs import Running, free_address
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.tools.bench.target import Target, open_target
from chainsocks.tools.bench.way import Way

__all__ = ["Contestant", "Opened", "hops_of_ours", "loop_to_the_source", "ours", "peer"]


@dataclass(frozen=True, slots=True)
class Opened:
    """A contestant that runs: the way through it, the far end, and the first process of each of its programs."""

    way: Way
    target: Target
    running: Running
    descriptors: int = 2
    """File descriptors that a session takes in a program."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A name, what is missing to take part, and how it is opened; it may keep what it makes in the folder."""

    name: str
    open: Callable[[Path], AbstractContextManager[Opened]]
    missing: str = ""


def peer(server: Peer) -> Contestant:
    """Let a SOCKS server take part."""
    through = _servers(server.name, lambda folder: open_peer(server, folder))

    @contextmanager
    def start(folder: Path) -> Iterator[Opened]:
        with through.open(folder) as opened:
            yield replace(opened, descriptors=server.descriptors)

    return Contestant(server.name, start, server.missing)


def ours(name: str, *, workers: int = 1, grace: float | None = None) -> Contestant:
    """Let our own take part, with a configuration."""
    return _servers(name, lambda folder: open_ours(folder, workers=workers, grace=grace))


def hops_of_ours(name: str, count: int) -> Contestant:
    """Let a chain take part that is made of so many of our own, one process each."""
    return _servers(name, *[lambda folder: open_ours(folder)] * count)


def loop_to_the_source(loop: Loop) -> Contestant:
    """Let a bare loop take part, in bulk that comes down."""

    @contextmanager
    def start(folder: Path) -> Iterator[Opened]:
        with open_target(free_address().host) as target, open_loop(loop, target.source, folder) as running:
            yield Opened(Way(loop.name), replace(target, source=running.address), running)

    return Contestant(loop.name, start, loop.missing)


def _servers(name: str, *servers: Callable[[Path], AbstractContextManager[Running]]) -> Contestant:
    """Let a way through servers take part, one after the other."""

    @contextmanager
    def start(folder: Path) -> Iterator[Opened]:
        with ExitStack() as stack:
            target = stack.enter_context(open_target(free_address().host))
            opened: list[Running] = []
            for number, server in enumerate(servers, 1):
                own = folder / str(number)
                own.mkdir(exist_ok=True)
                opened.append(stack.enter_context(server(own)))
            yield Opened(_way(name, opened), target, Running(opened[-1].address, _pids(opened)))

    return Contestant(name, start)


def _way(name: str, servers: Sequence[Running]) -> Way:
    return Way(name, tuple(Hop(name, HopProtocol.SOCKS5, server.address) for server in servers))


def _pids(servers: Sequence[Running]) -> tuple[int, ...]:
    return tuple(pid for server in servers for pid in server.pids)
