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
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import NoReturn

import click

from chainsocks.commands import load_command
from chainsocks.namespace.doorman import open_door
from chainsocks.namespace.enter import Inside, confine, enter
from chainsocks.namespace.files import doors
from chainsocks.namespace.handover import Handover, hand_over, take_over

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
    """Become a program whose only way out is a chain; return in the process of the chain only, when that has ended.

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

    middle = _start_chain(way, take, published)
    if middle is None:
        return
    theirs.close()
    with ours:
        inside = enter(way.shared)
        hand_over(ours, inside, *open_door(inside))
    for sock, _ in published:
        sock.close()
    _wait_for_chain(middle)
    if not way.quiet:
        _say(*(f"{each} is shared: it leads outside the chain" for each in way.shared), *doors(os.environ))
    confine()
    _become(command)


def _execute_with_variables(way: Way, command: Sequence[str]) -> None:
    """Become a program whose variables name a private listener, and that otherwise connects as it likes."""
    _check_chain(way)
    if way.shared or way.published:
        raise click.UsageError("--env makes no network of its own: --share and --publish are not for it")
    login = token_hex(16)
    private = _listen("127.0.0.1", 0)
    middle = _start_chain(way, lambda: Handover(Inside((private,), (), ())), (), login)
    if middle is None:
        return
    address = "exec:{}@{}:{}".format(login, *private.getsockname())
    private.close()
    _wait_for_chain(middle)
    for name in _VARIABLES:
        value = f"{'socks5h' if name == 'all_proxy' else 'http'}://{address}"
        os.environ[name] = os.environ[name.upper()] = value
    for name in ("no_proxy", "NO_PROXY"):
        os.environ.pop(name, None)
    if not way.quiet:
        _say("--env sets variables only: what does not follow all_proxy or http_proxy connects past the chain")
    _become(command)


def _check_chain(way: Way) -> None:
    if way.chain and way.hops:
        raise click.UsageError("--chain and --hop exclude each other: both are the chain")


def _start_chain(
    way: Way, take: Callable[[], Handover], published: Sequence[tuple[socket.socket, int]], login: str = ""
) -> int | None:
    """Start the process of the chain, and return the one that waits for it; in the former, None when it has ended.

    `take` waits there for what it serves.
    """
    process = os.pidfd_open(os.getpid())
    serving, tell = os.pipe()
    middle = os.fork()
    if middle == 0:
        chain = os.fork()
        if chain:
            _end_with(chain, serving)
        os.close(serving)
        os.setsid()
        handover = take()
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1):  # a pipe shall end when the program has
            os.dup2(null, standard)
        os.close(null)
        load_command("exec-chain")(
            handover,
            process,
            partial(_tell, tell),
            published=published,
            login=login,
            path=way.path,
            chain=way.chain,
            hops=way.hops,
            verbose=way.verbose,
            quiet=way.quiet,
        )
        return None
    for descriptor in (process, serving, tell):
        os.close(descriptor)
    return middle


def _tell(tell: int) -> None:
    os.write(tell, b"1")
    os.close(tell)


def _end_with(chain: int, serving: int) -> NoReturn:
    """End with 0 as soon as the chain is served; with the exit status of its process if that ends before.

    All other files are closed: an end that is open here would keep the other process waiting.
    """
    os.closerange(_STANDARD, serving)
    os.closerange(serving + 1, os.sysconf("SC_OPEN_MAX"))
    if os.read(serving, 1):
        os._exit(0)
    _, status = os.waitpid(chain, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code > 0 else 1)


def _wait_for_chain(middle: int) -> None:
    """Wait until the chain is served; end if it will not be, which the other process has explained."""
    _, status = os.waitpid(middle, 0)
    if status:
        sys.exit(max(1, os.waitstatus_to_exitcode(status)))


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
