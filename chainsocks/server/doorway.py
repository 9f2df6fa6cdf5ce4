"""The door to the network of a program, for tasks: one request after the other."""

from __future__ import annotations

import socket
from contextlib import suppress

import trio

from chainsocks.namespace.doorman import Door, Wish

__all__ = ["Doorway"]


class Doorway:
    """Asks a doorman."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._turn = trio.Lock()
        self._owed = 0
        """Answers that are still to come, the last one for who has the turn."""

    async def stream(self, family: socket.AddressFamily) -> socket.socket:
        """Return a TCP socket of the program's network.

        Raises:
            OSError: the doorman has ended, or cannot make one.
        """
        return _made(await self._ask(Wish.STREAM, family))

    async def datagrams_from(self, family: socket.AddressFamily, host: str, port: int) -> socket.socket:
        """Return a UDP socket of the program's network that sends from any address; otherwise as `stream`."""
        return _made(await self._ask(Wish.DATAGRAMS_FROM, family, host, port))

    async def take_datagrams(self) -> None:
        """Have datagrams handed to their listeners; otherwise as `stream`."""
        await self._ask(Wish.TAKE_DATAGRAMS)

    async def refuse_datagrams(self) -> None:
        """Have datagrams refused again; otherwise as `stream`."""
        await self._ask(Wish.REFUSE_DATAGRAMS)

    async def _ask(
        self, wish: Wish, family: socket.AddressFamily = socket.AF_INET, host: str = "", port: int = 0
    ) -> socket.socket | None:
        async with self._turn:
            self._door.ask(wish, family, host, port)
            self._owed += 1
            while True:
                await trio.lowlevel.wait_readable(self._door.socket)
                self._owed -= 1
                if not self._owed:
                    return self._door.take()
                with suppress(ConnectionRefusedError):  # it was for a task that has been cancelled
                    if sock := self._door.take():
                        sock.close()


def _made(sock: socket.socket | None) -> socket.socket:
    if sock is None:
        raise OSError("no socket was made")
    sock.settimeout(0)
    return sock
