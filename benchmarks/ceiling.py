"""A ceiling on the CPU time of a process, so that several of them and their load have room on a machine of few cores.

It is a bandwidth limit of Linux's control groups, of either version; that takes root, and a system that allows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["NoCeiling", "ceiling"]

MOUNTS = Path("/proc/self/mounts")
PERIOD = 10_000
"""Microseconds; short, so that nobody has to wait long for the next share."""


class NoCeiling(Exception):
    """CPU time cannot be limited on this system, or by this user."""


@contextmanager
def ceiling(pid: int, cores: float) -> Iterator[None]:
    """Hold a process to so many cores' worth of CPU time, until the end of the block or the process.

    Raises:
        NoCeiling: that is not possible here.
    """
    parent, version = _find_controller()
    group, quota = parent / f"chainsocks-benchmark-{pid}", round(PERIOD * cores)
    try:
        if version == 2:
            (parent / "cgroup.subtree_control").write_text("+cpu")
        group.mkdir()
    except OSError as error:
        raise NoCeiling(f"no control group can be made: {error.strerror}") from None
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
            (parent / "cgroup.procs").write_text(str(pid))  # it is ended next, wherever it came from
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
    raise NoCeiling("there are no control groups for CPU time here")
