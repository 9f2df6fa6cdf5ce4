"""Sessions that behave in every way a peer may. Each is planned from a seed and its number, and played at both ends.

1. What an end says is a piece of one block of random bytes, so that the other end can compare every byte that comes.
2. Some bytes are urgent (RFC 6093). They are received in line, each in its place.
3. An end that reads slowly has a small buffer and pauses, so that the other end has to wait.
4. A reset comes amid the data. The other end must see a reset as well; what it has heard by then may be incomplete.
"""

from __future__ import annotations

import errno
import math
import random
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import trio

__all__ = [
    "HOPS",
    "LARGEST",
    "Ending",
    "Part",
    "Plan",
    "Speech",
    "early_bytes",
    "make_block",
    "make_plan",
    "play",
    "prepare",
]

LARGEST = 4 << 20
"""The most bytes that an end says. Sizes are spread evenly over the orders of magnitude from 1 on."""

CHUNK = 1 << 18

SLOW_CHUNK, SLOW_READS, PAUSE = 2048, 8, 0.02
"""An end that reads slowly: so many bytes at a time, so many times, with so many seconds in between."""

SLOW_BUFFER = 1 << 17

URGENT, SLOW, EARLY = 0.3, 0.15, 0.3
"""How many of the speeches have urgent bytes, how many ends read slowly, and how many clients do not wait for the reply
to their request before they speak."""

MOST_EARLY = 3000

TRICKLE, MOST_TRICKLED = 0.02, 1000
"""Seconds between two bytes of an end that goes on until it is reset, and the most of these bytes."""

MOMENT = 0.01

HOPS = (0, 1, 3)
VERSIONS = (4, 5)


class Ending(StrEnum):
    """How a session ends."""

    FINISH = "both finish"
    CLIENT_FIRST = "half-close by the client"
    TARGET_FIRST = "half-close by the target"
    CLIENT_RESETS = "reset by the client"
    TARGET_RESETS = "reset by the target"
    CLIENT_RESETS_LATER = "half-close, then reset by the client"
    TARGET_RESETS_LATER = "half-close, then reset by the target"


@dataclass(frozen=True, slots=True)
class Speech:
    """What an end says: `size` bytes of the block from `start` on; `urgent` are offsets in these, in order."""

    start: int
    size: int
    urgent: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """What one end does."""

    says: Speech
    hears: Speech
    is_slow: bool = False
    early: int = 0
    """Bytes that it says in one piece with its request."""
    begins_last: bool = False
    """It says nothing until it has seen the other's end."""
    finishes: bool = True
    """It finishes its direction behind its speech."""
    resets_after: int = 0
    """Bytes that it hears before it resets the connection; 0 if it does not."""
    is_reset: bool = False
    """The other end resets the connection."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A session: through how many hops, by which version of SOCKS, and what each end does."""

    number: int
    hops: int
    version: int
    ending: Ending
    client: Part
    target: Part


def make_block(seed: int) -> bytes:
    """Return the bytes that all speeches are taken from."""
    return random.Random(seed).randbytes(2 * LARGEST + MOST_TRICKLED)


def make_plan(seed: int, number: int, largest: int = LARGEST, hops: Sequence[int] = HOPS) -> Plan:
    """Plan a session, through one of the numbers of hops; the same arguments give the same plan."""
    rng = random.Random(f"{seed} {number}")
    count, version, ending = rng.choice(hops), rng.choice(VERSIONS), rng.choice(list(Ending))
    up, down = _make_speech(rng, largest), _make_speech(rng, largest)
    client, target = Part(up, down, rng.random() < SLOW), Part(down, up, rng.random() < SLOW)
    client, target = _ends(ending, client, target, rng)
    if rng.random() < EARLY and not client.begins_last:
        most = min(client.says.size, MOST_EARLY, *client.says.urgent)
        client = replace(client, early=rng.randint(min(1, most), most))
    return Plan(number, count, version, ending, client, target)


def _make_speech(rng: random.Random, largest: int) -> Speech:
    size = min(largest, int(math.exp(rng.uniform(0, math.log(largest + 1)))))
    urgent = {rng.choice((0, size - 1, rng.randrange(size))) for _ in range(rng.randint(1, 4))}
    return Speech(rng.randrange(LARGEST), size, tuple(sorted(urgent)) if rng.random() < URGENT else ())


def _ends(ending: Ending, client: Part, target: Part, rng: random.Random) -> tuple[Part, Part]:
    match ending:
        case Ending.FINISH:
            return client, target
        case Ending.CLIENT_FIRST:
            return client, replace(target, begins_last=True)
        case Ending.CLIENT_RESETS:
            after = rng.randint(1, target.says.size)
            return replace(client, finishes=False, resets_after=after), replace(target, finishes=False, is_reset=True)
        case Ending.CLIENT_RESETS_LATER:
            after = rng.randint(1, target.says.size)
            return replace(client, resets_after=after), replace(target, finishes=False, begins_last=True, is_reset=True)
        case _:
            target, client = _ends(_MIRRORED[ending], target, client, rng)
            return client, target


