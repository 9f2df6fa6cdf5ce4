"""Serve questions of DNS that are answered at once, over UDP and TCP (RFC 1035 section 4.2)."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

import trio

__all__ = ["MOST_STREAMS", "Answer", "serve_datagrams", "serve_streams"]

log = logging.getLogger("chainsocks.server")

Answer = Callable[[bytes], bytes | None]
"""Returns the answer to a message, or None for none."""

MOST_STREAMS = 64
"""Connections at a time; further ones wait to be accepted."""

_MOST = 65535
_LENGTH = 2


async def serve_datagrams(sock: socket.socket, answer: Answer) -> None:
    """Answer datagrams until cancelled. *Closing*: the socket, which does not block, is closed then."""
    with trio.socket.from_stdlib_socket(sock) as questions:
        while True:
            try:
                message, client = await questions.recvfrom(_MOST)
                if answered := answer(message):
                    await questions.sendto(answered, client)
            except OSError as error:  # of an answer before: its client is gone
                log.debug("= name server: %s", error.strerror)
                await trio.lowlevel.checkpoint()


async def serve_streams(sock: socket.socket, answer: Answer, seconds: float) -> None:
    """Answer the questions of connections until cancelled. *Closing*: the listening socket is closed then.

    A connection has `seconds` for each question, and to take each answer.
    """
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    places = trio.CapacityLimiter(MOST_STREAMS)

    async def serve(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                with trio.move_on_after(seconds) as scope:
                    data = b""
                    while whole := await _receive(stream, data):
                        data = whole[_end_of(whole) :]
                        if (answered := answer(whole[_LENGTH : _end_of(whole)])) is None:
                            return
                        await stream.send_all(len(answered).to_bytes(_LENGTH, "big") + answered)
                        scope.deadline = trio.current_time() + seconds
        except trio.BrokenResourceError:
            pass  # it has left
        finally:
            places.release_on_behalf_of(stream)

    async with listener, trio.open_nursery() as nursery:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                log.warning("name server: cannot accept: %s", error.strerror)
                await trio.sleep(seconds)
                continue
            await places.acquire_on_behalf_of(stream)
            nursery.start_soon(serve, stream)


async def _receive(stream: trio.SocketStream, data: bytes) -> bytes:
    """Return `data` and what follows it, at least a whole message; nothing at the end, in the middle of one too."""
    while len(data) < _end_of(data):
        more = await stream.receive_some(_MOST)
        if not more:
            return b""
        data += more
    return data


def _end_of(data: bytes) -> int:
    """Return where the first message of `data` ends, as far as that is known."""
    return _LENGTH + (int.from_bytes(data[:_LENGTH], "big") if len(data) >= _LENGTH else 0)
