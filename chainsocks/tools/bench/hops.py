"""Built-in hops, a process each: the server as `chainsocks serve` runs it, without a configuration file.

They log as `chainsocks serve` does, a line for each session; the log is discarded.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import trio

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

__all__ = ["RunningHop", "main", "open_hops"]

MODULE = "chainsocks.tools.bench.hops"
"""This module; as a program it has another name."""


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
        hops = []
        for number in range(1, count + 1):
            child = stack.enter_context(open_child(MODULE, quiet=True))
            address = parse_address(child.words[0])
            hops.append(RunningHop(Hop(f"hop {number}", HopProtocol.SOCKS5, address), child.pid))
        yield tuple(hops)


async def _serve_until_orphaned() -> None:
    config, stopping = Config(Server(listen=(Listener(Address(LOOPBACK, 0)),))), trio.Event()
    async with trio.open_nursery() as nursery:
        [address] = await nursery.start(serve, config, stopping)
        say_ready(address)
        await trio.lowlevel.wait_readable(sys.stdin.fileno())
        nursery.cancel_scope.cancel()


def main() -> None:
    """Serve on a free port of loopback, say which, and end when standard input does."""
    raise_limit()
    start_logging(logging.INFO)
    trio.run(_serve_until_orphaned)


if __name__ == "__main__":
    main()
