"""The processes in a network namespace, seen from outside."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import trio

__all__ = ["processes_in", "wait_for_end"]


def processes_in(namespace: int) -> list[int]:
    """Return the processes that are in a network namespace, which has this inode."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            try:
                inode = Path(entry.path, "ns/net").stat().st_ino
            except OSError:
                continue  # it has ended, or is another user's
            if inode == namespace:
                found.append(int(entry.name))
    return found


async def wait_for_end(processes: list[int]) -> None:
    """Wait until all of some processes have ended."""
    with ExitStack() as stack:
        opened = []
        for process in processes:
            try:
                opened.append(os.pidfd_open(process))
            except ProcessLookupError:
                continue
            stack.callback(os.close, opened[-1])
        for descriptor in opened:
            await trio.lowlevel.wait_readable(descriptor)
