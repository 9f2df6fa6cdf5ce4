"""How many files this process may have open, and whether its sessions fit."""

from __future__ import annotations

import importlib
import importlib.util
from contextlib import suppress

__all__ = ["files_warning", "raise_limit"]

# Windows has no such module, and no such limit.
resource = importlib.import_module("resource") if importlib.util.find_spec("resource") else None

PER_SESSION = 2
"""Files of a session that relays: its two connections. While it moves bulk data it has up to four more, of pipes."""


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


def files_warning(limit: int | None, sessions: int) -> str | None:
    """Return a warning if so many sessions of one process do not fit into `limit` open files."""
    if limit is None or PER_SESSION * sessions <= limit:
        return None
    needed = f"{sessions} sessions in one process need more than {PER_SESSION * sessions} open files"
    return (
        f"{needed}, and the limit is {limit}: "
        "raise it (`ulimit -Hn`, LimitNOFILE in a systemd unit), or lower max_sessions"
    )
