"""Memory by the number of idle sessions that a server holds, and the latency of an echo beside them.

The sessions are added in steps. Where the memory of a session is the same at each step, memory is linear; where the
latency is, events do not wait for the idle ones.
"""

from __future__ import annotations

from contextlib import ExitStack

from chainsocks.tools.bench.accounting import resident_bytes
from chainsocks.tools.bench.echo import measure_echo
from chainsocks.tools.bench.figures import IDLE_MEMORY, LATENCIES, Figure, Sample
from chainsocks.tools.bench.run import Subject
from chainsocks.tools.bench.sessions import TRIAL, open_idle
from chainsocks.tools.bench.target import Target

__all__ = ["measure_growth"]

PARTS = (9, 3, 1)
"""The sessions of each step are this part of all."""


def measure_growth(subject: Subject, target: Target, *, count: int, seconds: float) -> Sample:
    """Hold up to `count` idle sessions, and return what one of them takes at each step, with the echo's p99 beside.

    `seconds` is the time of each echo.

    Raises:
        DialError: a session could not be opened.
        BenchError: a session does not work.
    """
    way, pids, echo = subject.way, subject.pids, LATENCIES[99, 0]
    with open_idle(way, target, TRIAL):
        pass
    target.wait_until_quiet()
    sample = {echo: measure_echo(way, target, seconds=seconds).p99}
    before, opened = resident_bytes(pids), 0
    with ExitStack() as stack:
        for part in PARTS:
            opened += stack.enter_context(open_idle(way, target, max(1, count // part - opened)))
            each = (resident_bytes(pids) - before) / opened
            sample[Figure(f"idle_{part}_session_bytes", f"{opened} idle sessions", IDLE_MEMORY.unit)] = each
            beside = Figure(f"echo_beside_idle_{part}_p99_seconds", f"{echo.title} beside {opened} idle", echo.unit)
            sample[beside] = measure_echo(way, target, seconds=seconds).p99
    return sample
