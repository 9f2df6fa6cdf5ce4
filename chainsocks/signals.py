"""The signals that a server handles, how they wait while it starts and ends, and what they leave of a process.

Loading what a server needs takes half a second, and the default action of most signals would end it meanwhile.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["SIGNALS", "STOP", "describe_exit", "hold_signals", "signals_delivered"]


def _that_exist(*names: str) -> frozenset[signal.Signals]:
    """Return the signals of these names; Windows has few of them."""
    return frozenset(getattr(signal, name) for name in names if hasattr(signal, name))


STOP = _that_exist("SIGTERM", "SIGINT", "SIGQUIT")
"""The signals that stop a server. They end a start at once: there are no sessions yet."""

SIGNALS = STOP | _that_exist(
    "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGPOLL", "SIGPWR", "SIGSTKFLT"
)
"""The signals that a server handles."""

_CAN_HOLD = hasattr(signal, "pthread_sigmask")


def hold_signals() -> None:
    """Have the signals of a server wait until it handles them, but for those that stop it."""
    if _CAN_HOLD:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS - STOP)


@contextmanager
def signals_delivered() -> Iterator[None]:
    """Deliver the signals that wait, and those that come while the block runs; handlers are installed around it.

    If they were held before, they are held again at the end: a process that ends is not killed by one.
    """
    if not _CAN_HOLD:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS - STOP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def describe_exit(code: int) -> str:
    """Say how a process has ended, by its exit code as `subprocess` has it: less than 0 is a signal."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
