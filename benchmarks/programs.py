"""Run the programs that are measured: start them on free ports, wait until they listen, and end them.

1. A program is ready when it accepts a connection. One that ends before, for example because its port was taken, is
   started again on another port.
2. Its output goes to a file, for all programs alike: a log is part of the work, and a terminal would slow it down. The
   end of the file is shown when the program does not start.
3. It is ended by its own handle, with the children in its process group. When this process is killed, a shell that
   waits for that (`_guarded`) kills the group.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from chainsocks.protocol.address import Address

__all__ = ["PATIENCE", "CannotStart", "Command", "Program", "Running", "find_program", "free_address", "open_programs"]

PATIENCE = 20.0
"""Seconds that a program may take to accept connections."""

GRACE = 1.0
"""Seconds from asking a program to end to killing it: everything was measured by then."""

ATTEMPTS = 3

Command = Sequence[str | Path]


class CannotStart(Exception):
    """A program did not come to accept connections."""


@dataclass(frozen=True, slots=True)
class Program:
    """A command, and the address that it is going to listen on."""

    command: Command
    address: Address


@dataclass(frozen=True, slots=True)
class Running:
    """Running programs: the address of the last of them, and the first process of each."""

    address: Address
    pids: tuple[int, ...]

    def send_signal(self, number: signal.Signals) -> None:
        """Signal each of `pids`."""
        for pid in self.pids:
            os.kill(pid, number)


def find_program(name: str) -> str | None:
    """Return the path of a program; servers may be in folders that only an administrator's path has."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin")))


def free_address() -> Address:
    """Return a free address of this machine.

    Its host is one of the many in 127.0.0.0/8: the tens of thousands of connections of a benchmark come from 127.0.0.1,
    and might take the port before its program does, or be connected to themselves.
    """
    host = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
    with socket.socket() as sock:
        sock.bind((host, 0))
        return Address(host, sock.getsockname()[1])


@contextmanager
def open_programs(plan: Callable[[], Sequence[Program]], folder: Path) -> Iterator[Running]:
    """Run the programs of `plan`, each when the one before accepts connections. Each attempt calls `plan` again.

    Raises:
        CannotStart: one of them does not accept connections.
    """
    for left in reversed(range(ATTEMPTS)):
        with ExitStack() as stack:
            try:
                running = _start_all(plan(), folder, stack)
            except CannotStart:
                if left:
                    continue
                raise
            yield running
            return


def _start_all(programs: Sequence[Program], folder: Path, stack: ExitStack) -> Running:
    pids = []
    for program in programs:
        log = folder / f"{Path(program.command[0]).name}.log"
        process = stack.enter_context(_started(program.command, log))
        pids.append(process.pid)
        if not _accepts(process, program.address):
            raise CannotStart(f"{program.command[0]} does not listen on {program.address}:\n{_tail(log)}")
    return Running(programs[-1].address, tuple(pids))


@contextmanager
def _started(command: Command, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command, and end it and its children."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=log.parent, start_new_session=True
        )
    with _guarded(process.pid):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                pass  # killed below, with all others
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it has ended, and so have its children
            process.wait()
            while _lives(process.pid):
                time.sleep(0.001)  # a killed child is not gone at once


@contextmanager
def _guarded(group: int) -> Iterator[None]:
    """Have a process group killed if this process does not live to the end of the block."""
    guard = ["/bin/sh", "-c", 'read -r end || kill -s KILL -- "-$0"', str(group)]
    with subprocess.Popen(guard, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield
        finally:
            process.communicate(b"end\n")


def _lives(group: int) -> bool:
    """Tell whether a process group has a process that has not ended."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of = stat.read_text().rpartition(") ")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended in between
        if int(of) == group and state not in "ZX":
            return True
    return False


def _accepts(process: subprocess.Popen[bytes], address: Address) -> bool:
    """Wait until connections are accepted; false when the process ends, or takes too long."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((address.host, address.port), PATIENCE).close()
        except ConnectionRefusedError:
            time.sleep(0.01)
        else:
            return True
    return False


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-5:])
