"""Load beside a measurement, a program of its own: streams that flow through a way until they are no longer needed."""

from __future__ import annotations

import pickle
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from chainsocks.errors import ChainsocksError
from chainsocks.tools.bench.bulk import Direction, Streams, far_end
from chainsocks.tools.bench.child import Child, open_child, say_ready
from chainsocks.tools.bench.flow import Flow
from chainsocks.tools.bench.loop import Loop
from chainsocks.tools.bench.target import Target
from chainsocks.tools.bench.way import BenchError, Route, Way

__all__ = ["main", "open_flood"]

MODULE = "chainsocks.tools.bench.flood"
"""This one; as a program it has another name."""

PACE = 0.05
"""Seconds between two looks at whether we are still needed."""

FAILED = "failed:"


@contextmanager
def open_flood(way: Way, target: Target, *, streams: int, direction: Direction) -> Iterator[Child]:
    """Let `streams` flow through `way`, from another process, until the end of the block.

    Raises:
        BenchError: one could not be opened, or broke.
    """
    # A line on a pipe, and not an argument: everybody on this machine can read the arguments, and a way has passwords.
    order = pickle.dumps((way, far_end(target, direction), streams, direction)).hex().encode()
    with open_child(MODULE, message=order) as child:
        first, *words = child.words
        if first == FAILED:
            raise BenchError(" ".join(words))
        yield child
        if child.ended:
            raise BenchError(f"{way.name}: a stream broke beside the measurement")


def main() -> None:
    """Do what the first line of standard input orders, until that ends."""
    way, destination, count, direction = pickle.loads(bytes.fromhex(sys.stdin.readline()))  # noqa: S301  (our parent's)
    lifeline = select.poll()
    lifeline.register(sys.stdin.fileno(), select.POLLIN)
    with Loop() as loop:
        try:
            streams = Streams(loop, Flow(), Route(way, destination), count, direction)
            say_ready("flowing")
            while not lifeline.poll(0):
                streams.run(PACE)
        except ChainsocksError as error:
            say_ready(FAILED, error)


if __name__ == "__main__":
    main()
