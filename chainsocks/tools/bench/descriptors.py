"""File descriptors: thousands of sessions need thousands, and most systems start with 1024."""

from __future__ import annotations

import resource
from pathlib import Path

__all__ = ["free_descriptors", "raise_limit"]

RESERVE = 64
"""For pipes, listeners and whatever else a process opens beside its sessions."""


def raise_limit() -> None:
    """Allow this process, and those that it starts, as many as the system lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_descriptors() -> int:
    """Return how many more there are for sessions."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = sum(1 for _ in Path("/proc/self/fd").iterdir())
    return max(0, soft - used - RESERVE)