_MIRRORED = {
    Ending.TARGET_FIRST: Ending.CLIENT_FIRST,
    Ending.TARGET_RESETS: Ending.CLIENT_RESETS,
    Ending.TARGET_RESETS_LATER: Ending.CLIENT_RESETS_LATER,
}


def prepare(sock: trio.socket.SocketType | socket.socket, part: Part | None = None) -> None:
    """Have urgent bytes received in line, and an end that reads slowly a small buffer."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    if part and part.is_slow:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER)


async def play(sock: trio.socket.SocketType, part: Part, block: bytes) -> str:
    """Play one end of a session, and close `sock`; return what went wrong, empty if nothing did."""
    with sock:
        return await _End(sock, part, block).play()


class _End:
    def __init__(self, sock: trio.socket.SocketType, part: Part, block: bytes) -> None:
        self._sock = sock
        self._part = part
        self._block = memoryview(block)
        self._heard = 0
        self._other_ended = trio.Event()
        self._errors: list[OSError] = []
        self._problem = ""
        self._stop: Callable[[], None] = lambda: None

    async def play(self) -> str:
        async with trio.open_nursery() as nursery:
            self._stop = nursery.cancel_scope.cancel
            nursery.start_soon(self._guard, self._listen)
            nursery.start_soon(self._guard, self._speak)
        if self._resets and not self._problem and not self._errors:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return self._problem or self._judge_error()

    @property
    def _resets(self) -> bool:
        return 0 < self._part.resets_after <= self._heard

    def _judge_error(self) -> str:
        if not self._errors:
            return "no reset" if self._part.is_reset else ""
        # TCP reports a reset behind the other's end as a broken pipe.
        resets = {errno.ECONNRESET, errno.EPIPE} if self._part.begins_last else {errno.ECONNRESET}
        # The kernel reports it once, to whichever call comes first; the other one may have a broken pipe.
        if self._part.is_reset and any(error.errno in resets for error in self._errors):
            return ""
        return f"{self._errors[0].strerror} after {self._heard} of {self._part.hears.size} bytes"

    async def _guard(self, do: Callable[[], Awaitable[None]]) -> None:
        try:
            await do()
        except OSError as error:
            self._errors.append(error)
            self._stop()

    async def _listen(self) -> None:
        part, reads = self._part, 0
        while data := await self._sock.recv(SLOW_CHUNK if part.is_slow and reads < SLOW_READS else CHUNK):
            begin = part.hears.start + self._heard
            if data != self._block[begin : begin + len(data)]:
                self._fail(f"wrong bytes behind the first {self._heard}")
                return
            self._heard += len(data)
            if self._resets:
                self._stop()
                return
            reads += 1
            if part.is_slow and reads < SLOW_READS:
                await trio.sleep(PAUSE)
        if part.is_reset and not part.begins_last:
            await trio.sleep(MOMENT)  # the error may have gone to a send, which reports it after a checkpoint
            if not self._errors:
                self._fail(f"a regular end after {self._heard} bytes, in the place of a reset")
        elif self._heard != part.hears.size:
            self._fail(f"a regular end after {self._heard} of {part.hears.size} bytes")
        self._other_ended.set()

    async def _speak(self) -> None:
        part = self._part
        if part.begins_last:
            await self._other_ended.wait()
        for data, flags in _pieces(part.says, self._block, part.early):
            while data:
                data = data[await self._sock.send(data, flags) :]
        if part.finishes:
            self._sock.shutdown(socket.SHUT_WR)
        elif part.begins_last:  # only a later byte meets the reset
            for offset in range(part.says.start + part.says.size, len(self._block)):
                await trio.sleep(TRICKLE)
                await self._sock.send(self._block[offset : offset + 1])

    def _fail(self, problem: str) -> None:
        self._problem = problem
        self._stop()


def early_bytes(part: Part, block: bytes) -> bytes:
    """Return what an end says in one piece with its request."""
    return block[part.says.start : part.says.start + part.early]


def _pieces(speech: Speech, block: memoryview, begin: int) -> Iterator[tuple[memoryview, int]]:
    """Return what to send from the offset `begin` on, with the flags for each piece."""
    data = block[speech.start : speech.start + speech.size]
    for offset in speech.urgent:
        yield data[begin:offset], 0
        yield data[offset : offset + 1], socket.MSG_OOB
        begin = offset + 1
    yield data[begin:], 0
