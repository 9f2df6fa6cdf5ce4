"""The web server's process as the server starts it, with a fleet of the test's own, and an HTTP client for it."""

from __future__ import annotations

import http.client
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import trio

from chainsocks.config.models import Config
from chainsocks.config.web import Web
from chainsocks.control.fleet import Fleet
from chainsocks.protocol.address import Address
from chainsocks.server.web import open_web_server
from tests.net.sockets import LOOPBACK

__all__ = ["PATIENCE", "Answered", "fetch", "get", "running_web"]

PATIENCE = 30.0
"""Seconds after which something that has not happened will not happen."""


@dataclass(frozen=True)
class Answered:
    status: int
    body: bytes


@asynccontextmanager
async def running_web(fleet: Fleet, web: Web | None = None) -> AsyncIterator[Address]:
    """Run the process until the end of the block; yield the address of its HTTP port, which answers."""
    config = Config(web=replace(web or Web(), listen=(web and web.listen) or Address(LOOPBACK, 0)))
    with open_web_server(config) as server:
        address = Address(*server.opened[0].sock.getsockname()[:2])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run, fleet)
            await get(address, "/healthz")  # it waits in the backlog until the process has started
            yield address
            nursery.cancel_scope.cancel()


async def get(address: Address, path: str, method: str = "GET", **headers: str) -> Answered:
    """Send a request by a connection of its own, and return the answer."""
    return await trio.to_thread.run_sync(fetch, address, path, method, headers)


def fetch(address: Address, path: str, method: str, headers: dict[str, str]) -> Answered:
    """Do the same and block."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=PATIENCE)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return Answered(response.status, response.read())
    finally:
        connection.close()
