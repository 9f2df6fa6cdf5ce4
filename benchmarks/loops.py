"""The limit: two bare splice loops, in C and in Python, that forward to one fixed destination and know no SOCKS.

Whoever wants a relay between two sockets to be faster than these has to change the kernel.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.programs import Command, Program, Running, find_program, free_address, open_programs
from chainsocks.protocol.address import Address

__all__ = ["LOOPS", "Loop", "open_loop"]


@dataclass(frozen=True, slots=True)
class Loop:
    """One of the two: its name, and how to get a command that takes the addresses."""

    name: str
    command: Callable[[Path], Command]
    program: str = ""
    """What it needs."""

    @property
    def missing(self) -> str:
        """What there is not; empty when it can be run."""
        return f"there is no {self.program} here" if self.program and not find_program(self.program) else ""


@contextmanager
def open_loop(loop: Loop, destination: Address, folder: Path) -> Iterator[Running]:
    """Run a loop; what it is compiled to stays in `folder`, for the next time.

    Raises:
        CannotStart: it does not come to accept connections.
    """
    own = folder / loop.name
    own.mkdir(exist_ok=True)
    command = loop.command(own)

    def plan() -> list[Program]:
        here = free_address()
        ends = [here.host, str(here.port), destination.host, str(destination.port)]
        return [Program([*command, *ends], here)]

    with open_programs(plan, own) as running:
        yield running


def _c(folder: Path) -> Command:
    binary = folder / "splice_loop"
    if not binary.exists():
        source = Path(__file__).with_name("splice_loop.c")
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", binary, source], check=True)
    return [binary]


def _python(_: Path) -> Command:
    return [sys.executable, Path(__file__).with_name("splice_loop.py")]


LOOPS = (Loop("C splice loop", _c, "gcc"), Loop("Python splice loop", _python))
"""Both of them."""
