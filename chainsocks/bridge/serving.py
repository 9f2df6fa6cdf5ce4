"""Servers in the caller's program, for what takes no socket of ours: browsers, child processes, database drivers.

`serve` is a SOCKS server, and `forward` a port that leads to one destination. They are the server of
`chainsocks serve`, with its limits and its log. Under trio it runs in the caller's event loop, otherwise in the thread
of `chainsocks.bridge.thread`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager

import trio

from chainsocks.bridge.thread import background
from chainsocks.client.arguments import checked_chain, checked_timeouts
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.idn import destination_of
from chainsocks.config.listeners import Listener, ListenerKind
from chainsocks.config.models import Config, Server, Timeouts, User
from chainsocks.config.options import AddressLike, as_address, as_text, shown
from chainsocks.config.passwords import PlainPassword
from chainsocks.protocol.address import Address, HostLike, PortLike, address_of, parse_address
from chainsocks.server.server import open_server

__all__ = ["forward", "serve"]

_LOOPBACK = "127.0.0.1:0"


@asynccontextmanager
async def serve(
    chain: Chain = DIRECT,
    *,
    listen: AddressLike = _LOOPBACK,
    timeouts: Timeouts | None = None,
    login: tuple[str, str] | None = None,
) -> AsyncIterator[Address]:
    """Run a SOCKS4, SOCKS4a, SOCKS5 and HTTP CONNECT server whose way out is `chain`, and yield its address.

    Port 0 of `listen` is a free port. With `login`, a name and a password, clients have to log in. Leaving the block
    ends all sessions at once.

    Raises:
        OSError: the address is not available.
        ValueError: an argument is not what its name says, or other machines could use the server without a login.
    """
    listener = Listener(as_address(listen, "listen", parse_address))
    if not (login or listener.is_local):
        raise ValueError(f"listen is {listener}, which other machines can reach; give a login, or a loopback address")
    users = () if login is None else (_user(login),)
    async with _served(listener, chain, timeouts, users) as address:
        yield address


@asynccontextmanager
async def forward(
    host: HostLike,
    port: PortLike,
    *,
    chain: Chain = DIRECT,
    listen: AddressLike = _LOOPBACK,
    timeouts: Timeouts | None = None,
) -> AsyncIterator[Address]:
    """Open a port of this machine that leads to `host` and `port` through `chain`, and yield its address.

    Each connection to it becomes one to the destination; where that fails, it is reset, and the log says why. Leaving
    the block ends all of them at once.

    Raises:
        OSError: the address is not available.
        ValueError: an argument is not what its name says, or other machines could reach the port.
    """
    target = destination_of(host, port)
    listener = Listener(as_address(listen, "listen", parse_address), ListenerKind.TUNNEL, target)
    if not listener.is_local:
        raise ValueError(f"listen is {listener}, which other machines can reach; give a loopback address")
    async with _served(listener, chain, timeouts, ()) as address:
        yield address


def _user(login: object) -> User:
    match login:
        case (name, password):
            text = as_text(password, "the password of the login")
            return User(as_text(name, "the name of the login"), PlainPassword(text.encode()))
    raise ValueError(f"the login is {shown(login)}; write a pair of a name and a password")


@asynccontextmanager
async def _served(
    listener: Listener, chain: Chain, timeouts: Timeouts | None, users: tuple[User, ...]
) -> AsyncIterator[Address]:
    config = Config(
        Server(listen=(listener,)),
        checked_timeouts(timeouts),
        chains={"default": checked_chain(chain)},
        users=users,
    )
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        elsewhere = _Elsewhere(config)
        try:
            yield await elsewhere.start()
        finally:
            await elsewhere.stop()
    else:
        async with _running(config) as address:
            yield address


@asynccontextmanager
async def _running(config: Config) -> AsyncIterator[Address]:
    """Run a server in this event loop, until the block is left."""
    failure: Exception | None = None
    with trio.CancelScope() as scope:
        async with open_server(config) as server:
            [opened] = server.listeners
            try:
                yield address_of(opened.sock.getsockname())
            except Exception as error:  # noqa: BLE001  (the server's nurseries would wrap it)
                failure = error
            finally:
                scope.cancel()  # and not to wait for the sessions
    if failure:
        raise failure


class _Elsewhere:
    """A server in the thread, for a caller under asyncio."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._address: Future[Address] = Future()
        self._address.set_running_or_notify_cancel()  # a caller that gives up does not cancel it
        self._ended: Future[None] = Future()
        self._ended.set_running_or_notify_cancel()

    async def start(self) -> Address:
        """Start the server, and return its address."""
        self._run = background().start(self._serve)
        return await asyncio.wrap_future(self._address)

    async def stop(self) -> None:
        """Stop the server, and wait until it has ended; that takes no time of the network."""
        self._run.cancel()
        await asyncio.shield(asyncio.wrap_future(self._ended))

    async def _serve(self) -> None:
        try:
            async with _running(self._config) as address:
                self._address.set_result(address)
                await trio.sleep_forever()
        except OSError as error:
            self._address.set_exception(error)
        finally:
            self._ended.set_result(None)
