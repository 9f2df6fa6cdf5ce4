"""Programs of our own in processes of their own: the far end, the hops, the load beside a measurement.

1. A child prints one line on standard output when it is ready, and ends when its standard input ends. So a child ends
   with its parent, even when the parent is killed.
2. Ctrl-C in a terminal does not reach a child: the parent ends it when the parent needs it no more.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from chainsocks.errors import ChainsocksError
from chainsocks.tools.bench.loop import IN, Loop, Task

__all__ = ["Child", "ChildError", "end_with_parent", "open_child", "say_ready"]

PATIENCE = 10.0
"""Seconds that a child may take to become ready, and to end."""


class ChildError(ChainsocksError):
    """A program of our own did not start."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running child, and the words of the line that said it was ready."""

    pid: int
    words: tuple[str, ...]
    process: subprocess.Popen[bytes]

    @property
    def ended(self) -> bool:
        """Whether the process has ended by itself."""
        return self.process.poll() is not None


@contextmanager
def open_child(
    module: str, *arguments: str, descriptors: Collection[int] = (), quiet: bool = False, message: bytes = b""
) -> Iterator[Child]:
    """Run ``python -m module``, with `descriptors` inherited, until the end of the block.

    `message` is the first line of its standard input; `quiet` discards its standard error.

    Raises:
        ChildError: it did not become ready.
    """
    process = subprocess.Popen(  # noqa: S603  (our own interpreter and our own module)
        # -P keeps the current folder from hiding modules of the standard library.
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
        pass_fds=tuple(descriptors),
        start_new_session=True,
    )
    try:
        if message:
            os.write(_fileno(process.stdin), message + b"\n")
        yield Child(process.pid, _wait_until_ready(process, module), process)
    finally:
        _end(process)


def say_ready(*words: object) -> None:
    """Print the line that says a child is ready."""
    print(*words, flush=True)  # noqa: T201  (what `open_child` waits for)


def end_with_parent(loop: Loop) -> Task:
    """End this process, a child, when its standard input ends."""
    loop.attach(sys.stdin, IN)
    while True:
        yield
        if not os.read(sys.stdin.fileno(), 4096):
            sys.exit()


def _wait_until_ready(process: subprocess.Popen[bytes], module: str) -> tuple[str, ...]:
    output, line = _fileno(process.stdout), b""
    poll = select.poll()
    poll.register(output, select.POLLIN)
    deadline = time.monotonic() + PATIENCE
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise ChildError(f"{module} was not ready within {PATIENCE:g} s")
        data = os.read(output, 4096)
        if not data:
            raise ChildError(f"{module} ended before it was ready")
        line += data
    return tuple(line.decode().split())


def _fileno(pipe: object) -> int:
    assert hasattr(pipe, "fileno")  # noqa: S101  (PIPE was asked for)
    number: int = pipe.fileno()
    return number


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
