"""Serve a program that is in a network namespace, until it has ended, and all processes that it leaves there."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from chainsocks.config.models import Config
from chainsocks.namespace.handover import Handover
from chainsocks.net.listeners import OpenListener
from chainsocks.net.redirected import original_destination
from chainsocks.observe.live import LiveSessions
from chainsocks.protocol.address import Address, AddressType, printable
from chainsocks.protocol.dns import Query
from chainsocks.server.datagrams_inside import DatagramsInside
from chainsocks.server.name_server import Later, serve_datagrams, serve_streams
from chainsocks.server.namespace_agent import NamespaceAgent
from chainsocks.server.published import publish
from chainsocks.server.server import Server, open_server
from chainsocks.sockets import keep_urgent
from chainsocks.tools.exec.answers import answer
from chainsocks.tools.exec.left import processes_in, wait_for_end
from chainsocks.tools.exec.names import KEPT, Names
from chainsocks.tools.exec.onward import ask_behind_chain, chain_with_resolver
from chainsocks.tools.exec.way import carries_datagrams

__all__ = ["Program", "serve_program"]

log = logging.getLogger("chainsocks.exec")


@dataclass(frozen=True, slots=True)
class Program:
    """A program, and the sockets of the namespace that it is in."""

    caller: socket.socket
    """Connected to the process that stands in for it, which says when it has ended, and learns when nothing is left.
    At its end, nothing is served any longer."""
    handover: Handover
    published: tuple[tuple[socket.socket, int], ...] = ()
    """Listening sockets outside, each with the port inside that it is for."""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where the listeners for its connections are, in its namespace."""
        return tuple(Address(*each.getsockname()[:2]) for each in self.handover.inside.streams)


async def serve_program(config: Config, program: Program, ready: Callable[[], None]) -> None:
    """Serve the connections and questions of a program by `config`, whose listeners are the program's.

    `ready` is called when all of them are served. *Closing*: the sockets are closed at the end.
    """
    names, live = Names(trio.current_time), LiveSessions()
    listeners = [*_listeners(config, program, names)]
    for each in listeners:
        each.listen(config.server.keepalive)
    for sock in (*program.handover.inside.names, *program.handover.inside.questions):
        sock.settimeout(0)
    with ExitStack() as stack:
        for sock in program.handover.inside.datagrams:
            stack.callback(sock.close)
        if program.handover.agent:
            stack.callback(program.handover.agent.socket.close)
        caller = stack.enter_context(trio.socket.from_stdlib_socket(program.caller))
        async with trio.open_nursery() as all_of_it:
            await _serve(config, program, ready, names, listeners, live, caller, all_of_it.cancel_scope)


async def _serve(
    config: Config,
    program: Program,
    ready: Callable[[], None],
    names: Names,
    listeners: list[OpenListener],
    live: LiveSessions,
    caller: trio.socket.SocketType,
    all_of_it: trio.CancelScope,
) -> None:
    patience = config.timeouts.dial + config.timeouts.resolve
    async with open_server(config, listeners, live=live) as server, trio.open_nursery() as nursery:
        reply = partial(answer, names=names, onward=partial(_ask_onward, server))
        for sock in program.handover.inside.questions:
            nursery.start_soon(serve_datagrams, sock, reply, patience)
        for sock in program.handover.inside.names:
            sock.listen()
            nursery.start_soon(serve_streams, sock, reply, config.timeouts.handshake, patience)
        nursery.start_soon(_keep_names, names, server)
        if program.handover.agent:
            agent = NamespaceAgent(program.handover.agent)
            for listening, port in program.published:
                listening.settimeout(0)
                nursery.start_soon(publish, listening, port, agent, config.timeouts)
            if carries_datagrams(config):
                await _take_datagrams(DatagramsInside(server, agent, names.name_of, nursery), program, agent, nursery)
        ready()
        if await _has_word(caller):  # the program has ended
            async with trio.open_nursery() as watching:
                watching.start_soon(_end_with, caller, all_of_it)
                await _wait_for_others(program.handover)
                watching.cancel_scope.cancel()
            with suppress(OSError):
                await caller.send(b"1")
        else:
            all_of_it.cancel()
        nursery.cancel_scope.cancel()


async def _end_with(caller: trio.socket.SocketType, all_of_it: trio.CancelScope) -> None:
    """End all when the caller has."""
    await _has_word(caller)
    all_of_it.cancel()


async def _has_word(caller: trio.socket.SocketType) -> bool:
    """Tell whether the caller has said something, or has ended instead."""
    try:
        return bool(await caller.recv(1))
    except OSError:
        return False


async def _take_datagrams(
    datagrams: DatagramsInside, program: Program, agent: NamespaceAgent, nursery: trio.Nursery
) -> None:
    """Have the program's datagrams taken, unless its kernel cannot; they stay refused then."""
    try:
        await agent.take_datagrams()
    except OSError as error:
        log.debug("= UDP is refused: %s", error)
        return
    for sock in program.handover.inside.datagrams:
        sock.settimeout(0)
        nursery.start_soon(datagrams.serve, sock)


def _ask_onward(server: Server, query: Query, message: bytes) -> Later | None:
    """Return what asks the resolver of the chain for the name of a question; None if it has none."""
    chain = chain_with_resolver(server.service, query.name)
    return partial(ask_behind_chain, server.service, chain, query, message) if chain else None


def _listeners(config: Config, program: Program, names: Names) -> Iterator[OpenListener]:
    """Yield the listeners, which know names for the addresses that connections go to."""

    def find_target(connection: socket.socket) -> Address:
        address = original_destination(connection)
        name = names.name_of(address.host)
        return Address(name, address.port) if name else address

    for listener, sock in zip(config.server.listen, program.handover.inside.streams, strict=True):
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_urgent(sock)
        yield OpenListener(listener, sock, find_target=find_target)


async def _keep_names(names: Names, server: Server) -> None:
    """Have the names of running sessions keep their addresses."""
    while True:
        await trio.sleep(KEPT / 10)
        names.mark(_destinations(server))


def _destinations(server: Server) -> Iterator[str]:
    for session in server.live:
        request = session.record.request
        if request and request.destination.type is AddressType.DOMAINNAME:
            yield request.destination.host


async def _wait_for_others(handover: Handover) -> None:
    """Wait until no process is left in a namespace; say first which ones there are."""
    said = False
    if handover.namespace is None:
        return
    while left := [each for each in processes_in(handover.namespace) if each != handover.agent_pid]:
        if not said:
            log.warning("%s", _describe(left))
            said = True
        await wait_for_end(left)


def _describe(processes: Iterable[int]) -> str:
    names = []
    for process in processes:
        with suppress(OSError):
            names.append(f"{printable(Path(f'/proc/{process}/comm').read_text().strip())} ({process})")
    left = ", ".join(names)
    return f"the command has ended, and exec waits for what it has left running (Ctrl-C ends its network): {left}"
