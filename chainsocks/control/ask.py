"""Ask a server over a stream, from a trio program: the control process asks workers so, the web server asks both."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import count

import trio

from chainsocks.control.lines import LineReader, LineTooLongError
from chainsocks.control.messages import ControlError, Fault, Hop, Request, Session, Status, What
from chainsocks.control.wire import Answer, encode_request, hops_in, read_answer, sessions_in, status_in

__all__ = ["Asker"]

LONGEST = 16 * 1024 * 1024
"""Bytes of the longest line of an answer that is read."""


class Asker:
    """Asks on one stream; several tasks may, and take turns.

    A question that was cancelled or had no answer in time leaves the stream usable: late answers are skipped.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._lines = LineReader(stream, LONGEST)
        self._turn = trio.Lock()
        self._ids = count(1)
        self.is_broken = False
        """Whether the stream cannot be used any more: the server is gone."""

    async def ask(self, request: Request, within: float = math.inf) -> list[Answer]:
        """Send a request, and return all parts of its answer. The `id` of the request is set here.

        Raises:
            ControlError: there is no answer: the server says why, or it is gone (`Fault.UNAVAILABLE`), or it has not
                answered `within` that many seconds.
        """
        with trio.move_on_after(within):
            async with self._turn:
                return await self._ask(replace(request, id=next(self._ids)))
        raise ControlError(Fault.UNAVAILABLE, f"no answer within {within:g} s")

    async def status(self, within: float = math.inf) -> Status:
        """Ask for the status. Raises: as `ask`."""
        return status_in(await self.ask(Request(what=What.STATUS), within))

    async def sessions(self, within: float = math.inf) -> list[Session]:
        """Ask for all sessions. Raises: as `ask`."""
        return sessions_in(await self.ask(Request(what=What.SESSIONS), within))

    async def hops(self, within: float = math.inf) -> tuple[Hop, ...]:
        """Ask for the hops. Raises: as `ask`."""
        return hops_in(await self.ask(Request(what=What.HOPS), within))

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()

    async def _ask(self, request: Request) -> list[Answer]:
        if self.is_broken:
            raise ControlError(Fault.UNAVAILABLE, "the server is gone")
        parts: list[Answer] = []
        try:
            self.is_broken = True  # for a request that is cancelled half-way
            await self._stream.send_all(encode_request(request))
            self.is_broken = False
            while not parts or parts[-1].more:
                line = await self._lines.read()
                if line is None:
                    raise trio.BrokenResourceError
                try:
                    answer = read_answer(line)
                except ControlError as error:
                    if error.id in (request.id, None):
                        raise
                    continue  # to a question that was given up
                if answer.id == request.id:
                    parts.append(answer)
        except (trio.BrokenResourceError, trio.ClosedResourceError, LineTooLongError):
            self.is_broken = True
            raise ControlError(Fault.UNAVAILABLE, "the server is gone") from None
        return parts
