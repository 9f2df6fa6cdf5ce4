"""How many workers there are, and what each of them has of the server's limits."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from itertools import accumulate, pairwise

from chainsocks.config.limits import Limits
from chainsocks.config.models import Server
from chainsocks.errors import ConfigError, Problem
from chainsocks.net.sharing import can_share
from chainsocks.sockets import ANY_PORT

__all__ = ["count_workers", "share_limits", "share_out", "share_ports"]


def count_workers(server: Server) -> int:
    """Return how many processes are to serve. 0 stands for one per available core, where processes can share a port.

    Raises:
        ConfigError: processes cannot share a port on this system.
    """
    can_fork = hasattr(os, "fork") and hasattr(signal, "sigtimedwait")
    if server.workers == 0:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        return min(cores, server.max_sessions) if can_fork and can_share() else 1
    if server.workers > 1 and not (can_fork and can_share()):
        what = "processes cannot share a port on this system, as they can on Linux; leave it at 1"
        raise ConfigError([Problem("server.workers", what)])
    return server.workers


def share_out(total: int, workers: int) -> list[int]:
    """Divide `total` as evenly as possible."""
    share, left = divmod(total, workers)
    return [share + (index < left) for index in range(workers)]


def share_limits(limits: Limits, workers: int) -> Limits:
    """Return what each worker has of the limits that it keeps by itself: of handshakes, one at least."""
    rate, handshakes = limits.new_per_second, limits.handshakes
    return replace(
        limits,
        new_per_second=None if rate is None else rate / workers,
        handshakes=None if handshakes is None else -(-handshakes // workers),
    )


def share_ports(ports: range, workers: int) -> list[range]:
    """Divide `ports` as evenly as possible; each worker has all of them if they are too few, or if any port will do."""
    if len(ports) < workers or ports == ANY_PORT:
        return [ports] * workers
    ends = [0, *accumulate(share_out(len(ports), workers))]
    return [ports[start:end] for start, end in pairwise(ends)]
