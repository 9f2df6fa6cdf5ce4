"""`chainsocks exec`: run a program in a network namespace whose only way out is the chain.

::

    called process ─ fork ─ waits until the chain is served, and tells
         │            └─ fork ─ gets the sockets ─ serves the chain until the program has ended   (`exec_chain`)
         ├─ enters the namespaces, and hands the sockets out
         ├─ waits for that
         └─ executes the program

1. The called process becomes the program: its parent, its terminal, its signals and its exit status are those that it
   would have without us.
2. The process of the chain is no child of it, and has a session of its own: Ctrl-C and Ctrl-Z do not reach it. When it
   dies, what connects inside is refused.
3. The program gets standard input, output and error, and no other file that is open here: one may lead outside.
4. Nothing is run before the chain is served. The libraries that serve it are loaded by its process only.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import click

from chainsocks.commands import load_command
from chainsocks.namespace.enter import Inside, confine, enter
from chainsocks.namespace.files import doors

__all__ = ["Way", "exec", "execute"]

_STANDARD = 3
_CANNOT, _NOT_FOUND = 126, 127
"""Exit statuses for a command that cannot be run, as shells have them."""


@dataclass(frozen=True, slots=True)
class Way:
    """The options that choose the chain."""

    path: Path | None
    chain: str | None
    hops: tuple[str, ...]
    verbose: bool
    quiet: bool


def exec(  # noqa: A001  (the command's name)
    *,
    path: Path | None,
    chain: str | None,
    hops: tuple[str, ...],
    shared: tuple[str, ...],
    verbose: bool,
    quiet: bool,
    command: tuple[str, ...],
) -> None:
    """Become a program whose only way out is a chain; return in the process of the chain only, when that has ended.

    Raises:
        UsageError: the options contradict each other.
        NamespaceError: this machine does not allow it.
    """
    execute(Way(path, chain, hops, verbose, quiet), shared, command)


def execute(way: Way, shared: Sequence[str], command: Sequence[str]) -> None:
    """Do as `exec` does.

    Raises:
        UsageError, NamespaceError: as `exec` does.
    """
    if sys.platform != "linux":
        raise click.UsageError("it takes the namespaces of Linux, and this is another system")
    if way.chain and way.hops:
        raise click.UsageError("--chain and --hop exclude each other: both are the chain")
    for each in shared:
        if not Path(each).exists():
            raise click.UsageError(f"--share: there is no {each}")
    process = os.pidfd_open(os.getpid())
    ours, theirs = socket.socketpair()
    serving, tell = os.pipe()
    middle = os.fork()
    if middle == 0:
        ours.close()
        chain = os.fork()
        if chain == 0:
            os.close(serving)
            _serve_chain(way, theirs, process, lambda: _say(tell))
            return
        os.close(tell)
        _end_with(chain, serving)
    theirs.close()
    os.close(tell)
    with ours:
        _hand_out(ours, enter(shared))
    _, status = os.waitpid(middle, 0)
    if status:
        sys.exit(os.waitstatus_to_exitcode(status))  # the other process has said why
    if not way.quiet:
        for line in (*(f"{each} is shared: it leads outside the chain" for each in shared), *doors(os.environ)):
            click.echo(f"chainsocks: {line}", err=True)
    _become(command)


def _serve_chain(way: Way, theirs: socket.socket, process: int, ready: Callable[[], None]) -> None:
    """Be the process of the chain."""
    os.setsid()
    _, descriptors, _, _ = socket.recv_fds(theirs, 1, 16)
    theirs.close()
    if not descriptors:
        os._exit(1)  # there is no namespace, and that has been said
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):  # a pipe shall end when the program has
        os.dup2(null, standard)
    os.close(null)
    namespace, *sockets = descriptors
    inside = Inside.of(socket.socket(fileno=each) for each in sockets)
    options = {"path": way.path, "chain": way.chain, "hops": way.hops, "verbose": way.verbose, "quiet": way.quiet}
    load_command("exec-chain")(inside, process, os.fstat(namespace).st_ino, ready, **options)


def _say(tell: int) -> None:
    os.write(tell, b"1")
    os.close(tell)


def _end_with(chain: int, serving: int) -> NoReturn:
    """End with 0 as soon as the chain is served; with the exit status of its process if that ends before."""
    if os.read(serving, 1):
        os._exit(0)
    _, status = os.waitpid(chain, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code > 0 else 1)


def _hand_out(ours: socket.socket, inside: Inside) -> None:
    """Hand the sockets of the namespace to the process of the chain, and close them here."""
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    socket.send_fds(ours, [b"1"], [namespace, *(each.fileno() for each in inside.sockets)])
    os.close(namespace)
    for each in inside.sockets:
        each.close()


def _become(command: Sequence[str]) -> NoReturn:
    """Execute the program."""
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python, for itself
        signal.signal(ignored, signal.SIG_DFL)
    confine()
    os.closerange(_STANDARD, os.sysconf("SC_OPEN_MAX"))
    try:
        os.execvp(command[0], [*command])  # noqa: S606  (that is what it is for)
    except OSError as error:
        is_missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        text = "there is no such command" if is_missing else error.strerror
        click.echo(f"chainsocks: {command[0]}: {text}", err=True)
        sys.exit(_NOT_FOUND if is_missing else _CANNOT)
