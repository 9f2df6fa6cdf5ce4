"""Happy eyeballs (RFC 8305): connect to several addresses of one name side by side; the first connection wins."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Sequence

import anyio
from anyio.abc import ByteStream

from chainsocks.chain.connect_errors import errno_of
from chainsocks.protocol.address import Address

__all__ = ["OpenTCP", "connect_first"]

OpenTCP = Callable[[Address], Awaitable[ByteStream]]
"""Connect to one IP address, or raise `OSError`."""

ATTEMPT_DELAY = 0.25
"""Seconds until the next attempt starts beside the last one (RFC 8305 section 5; trio and curl use about the same)."""

MAX_ATTEMPTS = 20
"""Addresses of one name to connect to at most: the owner of a name decides how many it has."""

_UNAVAILABLE = {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


async def connect_first(addresses: Sequence[Address], open_tcp: OpenTCP) -> ByteStream:
    """Connect to the first of `addresses` that answers, of the first `MAX_ATTEMPTS`.

    The caller closes the stream, and bounds the wait.

    Raises:
        OSError: none answered; the error is the one that says most about the destination.
    """
    if len(addresses) == 1:
        return await open_tcp(addresses[0])
    errors: dict[int, OSError] = {}
    winners: list[ByteStream] = []

    async def attempt(index: int, failed: anyio.Event) -> None:
        try:
            stream = await open_tcp(addresses[index])
        except OSError as error:
            errors[index] = error
            failed.set()
            return
        winners.append(stream)
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for index in range(min(len(addresses), MAX_ATTEMPTS)):
            failed = anyio.Event()
            group.start_soon(attempt, index, failed)
            with anyio.move_on_after(ATTEMPT_DELAY):
                await failed.wait()
    if not winners:
        raise _most_telling([errors[index] for index in sorted(errors)])
    for late in winners[1:]:  # two may have come through before the cancellation reached the second
        await anyio.aclose_forcefully(late)
    return winners[0]


def _most_telling(errors: list[OSError]) -> OSError:
    # Without IPv6 every IPv6 address is "unreachable"; what the other family said is the destination's own word.
    return next((error for error in errors if errno_of(error) not in _UNAVAILABLE), errors[0])
