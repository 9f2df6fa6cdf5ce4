"""Run foreign programs: find them, start them where nobody else listens, read what they say, end them.

1. A program that is missing skips its tests, loudly; where the environment says ``CI=true`` it fails them.
2. Every program is ended by its own handle and reaped, and so are its children: its output has to come to an end.
   `tests.e2e.spawner` starts them all, and ends them when the tests are killed.
3. Nobody sleeps: readiness is a connection that succeeds, or a line that is said.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from tests.e2e.spawner import Request

ROOT = Path(__file__).parent.parent.parent

PATIENCE = 20.0
"""Seconds after which something that has not happened will not happen: for a machine that is busy with other things."""

Command = Sequence[str | Path]
SocketAddress = tuple[str, int]


def missing(what: str) -> NoReturn:
    """Skip the test for want of something; where everything has to be there, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, and in CI nothing may be missing")
    pytest.skip(f"NOT TESTED: {what}")


def find_program(name: str, package: str) -> str:
    """Return the path of a program, or skip the test and name the Debian package that has it."""
    path = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin")))
    if path is None:
        missing(f"there is no {name} here (Debian: apt install {package})")
    return path


def find_module(name: str, how: str) -> None:
    """See that an optional package is installed, or skip the test and say how to get it."""
    if importlib.util.find_spec(name) is None:
        missing(f"the Python package {name} is not here ({how})")


RUNTIME = "XDG_RUNTIME_DIR"
_runtime = tempfile.TemporaryDirectory(prefix="chainsocks-")
"""Has the runtime folder of each process: each server has its own control socket, whatever else runs here."""


def new_runtime_folder() -> str:
    """Make a runtime folder, which is there until the tests have ended."""
    return tempfile.mkdtemp(dir=_runtime.name)


def clean_environment(home: Path, **extra: str) -> dict[str, str]:
    """An environment in which no setting of this machine's user counts."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(home), **extra}


class Process:
    """A process, as `tests.e2e.spawner` starts it: like ``subprocess.Popen``, as far as that is needed here."""

    def __init__(
        self,
        command: Command,
        environment: Mapping[str, str],
        directory: Path,
        output: int,
        errors: int,
        input_: int | None = None,
        user: int = 0,
    ) -> None:
        if environment.get(RUNTIME) == os.environ.get(RUNTIME):
            environment = {**environment, RUNTIME: new_runtime_folder()}
        self.args = [str(word) for word in command]
        self._code: int | None = None
        self._status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request: Request = {
            "command": self.args,
            "environment": dict(environment),
            "directory": str(directory),
            "user": user,
        }
        with theirs, Path(os.devnull).open("rb") as null:
            descriptors = [null.fileno() if input_ is None else input_, output, errors, theirs.fileno()]
            socket.send_fds(_spawner(), [json.dumps(request).encode()], descriptors)
        self._status.settimeout(PATIENCE)
        self.pid = int(self._status.recv(64))

    def poll(self) -> int | None:
        """Return its exit status, or minus the signal that ended it; None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return its exit status, or minus the signal that ended it.

        Raises:
            subprocess.TimeoutExpired: it did not end.
        """
        if self._code is None:
            self._status.settimeout(timeout)
            try:
                self._code = int(self._status.recv(64))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self._status.close()
        return self._code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


@functools.cache
def _spawner() -> socket.socket:
    """Start the process that starts all others, and return the socket that it listens to."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.spawner", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, "PYTHONWARNINGS": "always::ResourceWarning"},  # an unclosed socket shows in the log
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )

    @atexit.register
    def end() -> None:
        ours.close()
        process.wait(PATIENCE)

    return ours


class Program:
    """A running program, and the lines it has said so far, on both its outputs."""

    def __init__(self, command: Command, env: Mapping[str, str] | None = None) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._silent = False
        output, input_ = os.pipe()
        try:
            self.process = Process(command, os.environ if env is None else env, Path.cwd(), input_, input_)
        finally:
            os.close(input_)
        self._reader = threading.Thread(target=self._read, args=(output,), daemon=True)
        self._reader.start()

    @property
    def said(self) -> str:
        """All of it."""
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, times: int = 1) -> re.Match[str]:
        """Return the match of the first line that has `pattern`, or of the one after `times` such lines; wait for it.

        Raises:
            AssertionError: it did not come; everything that did is in the message.
        """
        with self._news:
            self._news.wait_for(lambda: self._silent or len(self._matches(pattern)) >= times, PATIENCE)
            matches = self._matches(pattern)
        assert len(matches) >= times, f"no line has {pattern!r} in:\n{self.said}"
        return matches[times - 1]

    def wait_until_it_listens(self, address: SocketAddress) -> bool:
        """Tell whether it came to accept connections at `address`; false when it ended instead.

        Raises:
            AssertionError: neither happened.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                self.process.wait(0.01)
            except subprocess.TimeoutExpired:
                try:
                    socket.create_connection(address, PATIENCE).close()
                except ConnectionRefusedError:
                    continue
                return True
            return False
        raise AssertionError(f"nobody listens on {address}; what was said:\n{self.said}")

    def stop(self) -> int:
        """Ask it to end, and return its exit status once its children are gone as well.

        Raises:
            AssertionError: it did not end, and had to be killed.
        """
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """Wait for its end, and return its exit status; otherwise as `stop`."""
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise AssertionError(f"it does not end; what it said:\n{self.said}") from None
        finally:
            self._reader.join(PATIENCE)
        assert not self._reader.is_alive(), f"a child of {self.process.args!r} lives on"
        return status

    def _matches(self, pattern: str) -> list[re.Match[str]]:
        return [match for line in self.lines if (match := re.search(pattern, line))]

    def _read(self, output: int) -> None:
        with open(output, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                with self._news:
                    self.lines.append(line.rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._silent = True
            self._news.notify_all()


@contextmanager
def listening(
    command_for: Callable[[SocketAddress], Command], env: Mapping[str, str] | None = None
) -> Iterator[SocketAddress]:
    """Run a server that has to be told its address, and yield that address; try others should it be taken."""
    for _ in range(3):
        address = free_address()
        program = Program(command_for(address), env)
        try:
            if program.wait_until_it_listens(address):
                yield address
                return
        finally:
            program.stop()
            print(program.said)  # noqa: T201  (pytest shows it with the failure)
    raise AssertionError(f"it does not start:\n{program.said}")


def free_address() -> SocketAddress:
    """Pick a loopback address for a server that cannot take port 0; hardly any other program takes it in between."""
    host = loopback_host()
    with socket.socket() as sock:
        sock.bind((host, 0))
        return host, sock.getsockname()[1]


def loopback_host() -> str:
    """Pick one of the sixteen million addresses in 127.0.0.0/8."""
    return f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
