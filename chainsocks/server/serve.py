"""Serve: accept connections, run a session for each, and stop in an orderly way.

1. A permit is taken before a connection is accepted: with `max_sessions` of them busy, the rest waits in the backlog.
2. Two nurseries, the listeners' inside the sessions': stopping ends the inner one, and gives the outer one a deadline.
3. An accept that keeps failing, as without file descriptors, is repeated at intervals; it stops neither the server nor
   a session, and the log says so once.
4. A bug in one session is that session's end, and an error in the log.
"""

from __future__ import annotations

import errno
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from functools import partial

import anyio
import trio
from anyio.abc import ByteStream
from trio.lowlevel import checkpoint, wait_readable

from chainsocks.chain.trip import OnStep
from chainsocks.config.listeners import Listener
from chainsocks.config.models import Config
from chainsocks.net.listeners import OpenListener, open_listeners
from chainsocks.net.polled import PolledListener, PolledStream
from chainsocks.net.poller import Poller, open_poller
from chainsocks.net.stream import SocketStream
from chainsocks.server.deadlines import open_deadlines
from chainsocks.server.health_checks import check_members, members_to_check
from chainsocks.server.network import TrioNetwork
from chainsocks.session.login import Logins
from chainsocks.session.service import Service
from chainsocks.session.session import serve_session

__all__ = ["serve", "serve_until_signalled"]

log = logging.getLogger("chainsocks.server")

LOST_IN_BACKLOG = {
    errno.ECONNABORTED,
    errno.EPERM,
    errno.EPROTO,
    errno.ENETDOWN,
    errno.ENOPROTOOPT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EOPNOTSUPP,
    errno.ENETUNREACH,
}
"""Errors of accept(2) about one connection that failed while it waited in the backlog: the next one may be fine."""

MAX_LOST = 100
"""Consecutive `LOST_IN_BACKLOG` errors before they are treated as lasting: a security module that forbids accept(2)
returns EPERM on every call."""

ACCEPT_BACKOFF = 0.1
"""Seconds without accepting after a lasting error, such as no file descriptor or no memory left (precedent: trio)."""

OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""Errors of accept(2) that fewer sessions, or higher limits, would avoid."""


ACCEPTS_BEFORE_YIELD = 16
"""Connections after which those that were accepted get their turn, however many more are waiting."""


async def serve_until_signalled(
    config: Config, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends everything now. Otherwise as `serve`."""
    stopping = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def listen_to_signals() -> None:
                async for number in signals:
                    name = signal.Signals(number).name
                    if stopping.is_set():
                        log.warning("%s again: ending all sessions now", name)
                        nursery.cancel_scope.cancel()
                    else:
                        log.info("%s: no new connections, up to %g s for the open ones", name, config.timeouts.grace)
                        stopping.set()

            nursery.start_soon(listen_to_signals)
            await serve(config, stopping, task_status=task_status)
            nursery.cancel_scope.cancel()


async def serve(
    config: Config,
    stopping: trio.Event,
    *,
    listeners: Sequence[OpenListener] = (),
    on_step: OnStep | None = None,
    task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `config` until `stopping` is set and the sessions have ended, at most `grace` seconds later.

    `listeners` that are open already stand for those of `config`; whoever opened them says so in the log.
    `on_step` is told of every step of every dial. `task_status` is started with the addresses in use, as users type
    them, once connections are accepted.

    *Closing*: all sockets that were opened here, and `listeners`, are closed on return, and on cancellation.

    Raises:
        OSError: an address cannot be listened on; ``filename`` says which.
    """
    anyio.current_time()  # loads anyio's backend now: the first session may have no file descriptor left for that
    permits = trio.Semaphore(config.server.max_sessions)
    level = logging.DEBUG if listeners else logging.INFO
    with ExitStack() as stack:
        for each in listeners:
            stack.enter_context(each.sock)
        listeners = listeners or stack.enter_context(open_listeners(config.server.listen))
        async with open_poller() as poller, open_deadlines() as deadlines, trio.open_nursery() as sessions:
            service = Service(config, Logins(config.users), TrioNetwork(poller, deadlines), on_step)
            async with trio.open_nursery() as accepting:
                for each in listeners:
                    accepting.start_soon(_accept, each, permits, sessions, service, poller)
                if members := members_to_check(config.chains.values()):
                    accepting.start_soon(check_members, members, service)
                addresses = [*map(str, listeners)]
                log.log(level, "listening on %s", ", ".join(addresses))
                task_status.started(addresses)
                await stopping.wait()
                accepting.cancel_scope.cancel()
            stack.close()
            sessions.cancel_scope.deadline = trio.current_time() + config.timeouts.grace
    log.log(level, "stopped")


async def _accept(
    opened: OpenListener,
    permits: trio.Semaphore,
    sessions: trio.Nursery,
    service: Service,
    poller: Poller | None,
) -> None:
    listener, sock = opened.listener, opened.sock
    family = sock.family
    is_tcp = family in (socket.AF_INET, socket.AF_INET6)
    warned = False
    lost = served = 0
    with ExitStack() as stack:
        wait: Callable[[], Awaitable[None]] = partial(wait_readable, sock)
        if poller:
            polled = PolledListener(sock, poller)
            stack.callback(polled.stop)
            wait = polled.wait
        while True:
            try:
                permits.acquire_nowait()
            except trio.WouldBlock:
                await permits.acquire()
            try:
                accepted, peer = sock.accept()
            except OSError as error:
                permits.release()  # while we wait, another listener may have somebody to serve
                if isinstance(error, BlockingIOError):
                    lost = 0
                    await wait()
                    continue
                lost += 1
                if error.errno in LOST_IN_BACKLOG and lost % MAX_LOST:
                    await checkpoint()  # an error that never ends must not keep signals and sessions waiting
                    continue
                if not warned:
                    hint = " (see `ulimit -n`, max_sessions)" if error.errno in OUT_OF_RESOURCES else ""
                    log.warning("cannot accept: %s; trying again%s", error.strerror, hint)
                    warned = True
                await trio.sleep(ACCEPT_BACKOFF)
                continue
            warned = False
            lost = 0
            accepted.settimeout(0)
            host, name = "", "unix"
            if is_tcp:
                host = peer[0]
                name = f"{host}:{peer[1]}" if family is socket.AF_INET else f"[{host}]:{peer[1]}"
            sessions.start_soon(
                _run_session,
                PolledStream(accepted, poller, short_read_is_all=is_tcp) if poller else SocketStream(accepted),
                name,
                host,
                permits,
                service,
                listener,
                name=name,
            )
            served += 1
            if served % ACCEPTS_BEFORE_YIELD == 0:
                await checkpoint()


async def _run_session(
    client: ByteStream, name: str, host: str, permits: trio.Semaphore, service: Service, listener: Listener
) -> None:
    try:
        await serve_session(client, name, service, host, listener.names_only)
    except Exception as error:
        log.error("a bug in chainsocks ended a session: %s: %s", type(error).__name__, error)
        log.debug("where it happened", exc_info=error)
    finally:
        permits.release()
