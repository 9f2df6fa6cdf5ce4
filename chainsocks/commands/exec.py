"""`chainsocks exec`: run a program in a network namespace whose only way out is the chain.

::

    called process ─┬─ fork ─ gets the sockets ─ serves the chain until nothing is left inside   (`exec_chain`)
         │          └─ fork ─ enters the namespaces, and hands the sockets out
         │                    ├─ waits until the chain is served
         │                    └─ executes the program
         └─ stands in for the program, and waits for what it leaves inside

1. The called process stands in for the program (`chainsocks.namespace.stand_in`): the program has its terminal and
   gets its signals, and the caller sees the program's exit status.
2. The process of the chain has a session of its own: Ctrl-C and Ctrl-Z do not reach it. When it dies, what connects
   inside is refused. When the called process dies, it ends, and the kernel kills the program.
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
from secrets import token_hex
from typing import NoReturn

import click

from chainsocks.commands import load_command
from chainsocks.namespace.agent import start_agent
from chainsocks.namespace.enter import Inside, confine, enter
from chainsocks.namespace.files import uncovered_displays
from chainsocks.namespace.handover import Handover, hand_over, take_over
from chainsocks.namespace.stand_in import end_as, start_command, wait_for_command

__all__ = ["Way", "exec", "execute"]

_STANDARD = 3
_CANNOT, _NOT_FOUND = 126, 127
"""Exit statuses for a command that cannot be run, as shells have them."""

_VARIABLES = ("all_proxy", "http_proxy", "https_proxy", "ftp_proxy")
"""In small and in capital letters."""


@dataclass(frozen=True, slots=True)
class Way:
    """The options of a program's way out."""

    path: Path | None
    chain: str | None
    hops: tuple[str, ...]
    shared: tuple[str, ...]
    published: tuple[str, ...]
    verbose: bool
    quiet: bool


def exec(  # noqa: A001  (the command's name)
    *,
    path: Path | None,
    chain: str | None,
    hops: tuple[str, ...],
    shared: tuple[str, ...],
    published: tuple[str, ...],
    variables_only: bool,
    verbose: bool,
    quiet: bool,
    command: tuple[str, ...],
) -> None:
    """Run a program whose only way out is a chain, and end as it does; return in the process of the chain only.

    Raises:
        UsageError: the options contradict each other.
        NamespaceError: this machine does not allow it.
        OSError: a port to publish is taken; ``filename`` says which.
    """
    way = Way(path, chain, hops, shared, published, verbose, quiet)
    if variables_only:
        _execute_with_variables(way, command)
    else:
        execute(way, command)


def execute(way: Way, command: Sequence[str]) -> None:
    """Do as `exec` does, with a network of its own.

    Raises:
        UsageError, NamespaceError, OSError: as `exec` does.
    """
    if sys.platform != "linux":
        raise click.UsageError("it takes the namespaces of Linux, and this is another system")
    _check_chain(way)
    for each in way.shared:
        if not Path(each).exists():
            raise click.UsageError(f"--share: there is no {each}")
    published = [(_listen(host, port), port) for host, port in map(_parse_published, way.published)]
    ours, theirs = socket.socketpair()

    def take() -> Handover:
        ours.close()
        with theirs:
            return take_over(theirs) or os._exit(1)  # there is no namespace, and that has been said

    def prepare(serving: int) -> None:
        theirs.close()
        with ours:
            inside = enter(way.shared)
            hand_over(ours, inside, *start_agent(inside))
        _wait_until_served(serving)
        if not way.quiet:
            _say(
                *(f"{each} is shared: it leads outside the chain" for each in way.shared),
                *uncovered_displays(os.environ),
            )
        confine()

    _run(way, command, take, prepare, published)


