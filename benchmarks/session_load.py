"""Short sessions per second, of a server that is held to one core, under a load that is not.

The load is a program in C (`session_load.c`): both ends of all sessions in one thread, on a core of its own. Its busy
share stands beside the rate. Where that is near 100 %, the load set the pace, and not the server.
"""

from __future__ import annotations

import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants import compile_c
from benchmarks.cores import held_to_others
from benchmarks.programs import CannotStart, Command
from chainsocks.protocol.address import Address
from chainsocks.tools.bench.accounting import cpu_seconds
from chainsocks.tools.bench.way import warm_up

__all__ = ["CLIENTS", "COMPILER", "Load", "measure_session_load"]

CLIENTS = 16
"""Sessions at a time, as in the other sections."""

COMPILER = "gcc"


@dataclass(frozen=True, slots=True)
class Load:
    """How many sessions came to their end in so many seconds, and CPU seconds meanwhile."""

    count: int
    seconds: float
    relay: float
    load: float


def measure_session_load(
    proxy: Address, far_host: str, folder: Path, *, seconds: float, pids: Collection[int], clients: int = CLIENTS
) -> Load:
    """Open and close sessions through `proxy` to a far end on `far_host`; the program is compiled into `folder`.

    Raises:
        CannotStart: the load ended with an error, as for a session that was refused.
        subprocess.CalledProcessError: it could not be compiled.
    """
    binary = compile_c("session_load", folder)
    figures = [str(clients), str(warm_up(seconds)), str(seconds)]
    command: Command = [binary, proxy.host, str(proxy.port), far_host, *figures]
    with held_to_others():
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            assert process.stdout
            began = process.stdout.readline()
            before = cpu_seconds(pids)
            words = process.stdout.readline().split()
            relay = cpu_seconds(pids) - before
            assert process.stderr
            problem = process.stderr.read().strip()
        finally:
            process.kill()
    if not began or len(words) != 3:
        raise CannotStart(f"the load ended: {problem or 'without a word'}")
    count, load, took = words
    return Load(int(count), float(took), relay, float(load))
