"""How many files this process may have open, and whether its sessions fit."""

from __future__ import annotations

import importlib
import importlib.util
import math
from contextlib import suppress

__all__ = [
    "current_limit",
    "files_warning",
    "raise_limit",
    "sessions_that_fit",
    "waiting_that_fit",
    "warm_ways_that_fit",
]

# Windows has no such module, and no such limit.
resource = importlib.import_module("resource") if importlib.util.find_spec("resource") else None

PER_SESSION = 2
"""Files of a session that relays: its two connections. While it moves bulk data it has up to four more, of pipes."""

WARM_PART = 8
"""Of the files that are left free, one in so many is for warm ways."""


OTHERS = 192
"""Files that are kept for everything else: the pipes, up to 128, listeners, the log, lookups."""

MOST_WAITING, WAITING_PART = 1024, 16
"""One in so many files is for connections that wait for a session, up to a number."""


def current_limit() -> int | None:
    """Return how many files this process may have open; None stands for no limit."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if resource else None
    return None if resource is None or soft == resource.RLIM_INFINITY else soft


def waiting_that_fit(limit: int | None) -> int:
    """Return how many connections may wait for a session, within `limit` open files."""
    return MOST_WAITING if limit is None else min(MOST_WAITING, limit // WAITING_PART)


def sessions_that_fit(limit: int | None, wanted: int) -> int:
    """Return how many of the sessions that are to run at a time fit into `limit` open files."""
    if limit is None or PER_SESSION * wanted <= limit:
        return wanted
    others = OTHERS + waiting_that_fit(limit)
    return max(1, min(wanted, (limit - others) // PER_SESSION))


def raise_limit() -> int | None:
    """Allow this process, and those that it starts, as many open files as the system permits; return how many.

    None stands for no limit.
    """
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # some systems call it unlimited, and have a limit all the same
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return None if soft == resource.RLIM_INFINITY else int(soft)


def warm_ways_that_fit(limit: int | None, sessions: int) -> float:
    """Return how many ways may be open that no session uses yet, beside so many sessions, within `limit` open files."""
    if limit is None:
        return math.inf
    return (limit - OTHERS - waiting_that_fit(limit) - PER_SESSION * sessions) // WARM_PART


def files_warning(limit: int | None, sessions: int) -> str | None:
    """Return a warning if so many sessions of one process do not fit into `limit` open files."""
    fit = sessions_that_fit(limit, sessions)
    if fit == sessions:
        return None
    needed = f"{sessions} sessions in one process need more than {PER_SESSION * sessions} open files"
    return (
        f"{needed}, and the limit is {limit}, which allows {fit} sessions: "
        "raise it (`ulimit -Hn`, LimitNOFILE in a systemd unit), or lower max_sessions"
    )
