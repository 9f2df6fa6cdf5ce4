"""Serve HTTP until the server is gone that this process asks, or until a signal.

The process is started with its listening sockets, and with one end each of two pairs of sockets, on which it is a
client of the control protocol. Whatever a terminal sends to all processes is left to the server: this one ends with it,
so that it can say until then that the server is draining.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as serve_asgi

from chainsocks.config.log_settings import LogFormat, LogSettings, Privacy
from chainsocks.control.ask import Asker
from chainsocks.observe.log import flush_log, restart_logging, start_logging
from chainsocks.web.app import build_app
from chainsocks.web.feed import Feed
from chainsocks.web.guard import Rules
from chainsocks.web.source import Source

__all__ = ["GRACE", "Given", "parse_arguments", "run", "serve"]

log = logging.getLogger("chainsocks.web")

GRACE = 0.2
"""Seconds that requests under way have at the end. Pages that watch would keep them all."""


PEEK = 0.2
"""Seconds from one look at a socket with data on it to the next."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the process is started with."""

    control: int
    """The descriptor of a connected socket, for questions."""
    orders: int
    """That of another one, for orders."""
    listen: tuple[int, ...]
    """The descriptors of listening sockets."""
    rules: Rules
    log: LogSettings
    level: int


def parse_arguments(arguments: Sequence[str]) -> Given:
    """Read the command line; the token is in the environment, where other users of the machine do not see it."""
    parser = argparse.ArgumentParser("chainsocks.web", description="Started by the server; not for use by hand.")
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--orders", type=int, required=True)
    parser.add_argument("--listen", type=int, action="append", required=True)
    parser.add_argument("--host", action="append", default=[])
    parser.add_argument("--token-env")
    parser.add_argument("--guard-reads", action="store_true")
    parser.add_argument("--log-format", type=LogFormat, default=LogFormat.PLAIN)
    parser.add_argument("--log-privacy", type=Privacy, default=Privacy.NONE)
    parser.add_argument("--log-level", type=int, default=logging.INFO)
    given = parser.parse_args(arguments)
    token = os.fsencode(os.environ[given.token_env]) if given.token_env else None
    hosts = frozenset({"localhost", *(host.lower() for host in given.host)})
    log = LogSettings(given.log_format, given.log_privacy)
    rules = Rules(hosts, token, given.guard_reads)
    return Given(given.control, given.orders, tuple(given.listen), rules, log, given.log_level)


def run() -> None:
    """Run this process, to its end."""
    given = parse_arguments(sys.argv[1:])
    start_logging(given.level, given.log)
    restart_logging("web")
    try:
        trio.run(serve, given)
    except Exception as error:  # the process ends here: it can only be logged
        log.error("a bug in chainsocks ended the web server: %s: %s", type(error).__name__, error)
        log.debug("where it happened", exc_info=error)
        sys.exit(1)
    finally:
        flush_log()


async def serve(given: Given) -> None:
    """Serve until the other end of the control socket is closed, or until SIGTERM.

    *Closing*: all sockets that were given.
    """
    control, orders = (socket.socket(fileno=each) for each in (given.control, given.orders))
    stream, order_stream = map(_stream_of, (control, orders))
    stopping = trio.Event()
    source = Source(Asker(stream), Asker(order_stream))
    feed = Feed(source)
    app = build_app(source, feed, given.rules)

    async def stop_on_signal(task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                stopping.set()

    async def stop_with_the_server() -> None:
        await _until_closed(control)
        stopping.set()

    async with stream, order_stream, trio.open_nursery() as nursery:
        await nursery.start(stop_on_signal)
        nursery.start_soon(stop_with_the_server)
        nursery.start_soon(feed.run)
        await serve_asgi(app, _configure(given.listen), shutdown_trigger=stopping.wait)
        nursery.cancel_scope.cancel()


def _stream_of(sock: socket.socket) -> trio.SocketStream:
    sock.settimeout(0)
    return trio.SocketStream(trio.socket.from_stdlib_socket(sock))


async def _until_closed(control: socket.socket) -> None:
    """Wait until the other end of a socket is closed, without reading from it."""
    with socket.socket(fileno=os.dup(control.fileno())) as watched:
        watched.settimeout(0)
        while True:
            await trio.lowlevel.wait_readable(watched)
            try:
                if not watched.recv(1, socket.MSG_PEEK):
                    return
            except BlockingIOError:
                continue
            except OSError:
                return
            await trio.sleep(PEEK)  # an answer that another task is about to read


def _configure(listen: Sequence[int]) -> Config:
    config = Config()
    config.bind = [f"fd://{number}" for number in listen]
    config.graceful_timeout = GRACE
    config.keep_alive_max_requests = 100_000  # monitoring systems keep one connection open
    config.include_server_header = False
    config.errorlog = None  # the routes log what goes wrong
    return config
