"""A process that starts programs for the tests, and ends them when the tests are killed.

1. Our own program has been imported here once, and its models are built; each start of it is a fork, which takes some
   milliseconds instead of half a second. It is a process of its own all the same: with its arguments, environment,
   descriptors, signals and exit status. A test whose subject is the installed command names its path, and gets that.
2. Every program leads a session of its own. When the tests' process is gone, by whatever signal, its end of the control
   socket closes, and all of those sessions are killed, children included.
3. Only this process starts programs, so there are none that it does not know of.

A request is one message on the control socket: what to run in JSON, and four descriptors. Three are the program's
standard streams; on the fourth one message says that it runs, with its pid, and another one how it has ended.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
from typing import NoReturn, TypedDict

from chainsocks.cli import cli, main
from chainsocks.commands import load_command
from chainsocks.config.tables import Table
from tests.e2e.namespaces import enter

__all__ = ["NAMESPACE", "OWN", "Request"]

NAMESPACE = "TESTS_NETWORK_NAMESPACE"
"""The environment variable with the name of the network namespace that a program is to run in."""

OWN = "chainsocks"
"""Our own program, as it has been imported here; any other one is a path."""


class Request(TypedDict):
    """What to run."""

    command: list[str]
    environment: dict[str, str]
    directory: str
    user: int
    """The user and the group to become; 0 for none."""


class _Spawner:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._children: dict[int, tuple[int, socket.socket]] = {}
        """The pid and the status socket of each child, by its pidfd."""

    def run(self) -> list[str] | None:
        """Start what is asked for, until the tests are gone; in a child, return its command."""
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor != self._control.fileno():
                    self._reap(descriptor)
                    continue
                message, descriptors, _, _ = socket.recv_fds(self._control, 2**20, 4)
                if not message:
                    self._kill_all()
                    return None
                request: Request = json.loads(message)
                if self._fork(request, *descriptors):
                    return request["command"]

    def _fork(self, request: Request, input_: int, output: int, errors: int, status: int) -> bool:
        """Start a child, and tell whether this is the child."""
        status_socket = socket.socket(fileno=status)
        if pid := os.fork():
            pidfd = os.pidfd_open(pid)
            self._poll.register(pidfd, select.POLLIN)
            self._children[pidfd] = pid, status_socket
        else:
            os.setsid()
            for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
                signal.signal(number, signal.SIG_DFL)  # the tests' starter may ignore them, as nohup(1) does
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it starts with "&"
            self._control.close()
            for pidfd, (_, socket_of_another) in self._children.items():
                os.close(pidfd)
                socket_of_another.close()
            for target, source in enumerate((input_, output, errors)):
                os.dup2(source, target)
            os.chdir(request["directory"])
            if namespace := request["environment"].pop(NAMESPACE, ""):
                enter(namespace)
            if user := request["user"]:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
                ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # dumpable: its files in /proc are its own, as after an exec
            os.environ.clear()
            os.environ.update(request["environment"])
            status_socket.send(b"%d" % os.getpid())
            status_socket.close()
        for descriptor in (input_, output, errors):
            os.close(descriptor)
        return not pid

    def _reap(self, pidfd: int) -> None:
        pid, status = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        try:
            status.send(b"%d" % code)
        except BrokenPipeError:
            pass  # the test does not wait for its end
        status.close()

    def _kill_all(self) -> None:
        for pid, _ in self._children.values():
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:  # it leads no group yet
                os.kill(pid, signal.SIGKILL)


def _load_all() -> None:
    """Load what our program loads when it is needed, and build what it builds then."""
    for name in (*cli.commands, "exec-chain", "explain"):
        load_command(name)
    for name in ("anyio._backends._trio", "encodings.idna", "encodings.utf_8_sig", "rich._emoji_codes"):
        importlib.import_module(name)
    models = [Table]
    for model in models:  # which grows
        models += model.__subclasses__()
        model.model_rebuild()


def _end(status: object) -> NoReturn:
    """End this process as ``sys.exit`` does, without taking its memory apart.

    The interpreter would touch, and so copy, all that the children share: half of the CPU time of a short server.
    """
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        sys.exit(status)  # type: ignore[arg-type]  # which reports what could not be written
    os._exit(status if isinstance(status, int) else 1)


if __name__ == "__main__":
    _load_all()
    gc.collect()
    gc.freeze()  # all that the children share
    command = _Spawner(socket.socket(fileno=int(sys.argv[1]))).run()
    if command and command[0] == OWN:
        sys.argv[:] = command
        # Made anew, as they depend on what they lead to: a terminal, a file, a pipe.
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
        try:
            main()
        except SystemExit as end:
            _end(end.code)
    elif command:
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python, for itself
            signal.signal(ignored, signal.SIG_DFL)
        os.execvpe(command[0], command, os.environ)
