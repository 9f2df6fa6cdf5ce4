"""Sessions per second with several workers of ours: on cores of their own, or on shares of cores.

What gets in the way is the load, which needs about as much CPU time as one worker does, half of it at the far end.

1. With two cores to spare, each worker has a core to itself, and the load has all others.
2. With fewer, each worker has a core that it shares with the load, and may use but a fixed share of it, `SHARE`. What
   is left suffices for the load of all of them; so what is compared is one such share with two.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from benchmarks.ceiling import ceiling
from chainsocks.tools.bench.accounting import family

__all__ = ["MOST", "SHARE", "placed", "workers_of"]

MOST = 2
"""Workers that are placed."""

SPARE = 2
"""Cores that the load needs."""

SHARE = 0.35
"""Of a core."""


@contextmanager
def placed(pid: int, load: Collection[int]) -> Iterator[None]:
    """Put the workers of a server where they belong, and the load, this process included, where they do not.

    Raises:
        NoCeiling: there are too few cores for all, and shares of them cannot be had.
    """
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    enough = len(cores) >= MOST + SPARE
    with ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, before)
        for worker, core in zip(workers_of(pid), cores, strict=False):
            os.sched_setaffinity(worker, {core})
            if not enough:
                stack.enter_context(ceiling(worker, SHARE))
        for member in (0, *load):
            os.sched_setaffinity(member, cores[MOST:] if enough else cores)
        yield


def workers_of(pid: int) -> Sequence[int]:
    """Return the processes of a server that serve: its children, or itself when it has none."""
    return family(pid)[1:] or (pid,)
