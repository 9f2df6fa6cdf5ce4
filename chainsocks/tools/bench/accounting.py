"""What processes cost, CPU time and memory, and how many files they may open.

A process is counted with all its descendants. CPU time is what the kernel charges to them: their system calls too,
and the part of the network's work that is done within those. Interrupts and the kernel's threads are charged to no
process.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Cost",
    "Meter",
    "cpu_seconds",
    "exists",
    "family",
    "free_descriptors",
    "resident_bytes",
]

# Windows has no such module, and no bench; the command line is loaded there all the same.
resource = importlib.import_module("resource") if importlib.util.find_spec("resource") else None

PROC = Path("/proc")
PARENT, CHILDREN_USER, CHILDREN_SYSTEM = 1, 13, 14
"""Fields of /proc/PID/stat, counted behind the name of the program: see proc(5)."""

CPU_CLOCK = 2
"""The kernel's CPUCLOCK_SCHED: CPU time of a process with all its threads, living and ended, in nanoseconds."""

BUSY = 0.9
"""The share of the time from which a process counts as busy all the time."""

RESERVE = 64
"""File descriptors for pipes, listeners and whatever else a process opens beside its sessions."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds that have passed, and CPU seconds that were used meanwhile."""

    seconds: float
    relay: float | None
    """Of the watched processes; None when none was watched."""
    load: float = 0
    """Of this process, which makes the load."""
    far_end: float = 0

    @property
    def load_was_busy(self) -> bool:
        """Whether the load or the far end was busy all the time and the relay, as far as known, was not.

        Then the load set the pace, and the relay may be able to do more.
        """
        busy = BUSY * self.seconds
        return max(self.load, self.far_end) > busy and not (self.relay and self.relay > busy)


class Meter:
    """Measures the `Cost` from now on, of the processes `watched` and of the far end's."""

    def __init__(self, watched: Collection[int], far_end: Collection[int]) -> None:
        self._watched = watched
        self._far_end = far_end
        self._cpu = self._read()
        self.began = time.monotonic()

    def stop(self) -> Cost:
        """Return the cost until now."""
        seconds = time.monotonic() - self.began
        relay, load, far_end = (after - before for before, after in zip(self._cpu, self._read(), strict=True))
        return Cost(seconds, relay if self._watched else None, load, far_end)

    def _read(self) -> tuple[float, float, float]:
        return cpu_seconds(self._watched) if self._watched else 0.0, time.process_time(), cpu_seconds(self._far_end)


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

    Children that have ended and were waited for are included. Living processes are exact to the nanosecond, ended ones
    to a tick of the kernel (10 ms).
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


def free_descriptors() -> int:
    """Return how many more files this process may open for sessions."""
    assert resource  # noqa: S101
    soft: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    used = sum(1 for _ in Path("/proc/self/fd").iterdir())
    return max(0, soft - used - RESERVE)


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
        pass  # the process is another user's, or it has ended
    try:
        pages = (PROC / str(pid) / "statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
