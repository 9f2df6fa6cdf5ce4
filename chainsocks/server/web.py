"""The process of the web server (`chainsocks.web`): started, watched, and started again when it dies.

It has a process of its own, so that a browser or a monitoring system never delays a session: all that it asks of the
server comes over two pairs of sockets, on which it is a client of the control protocol. Its listening sockets are
opened here and stay open. So an address that is not available is known at the start, and the port never closes in
between.
"""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain

import trio

from chainsocks.config.listeners import Listener
from chainsocks.config.models import Config
from chainsocks.control.fleet import Fleet
from chainsocks.control.serve import serve_control
from chainsocks.errors import ConfigError, Problem, WebListenError
from chainsocks.net.listeners import OpenListener
from chainsocks.net.rearranging import rearranged
from chainsocks.signals import describe_exit

__all__ = ["LEAVING", "WebServer", "next_pause", "open_web_server", "web_listeners"]

log = logging.getLogger("chainsocks.web")

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds from the death of the process to the start of the next one. Its start takes half a second of CPU."""

SETTLED = 30.0
"""Seconds after which a death no longer counts as a failed start."""

LEAVING = 2.0
"""Seconds in which the process has to end once the server is gone; then it is killed."""


@contextmanager
def open_web_server(config: Config) -> Iterator[WebServer]:
    """Open the sockets of the web server, if there is to be one. Those that it has at the end are closed.

    Raises:
        WebListenError: the address is not available.
    """
    server = WebServer(Config())
    try:
        with server.prepare(config) as opened:
            server.change(config, opened)
    except OSError as error:
        raise WebListenError(str(error.filename), error.errno or 0, error.strerror or str(error)) from error
    try:
        yield server
    finally:
        for each in server.opened:
            each.close()


def web_listeners(config: Config) -> list[Listener]:
    """Return where the web server of a configuration listens; empty for none."""
    return [Listener(config.web.listen)] if config.web.listen else []


class WebServer:
    """The web server of a configuration: its process runs while `run` does. `open_web_server` gives it its sockets."""

    def __init__(self, config: Config) -> None:
        self.opened: list[OpenListener] = []
        """Its sockets; `change` closes those that it leaves out."""
        self._config = config
        self._running = trio.CancelScope()

    @contextmanager
    def prepare(self, config: Config) -> Iterator[list[OpenListener]]:
        """Yield the sockets for another configuration: those that stay, and new ones (closed on failure).

        Raises:
            OSError: the address is not available, and all is as it was before; ``filename`` says which.
        """
        with rearranged(self.opened, web_listeners(config)) as opened:
            for each in opened:
                if each.sock not in {one.sock for one in self.opened}:
                    each.listen()
            yield opened

    @contextmanager
    def prepare_reload(self, config: Config, *, counts: bool) -> Iterator[list[OpenListener]]:
        """Do the same for a server that reloads, and that `counts` what the web server is to show, or does not.

        Raises:
            ConfigError: the address is not available, or nothing has been counted.
        """
        if config.web.listen and not counts:
            what = "the server was started without it and without a control socket, and counts nothing: restart it"
            raise ConfigError([Problem("web.listen", what)])
        with ExitStack() as on_failure:
            try:
                opened = on_failure.enter_context(self.prepare(config))
            except OSError as error:
                raise ConfigError([Problem("web.listen", f"{error.filename}: {error.strerror}")]) from error
            yield opened

    def change(self, config: Config, opened: Sequence[OpenListener]) -> None:
        """Go on with another configuration, on the sockets that `prepare` has yielded for it."""
        former, before = self._config, self.opened
        sockets, known = {each.sock for each in opened}, {each.sock for each in before}
        self._config, self.opened = config, list(opened)
        for each in before:
            if each.sock not in sockets:
                each.close()
        if (former.web, former.log, known) != (config.web, config.log, sockets):
            self._running.cancel()

    async def run(self, fleet: Fleet) -> None:
        """Keep the process running until cancelled; `fleet` answers it. It has ended on return."""
        while True:
            with trio.CancelScope() as self._running:
                if self.opened:
                    await self._keep(fleet)
                await trio.sleep_forever()

    async def _keep(self, fleet: Fleet) -> None:
        log.info("web server on %s", ", ".join(f"http://{each}" for each in self.opened))
        pause = 0.0
        while True:
            began = trio.current_time()
            ended = await _run_once(_command(self._config, self.opened), self.opened, fleet)
            pause = next_pause(pause, trio.current_time() - began)
            log.warning("the web server %s; it is started again in %g s", ended, pause)
            await trio.sleep(pause)


def next_pause(last: float, lived: float) -> float:
    """Return the seconds until the process is started again, which lived for `lived` seconds.

    `last` is the pause before that start; 0 for the first.
    """
    return FIRST_PAUSE if lived >= SETTLED else min(max(2 * last, FIRST_PAUSE), LONGEST_PAUSE)


def _command(config: Config, opened: Sequence[OpenListener]) -> list[str]:
    """Return the command line without the control socket. -P: nothing is loaded from the current folder."""
    web = config.web
    hosts = (*web.hosts, *([web.listen.host] if web.listen else []))
    command = [sys.executable, "-P", "-m", "chainsocks.web"]
    command += ["--log-format", config.log.format, "--log-privacy", config.log.privacy]
    command += ["--log-level", str(logging.getLogger("chainsocks").getEffectiveLevel())]
    for each in opened:
        command += ["--listen", str(each.sock.fileno())]
    for host in hosts:
        command += ["--host", f"[{host}]" if ":" in host else host]
    if web.token_env is not None:
        command += ["--token-env", web.token_env]
    return [*command, *(["--guard-reads"] if web.is_exposed else [])]


async def _run_once(command: Sequence[str], opened: Sequence[OpenListener], fleet: Fleet) -> str:
    """Run the process to its end, and return how it ended."""
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(2)]
        for sock in chain.from_iterable(pairs):
            stack.enter_context(sock)
            sock.settimeout(0)
        control, orders = (theirs.fileno() for _, theirs in pairs)
        files = [control, orders, *(each.sock.fileno() for each in opened)]
        try:
            process = await trio.lowlevel.open_process(
                [*command, "--control", str(control), "--orders", str(orders)],
                stdin=subprocess.DEVNULL,
                pass_fds=files,
                start_new_session=True,  # the signals of a terminal are for the server, also while this one starts
            )
        except OSError as error:
            return f"cannot start: {error.strerror}"
        for _, theirs in pairs:
            theirs.close()
        try:
            async with trio.open_nursery() as nursery:
                for ours, _ in pairs:
                    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
                    nursery.start_soon(serve_control, stream, fleet)
                await process.wait()
                nursery.cancel_scope.cancel()
        finally:
            for ours, _ in pairs:
                ours.close()  # which tells it that the server is gone
            with trio.move_on_after(LEAVING) as leaving:
                leaving.shield = True
                await process.wait()
            if process.returncode is None:
                process.kill()
    return describe_exit(process.returncode or 0)
