"""Built-in hops, a process each: the server as `chainsocks serve` runs it, without a configuration file.

One of them may have a chain, and is then a front for hops that the load does not speak to itself, as those in TLS.
They log as `chainsocks serve` does, a line for each session; the log is discarded.
"""

from __future__ import annotations

import logging
import pickle
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import trio

from chainsocks.config.chains import Chain
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.listeners import Listener
from chainsocks.config.models import Config, Server
from chainsocks.observe.log import start_logging
from chainsocks.protocol.address import Address, parse_address
from chainsocks.server.file_limit import raise_limit
from chainsocks.server.serve import serve
from chainsocks.tools.bench.child import open_child, say_ready
from chainsocks.tools.bench.target import LOOPBACK

__all__ = ["RunningHop", "main", "open_front", "open_hops"]

MODULE = "chainsocks.tools.bench.hops"
"""This module; as a program it has another name."""

FRONT = "front"
"""The argument of a front."""


@dataclass(frozen=True, slots=True)
class RunningHop:
    """A hop, and its process."""

    hop: Hop
    pid: int


@contextmanager
def open_hops(count: int) -> Iterator[tuple[RunningHop, ...]]:
    """Run so many hops on loopback until the end of the block.

    Raises:
        ChildError: one does not start.
    """
    with ExitStack() as stack:
        yield tuple(stack.enter_context(_open_server(f"hop {number}")) for number in range(1, count + 1))


def open_front(hops: Sequence[Hop]) -> AbstractContextManager[RunningHop]:
    """Run a server on loopback whose chain is `hops`, until the end of the block.

    Raises:
        ChildError: it does not start.
    """
    return _open_server("front", hops)


@contextmanager
def _open_server(name: str, hops: Sequence[Hop] = ()) -> Iterator[RunningHop]:
    # A line on a pipe, not an argument: every user of this machine can read arguments, and hops have passwords.
    order = pickle.dumps(tuple(hops)).hex().encode() if hops else b""
    with open_child(MODULE, *([FRONT] if hops else []), quiet=True, message=order) as child:
        yield RunningHop(Hop(name, HopProtocol.SOCKS5, parse_address(child.words[0])), child.pid)


async def _serve_until_orphaned(hops: Sequence[Hop]) -> None:
    chains = {"default": Chain(*hops)} if hops else {}
    config, stopping = Config(Server(listen=(Listener(Address(LOOPBACK, 0)),)), chains=chains), trio.Event()
    async with trio.open_nursery() as nursery:
        [address] = await nursery.start(serve, config, stopping)
        say_ready(address)
        await trio.lowlevel.wait_readable(sys.stdin.fileno())
        nursery.cancel_scope.cancel()


def main() -> None:
    """Serve on a free port of loopback, say which, and end when standard input does.

    The first line that a front reads there has its hops.
    """
    hops = ()
    if FRONT in sys.argv[1:]:
        hops = pickle.loads(bytes.fromhex(sys.stdin.readline()))  # noqa: S301  (our parent's)
    raise_limit()
    start_logging(logging.INFO)
    trio.run(_serve_until_orphaned, hops)


if __name__ == "__main__":
    main()
