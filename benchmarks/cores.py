"""Cores for servers and for their load.

For the workers of our server: a core each, or a fixed share of a core. The load takes about as much CPU time as one
worker, half of it at the far end, and would take it from the workers.

1. With `SPARE` cores beside those of the workers, each worker has a core to itself, and the load has all others.
2. With fewer, each worker shares a core with the load and may use only `SHARE` of it. The rest suffices for the load of
   all workers, so that one share is compared with two.

A share is a bandwidth limit of Linux's control groups, of either version; that takes root, and a system that allows it.

Where servers are compared that have one core each, a server is held to the first core, and its load to the others.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chainsocks.tools.bench.accounting import family

__all__ = ["SHARE", "WORKERS", "CannotLimit", "held_to_first", "held_to_others", "limited", "placed", "workers_of"]

WORKERS = 2
"""Workers that get a place."""

SPARE = 2
"""Cores that the load needs."""

SHARE = 0.35
"""Of a core."""

MOUNTS = Path("/proc/self/mounts")

PERIOD = 10_000
"""Microseconds in which a share may be used up; short, so that a worker never waits long for the next one."""


class CannotLimit(Exception):
    """CPU time cannot be limited on this system, or by this user."""


@contextmanager
def placed(pid: int, load: Collection[int]) -> Iterator[None]:
    """Give the workers of a server their cores, and the load, this process included, the others.

    Raises:
        CannotLimit: there are too few cores, and shares of them cannot be had.
    """
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    enough = len(cores) >= WORKERS + SPARE
    with ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, before)
        for worker, core in zip(workers_of(pid), cores, strict=False):
            os.sched_setaffinity(worker, {core})
            if not enough:
                stack.enter_context(limited(worker, SHARE))
        for member in (0, *load):
            os.sched_setaffinity(member, cores[WORKERS:] if enough else cores)
        yield


@contextmanager
def held_to_first() -> Iterator[None]:
    """Start programs on the first core only; what they start inherits that.

    Raises:
        CannotLimit: there is only one core.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise CannotLimit("the load needs a core of its own")
    with _held_to(cores[:1]):
        yield


@contextmanager
def held_to_others() -> Iterator[None]:
    """Start programs on the cores that `held_to_first` does not use."""
    with _held_to(sorted(os.sched_getaffinity(0))[1:]):
        yield


@contextmanager
def _held_to(cores: Collection[int]) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def workers_of(pid: int) -> Sequence[int]:
    """Return the processes of a server that serve: its children, or itself when it has none."""
    return family(pid)[1:] or (pid,)


@contextmanager
def limited(pid: int, cores: float) -> Iterator[None]:
    """Limit a process to so many cores' worth of CPU time, until the end of the block or of the process.

    Raises:
        CannotLimit: that is not possible here.
    """
    parent, version = _find_controller()
    group, quota = parent / f"chainsocks-benchmark-{pid}", round(PERIOD * cores)
    try:
        if version == 2:
            (parent / "cgroup.subtree_control").write_text("+cpu")
        group.mkdir()
    except OSError as error:
        raise CannotLimit(f"no control group can be made: {error.strerror}") from None
    try:
        if version == 2:
            (group / "cpu.max").write_text(f"{quota} {PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        try:
            (parent / "cgroup.procs").write_text(str(pid))  # the process is ended next, wherever it came from
        except ProcessLookupError:
            pass  # it has ended
        group.rmdir()


def _find_controller() -> tuple[Path, int]:
    """Return the root of the groups that limit CPU time, and their version."""
    for line in MOUNTS.read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup" and "cpu" in options.split(","):
            return Path(where), 1
        if kind == "cgroup2" and "cpu" in (Path(where) / "cgroup.controllers").read_text().split():
            return Path(where), 2
    raise CannotLimit("there are no control groups for CPU time here")
