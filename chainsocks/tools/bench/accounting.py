"""What processes cost: CPU time and memory, of a process with everything that it has started.

CPU time is what the kernel charges to the process: its system calls too, and the part of the network's work that is
done within them. What the kernel does for it elsewhere, in interrupts and in threads of its own, nobody is charged.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path

__all__ = ["cpu_seconds", "exists", "family", "resident_bytes"]

PROC = Path("/proc")
PARENT, CHILDREN_USER, CHILDREN_SYSTEM = 1, 13, 14
"""Places in /proc/PID/stat, counted behind the name of the program: see proc(5)."""

CPU_CLOCK = 2
"""The kernel's CPUCLOCK_SCHED: what a process, with all its threads, living and ended, has had; in nanoseconds."""


def exists(pid: int) -> bool:
    """Tell whether there is such a process, and it has not ended."""
    return _stat(pid)[:1] not in ([], ["Z"], ["X"])


def family(pid: int) -> tuple[int, ...]:
    """Return a process and all its descendants, parents first; nothing when there is no such process."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdecimal() and (stat := _stat(int(entry.name))):
            children.setdefault(int(stat[PARENT]), []).append(int(entry.name))
    found = [pid] if exists(pid) else []
    for member in found:
        found += children.get(member, ())
    return tuple(found)


def cpu_seconds(pids: Collection[int]) -> float:
    """Return the CPU seconds that these processes and their families have used since they started.

    Children that have ended and been waited for are included. The living are known to the nanosecond, the dead to a
    tick of the kernel (10 ms).
    """
    members = {member: None for pid in pids for member in family(pid)}
    # Children come before their parents: one that ends in between is then found in its parent's account.
    return sum(_used_itself(pid) + _used_by_dead_children(pid) for pid in reversed(members))


def resident_bytes(pids: Collection[int]) -> int:
    """Return the memory that these processes and their families hold.

    It is the proportional set size: a page that several of them share, as forked workers do, counts once in all. Where
    the system does not tell (another user's process), it is the resident set size, in which such a page counts for
    each of them. The kernel's own memory, such as the buffers of sockets, is in neither.
    """
    return sum(_resident(pid) for pid in {member for pid in pids for member in family(pid)})


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat behind the name, which may hold anything; none if there is no process."""
    try:
        text = (PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _used_itself(pid: int) -> float:
    try:
        return time.clock_gettime((~pid << 3) | CPU_CLOCK)
    except OSError:
        return 0.0


def _used_by_dead_children(pid: int) -> float:
    stat = _stat(pid)
    ticks = int(stat[CHILDREN_USER]) + int(stat[CHILDREN_SYSTEM]) if stat else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    try:
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # it is not ours to look into, or it is gone
    try:
        pages = (PROC / str(pid) / "statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
