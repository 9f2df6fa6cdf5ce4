"""Serve questions of DNS over UDP and TCP (RFC 1035 section 4.2), which are answered at once, or later."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from chainsocks.protocol.dns import fit_datagram

__all__ = ["MOST_LATER", "MOST_STREAMS", "Answer", "Later", "serve_datagrams", "serve_streams"]

log = logging.getLogger("chainsocks.server")

Later = Callable[[], Awaitable[bytes | None]]

Answer = Callable[[bytes], bytes | Later | None]
"""Returns the answer to a message, or what waits for it, or None for none."""

MOST_STREAMS = 64
"""Connections at a time; further ones wait to be accepted."""

MOST_LATER = 64
"""Datagrams that wait for their answer at a time; further ones are dropped, and asked again by their clients."""

_MOST = 65535
_LENGTH = 2


async def serve_datagrams(sock: socket.socket, answer: Answer, patience: float) -> None:
    """Answer datagrams until cancelled; what is answered later has `patience`, in seconds.

    *Closing*: the socket, which does not block, is closed then.
    """
    waiting = 0

    async def send_later(later: Later, client: Any) -> None:
        nonlocal waiting
        waiting += 1
        try:
            with trio.move_on_after(patience):
                if answered := await later():
                    await questions.sendto(fit_datagram(answered), client)
        except OSError as error:
            log.debug("= name server: %s", error.strerror)
        finally:
            waiting -= 1

    with trio.socket.from_stdlib_socket(sock) as questions:
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    message, client = await questions.recvfrom(_MOST)
                    answered = answer(message)
                    if isinstance(answered, bytes):
                        await questions.sendto(answered, client)
                    elif answered and waiting < MOST_LATER:
                        nursery.start_soon(send_later, answered, client)
                except OSError as error:  # of an earlier datagram: its client is gone
                    log.debug("= name server: %s", error.strerror)
                    await trio.lowlevel.checkpoint()


async def serve_streams(sock: socket.socket, answer: Answer, seconds: float, patience: float) -> None:
    """Answer the questions of connections until cancelled. *Closing*: the listening socket is closed then.

    A connection has `seconds` for each question, and to take each answer; what is answered later has `patience`.
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
                        answered = answer(whole[_LENGTH : _end_of(whole)])
                        if callable(answered):
                            scope.deadline = trio.current_time() + patience
                            answered = await answered()
                            scope.deadline = trio.current_time() + seconds
                        if answered is None:
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