def _execute_with_variables(way: Way, command: Sequence[str]) -> None:
    """Run a program whose variables name a private listener, and that otherwise connects as it likes."""
    _check_chain(way)
    if way.shared or way.published:
        raise click.UsageError("--env makes no network of its own: --share and --publish are not for it")
    login = token_hex(16)
    private = _listen("127.0.0.1", 0)
    address = "exec:{}@{}:{}".format(login, *private.getsockname())

    def prepare(serving: int) -> None:
        _wait_until_served(serving)
        for name in _VARIABLES:
            value = f"{'socks5h' if name == 'all_proxy' else 'http'}://{address}"
            os.environ[name] = os.environ[name.upper()] = value
        for name in ("no_proxy", "NO_PROXY"):
            os.environ.pop(name, None)
        if not way.quiet:
            _say("--env sets variables only: what does not follow all_proxy or http_proxy connects past the chain")

    _run(way, command, lambda: Handover(Inside((private,), (), ())), prepare, (), login)


def _check_chain(way: Way) -> None:
    if way.chain and way.hops:
        raise click.UsageError("--chain and --hop exclude each other: both are the chain")


def _run(
    way: Way,
    command: Sequence[str],
    take: Callable[[], Handover],
    prepare: Callable[[int], None],
    published: Sequence[tuple[socket.socket, int]],
    login: str = "",
) -> None:
    """Start the process of the chain and the command, and end as that; in the former, return when it has ended.

    `take` waits in the process of the chain for what it serves. `prepare` makes the other one ready to become the
    command; its argument is a file that can be read when the chain is served.
    """
    ours, theirs = socket.socketpair()
    serving, tell = os.pipe()
    chain = os.fork()
    if chain == 0:
        ours.close()
        os.close(serving)
        os.setsid()
        handover = take()
        _leave_input_and_output()

        def ready() -> None:
            for each in (theirs.fileno(), tell):
                os.write(each, b"1")
            os.close(tell)

        load_command("exec-chain")(
            handover,
            theirs,
            ready,
            published=published,
            login=login,
            path=way.path,
            chain=way.chain,
            hops=way.hops,
            verbose=way.verbose,
            quiet=way.quiet,
        )
        return
    theirs.close()
    os.close(tell)
    process = start_command()
    if process == 0:
        ours.close()
        for sock, _ in published:
            sock.close()
        prepare(serving)
        _become(command)
    _leave_input_and_output()
    os.closerange(_STANDARD, ours.fileno())
    os.closerange(ours.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    _stand_in_for(process, chain, ours)


def _leave_input_and_output() -> None:
    """Close standard input and output: a pipe shall end when the program has."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(null, standard)
    os.close(null)


def _stand_in_for(process: int, chain: int, link: socket.socket) -> NoReturn:
    """Wait for the program and for what it leaves inside, and end as the program has.

    The process at the other end of `link` has said there that the chain is served, and will say that nothing is left.
    """
    status = wait_for_command(process)
    try:
        if link.recv(1):
            link.send(b"1")  # the program has ended
            link.recv(1)
        elif not status:  # the other process has explained why there is no chain
            _, status = os.waitpid(chain, 0)
    except KeyboardInterrupt:
        _say("no longer waiting: what the command has left running has no network any more")
    except OSError:
        pass  # the chain has been killed
    end_as(status)


def _wait_until_served(serving: int) -> None:
    """Wait until the chain is served; end if it will not be, which its process has explained."""
    if not os.read(serving, 1):
        os._exit(0)


def _parse_published(text: str) -> tuple[str, int]:
    """Return where to listen, and the port inside, which is the same one."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise click.UsageError(f"--publish: found {text!r}, expected a port, or address:port as in 0.0.0.0:8080")
    return host.strip("[]") or "127.0.0.1", int(port)


def _listen(host: str, port: int) -> socket.socket:
    """Listen outside.

    Raises:
        OSError: the address is not available; ``filename`` says which.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), f"--publish {port} at {host}") from None


def _say(*lines: str) -> None:
    for line in lines:
        click.echo(f"chainsocks: {line}", err=True)


def _become(command: Sequence[str]) -> NoReturn:
    """Execute the program."""
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python, for itself
        signal.signal(ignored, signal.SIG_DFL)
    os.closerange(_STANDARD, os.sysconf("SC_OPEN_MAX"))
    try:
        os.execvp(command[0], [*command])  # noqa: S606  (that is what it is for)
    except OSError as error:
        is_missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        _say(f"{command[0]}: {'there is no such command' if is_missing else error.strerror}")
        sys.exit(_NOT_FOUND if is_missing else _CANNOT)
