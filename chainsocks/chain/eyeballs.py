"""Happy eyeballs (RFC 8305): connect to several addresses of one name side by side; the first connection wins."""

from __future__ import annotations

import errno
import math
from collections.abc import Awaitable, Callable, Sequence

import anyio
from anyio.abc import ByteStream, TaskGroup

from chainsocks.chain.connect_errors import errno_of
from chainsocks.network import Rest
from chainsocks.protocol.address import Address, interleave

__all__ = ["OpenTCP", "connect_first"]

OpenTCP = Callable[[Address], Awaitable[ByteStream]]
"""Connect to one IP address, or raise `OSError`."""

ATTEMPT_DELAY = 0.25
"""Seconds until the next attempt starts beside the last one (RFC 8305 section 5; trio and curl use about the same)."""

LAST_WAIT = 1
"""Seconds to wait for more addresses once all attempts have failed."""

MAX_ATTEMPTS = 20
"""Addresses of one name to connect to at most: the owner of a name decides how many it has."""

_UNAVAILABLE = {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def connect_first(addresses: Sequence[Address], open_tcp: OpenTCP, rest: Rest | None = None) -> Awaitable[ByteStream]:
    """Connect to the first of `addresses` that answers, of the first `MAX_ATTEMPTS`.

    `rest` waits for addresses that join them later. The caller closes the stream, and bounds the wait.

    Raises:
        OSError: none answered; the error is the one that says most about the destination.
    """
    return open_tcp(addresses[0]) if len(addresses) == 1 and rest is None else _run_race(addresses, open_tcp, rest)


async def _run_race(addresses: Sequence[Address], open_tcp: OpenTCP, rest: Rest | None) -> ByteStream:
    race = _Race(addresses, open_tcp)
    async with anyio.create_task_group() as group:
        await race.run(group, rest)
    if not race.winners:
        raise _most_telling([race.errors[index] for index in sorted(race.errors)])
    for late in race.winners[1:]:  # two may have come through before the cancellation reached the second
        await anyio.aclose_forcefully(late)
    return race.winners[0]


class _Race:
    """Attempts at several addresses, in the order of the list; more addresses may join it."""

    def __init__(self, addresses: Sequence[Address], open_tcp: OpenTCP) -> None:
        self._addresses = list(addresses)
        self._open_tcp = open_tcp
        self._begun = 0
        self._changed = anyio.Event()
        """Set when an attempt has failed, or when the rest of the addresses have come."""
        self._is_complete = False
        self.errors: dict[int, OSError] = {}
        self.winners: list[ByteStream] = []

    async def run(self, group: TaskGroup, rest: Rest | None) -> None:
        """Begin the attempts in `group`, which the first success cancels."""
        joining = anyio.CancelScope()
        if rest:
            group.start_soon(self._join, rest, joining)
        self._is_complete = rest is None
        while self._begun < MAX_ATTEMPTS:
            if self._begun < len(self._addresses):
                failed = anyio.Event()
                group.start_soon(self._attempt, self._begun, failed, group)
                self._begun += 1
                with anyio.move_on_after(ATTEMPT_DELAY):
                    await failed.wait()
                continue
            if self._is_complete:
                break
            self._changed = anyio.Event()
            have_all_failed = len(self.errors) == self._begun
            with anyio.move_on_after(LAST_WAIT if have_all_failed else math.inf) as wait:
                await self._changed.wait()
            if wait.cancelled_caught:
                break
        joining.cancel()

    async def _attempt(self, index: int, failed: anyio.Event, group: TaskGroup) -> None:
        try:
            stream = await self._open_tcp(self._addresses[index])
        except OSError as error:
            self.errors[index] = error
            failed.set()
            self._changed.set()
            return
        self.winners.append(stream)
        group.cancel_scope.cancel()

    async def _join(self, rest: Rest, scope: anyio.CancelScope) -> None:
        """Add the rest of the addresses, before those that were not begun yet."""
        with scope:
            found = [address for address in await rest() if address not in self._addresses]
            self._addresses[self._begun :] = interleave([*found, *self._addresses[self._begun :]])
            self._is_complete = True
            self._changed.set()


def _most_telling(errors: list[OSError]) -> OSError:
    # Without IPv6 every IPv6 address is "unreachable"; what the other family said is the destination's own word.
    return next((error for error in errors if errno_of(error) not in _UNAVAILABLE), errors[0])
