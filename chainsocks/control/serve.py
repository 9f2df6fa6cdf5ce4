"""Serve the control protocol on a stream, wherever that comes from: the control socket, or a pair of sockets.

A client is answered one request after the other, and its next request is read when it has taken the answer. So what
the server holds for a client is bounded by one answer.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import trio

from chainsocks.control.fleet import Fleet, SendSessions
from chainsocks.control.lines import LineReader, LineTooLongError
from chainsocks.control.messages import ControlError, Count, Fault, Hops, Request, Session, Sessions, What
from chainsocks.control.wire import MAX_LINE, encode_answer, encode_error, read_request

__all__ = ["TAKE_LIMIT", "serve_control"]

log = logging.getLogger("chainsocks.control")

TAKE_LIMIT = 10
"""Seconds in which a client has to take each line of an answer. It is dropped otherwise."""


async def serve_control(stream: trio.abc.Stream, fleet: Fleet, idle_timeout: float = math.inf) -> None:
    """Answer the requests of one client, until it leaves or does not take its answers.

    A client that sends no request for `idle_timeout` seconds is dropped.

    *Closing*: the stream is closed on return and on cancellation.
    """
    async with stream:
        client = _Client(stream, fleet, idle_timeout)
        try:
            await client.run()
        except trio.BrokenResourceError:
            pass  # it has left
        except trio.TooSlowError:
            log.debug("a client of the control socket was dropped: it does not take its answers")


class _Client:
    def __init__(self, stream: trio.abc.Stream, fleet: Fleet, idle_timeout: float) -> None:
        self._stream = stream
        self._fleet = fleet
        self._idle_timeout = idle_timeout

    async def run(self) -> None:
        lines = LineReader(self._stream, MAX_LINE)
        try:
            while (line := await self._read(lines)) is not None:
                await self._handle(line)
        except LineTooLongError:
            problem = f"a request has at most {MAX_LINE} bytes"
            await self._send(encode_error(None, ControlError(Fault.BAD_REQUEST, problem)))

    async def _read(self, lines: LineReader) -> bytes | None:
        """Return the next request; None if the client has left, or sends none."""
        with trio.move_on_after(self._idle_timeout):
            return await lines.read()
        return None

    async def _handle(self, line: bytes) -> None:
        """Answer one request."""
        id_ = None
        try:
            request = read_request(line)
            id_ = request.id
            await self._answer(request)
        except ControlError as error:
            await self._send(encode_error(error.id if id_ is None else id_, error))
        except (trio.BrokenResourceError, trio.TooSlowError):
            raise
        except Exception as error:
            log.error("a bug in chainsocks: %s: %s (on the control socket)", type(error).__name__, error)
            log.debug("where it happened", exc_info=error)
            await self._send(encode_error(id_, ControlError(Fault.BUG, "a bug in chainsocks; its log says more")))

    async def _answer(self, request: Request) -> None:
        fleet, answer = self._fleet, object()
        match request.what:
            case What.STATUS:
                answer = await fleet.status()
            case What.SESSIONS:
                await fleet.sessions(self._sender_of(request))
                answer = Sessions(())
            case What.HOPS:
                answer = Hops(tuple(await fleet.hops()))
            case What.METRICS:
                answer = {"workers": await fleet.metrics()}
            case What.KILL:
                answer = Count(await fleet.kill(request))
            case What.REST | What.WAKE:
                change = fleet.rest if request.what is What.REST else fleet.wake
                hop = request.hop or ""
                count = await change(hop)
                if not count:
                    raise ControlError(Fault.NO_SUCH_HOP, f"no hop is called {hop}")
                answer = Count(count)
            case What.RELOAD:
                answer = await fleet.reload()
            case What.DRAIN:
                answer = await fleet.drain(request.delay)
                self._idle_timeout = math.inf  # the client waits for the end of the connection
        await self._send(encode_answer(request.id, answer))

    def _sender_of(self, request: Request) -> SendSessions:
        async def send(sessions: Sequence[Session]) -> None:
            await self._send(encode_answer(request.id, Sessions(tuple(sessions)), more=True))

        return send

    async def _send(self, data: bytes) -> None:
        with trio.fail_after(TAKE_LIMIT):
            await self._stream.send_all(data)
