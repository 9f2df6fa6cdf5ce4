"""File descriptors: thousands of sessions need thousands, and most systems start with 1024."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

__all__ = ["free_descriptors", "raise_limit"]

# Windows has no such module, and no bench; the command line is loaded there all the same.
resource = importlib.import_module("resource") if importlib.util.find_spec("resource") else None

RESERVE = 64
"""For pipes, listeners and whatever else a process opens beside its sessions."""


def raise_limit() -> None:
    """Allow this process, and those that it starts, as many as the system lets us have."""
    assert resource  # noqa: S101  (for the type checker)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_descriptors() -> int:
    """Return how many more there are for sessions."""
    assert resource  # noqa: S101
    soft: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    used = sum(1 for _ in Path("/proc/self/fd").iterdir())
    return max(0, soft - used - RESERVE)
