"""The agent inside the network of a program, as tasks use it: one request after the other."""

from __future__ import annotations

import socket
from contextlib import suppress

import trio

from chainsocks.namespace.agent import Agent, Order

__all__ = ["NamespaceAgent"]


class NamespaceAgent:
    """Asks an agent, for one task at a time."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._turn = trio.Lock()
        self._owed = 0
        """Answers that are still to come, the last one for who has the turn."""

    async def stream(self, family: socket.AddressFamily) -> socket.socket:
        """Return a TCP socket of the program's network.

        Raises:
            OSError: the agent has ended, or cannot make one.
        """
        return _made(await self._ask(Order.STREAM, family))

    async def datagrams_from(self, family: socket.AddressFamily, host: str, port: int) -> socket.socket:
        """Return a UDP socket of the program's network that sends from any address; otherwise as `stream`."""
        return _made(await self._ask(Order.DATAGRAMS_FROM, family, host, port))

    async def take_datagrams(self) -> None:
        """Have datagrams handed to their listeners; otherwise as `stream`."""
        await self._ask(Order.TAKE_DATAGRAMS)

    async def refuse_datagrams(self) -> None:
        """Have datagrams refused again; otherwise as `stream`."""
        await self._ask(Order.REFUSE_DATAGRAMS)

    async def _ask(
        self, order: Order, family: socket.AddressFamily = socket.AF_INET, host: str = "", port: int = 0
    ) -> socket.socket | None:
        async with self._turn:
            self._agent.ask(order, family, host, port)
            self._owed += 1
            while True:
                await trio.lowlevel.wait_readable(self._agent.socket)
                self._owed -= 1
                if not self._owed:
                    return self._agent.take()
                with suppress(ConnectionRefusedError):  # it was for a task that has been cancelled
                    if sock := self._agent.take():
                        sock.close()


def _made(sock: socket.socket | None) -> socket.socket:
    if sock is None:
        raise OSError("no socket was made")
    sock.settimeout(0)
    return sock
