"""The latency of a small echo: a few bytes there and back, again and again, on one session.

Beside other load it is a measure of fairness: how long a word waits for a relay that is busy with somebody's bulk.
That load has a process of its own (`chainsocks.tools.bench.flood`), so that the word does not wait for our own bulk.
"""

from __future__ import annotations

import math
import socket
import struct
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from chainsocks.tools.bench.flood import open_flood
from chainsocks.tools.bench.loop import Expired, Loop, Task
from chainsocks.tools.bench.target import Target
from chainsocks.tools.bench.way import BenchError, Route, Way

__all__ = ["Echo", "exchange", "measure_echo", "percentile"]

WARM_UP, LONGEST_WARM_UP = 50, 0.3
"""Echoes before the first one that counts, and the seconds after which fewer will do."""


@dataclass(frozen=True, slots=True)
class Echo:
    """Seconds from a word's first byte out to its last byte back, in order of size."""

    latencies: tuple[float, ...]

    @property
    def p50(self) -> float:
        """Half of the echoes took at most this long."""
        return percentile(self.latencies, 50)

    @property
    def p99(self) -> float:
        """All but a hundredth of the echoes took at most this long."""
        return percentile(self.latencies, 99)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the least value that `percent` of the values do not exceed (the nearest-rank method)."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def exchange(sock: socket.socket, word: bytes, route: Route, loop: Loop) -> Generator[None, int, None]:
    """Send a word in a task, and wait until the far end has sent it back.

    Raises:
        BenchError: it did not, or something else came.
    """
    loop.allow(route.patience)
    heard = b""
    try:
        sock.send(word)
        while len(heard) < len(word):
            try:
                data = sock.recv(len(word) + 1 - len(heard))
            except BlockingIOError:
                yield
                continue
            if not data:
                raise _closed(route)
            heard += data
    except Expired:
        raise _late(route) from None
    except OSError as error:
        raise _broken(route, error) from None
    if heard != word:
        raise _wrong(route)


def measure_echo(way: Way, target: Target, *, seconds: float, size: int = 32, beside: int = 0) -> Echo:
    """Send words of `size` bytes through `way` for `seconds`, one after the other.

    `beside` is the number of streams that carry bulk through the same way at the same time, down to us.

    Raises:
        DialError: the session could not be opened.
        BenchError: it broke, or no word came back.
    """
    if beside:
        with open_flood(way, target, streams=beside, direction="down"):
            return measure_echo(way, target, seconds=seconds, size=size)
    route = Route(way, target.echo)
    opened: list[socket.socket] = []
    with Loop() as loop:
        loop.start(_open(route, loop, opened))
        loop.run(math.inf)  # the route bounds it
    [sock] = opened
    with sock:
        _wait_at_most(sock, route.patience)
        latencies = _ping(sock, route, bytes(range(1, size + 1)), seconds)
    return Echo(tuple(sorted(latencies)))


def _open(route: Route, loop: Loop, opened: list[socket.socket]) -> Task:
    sock, _ = yield from route.open(loop)
    loop.release(sock)
    opened.append(sock)


def _wait_at_most(sock: socket.socket, seconds: float) -> None:
    """Let the kernel bound each wait. Python's own time-outs cost a poll before each call, which would be measured."""
    sock.settimeout(None)
    whole = int(seconds)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", whole, int((seconds - whole) * 1e6)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _ping(sock: socket.socket, route: Route, word: bytes, seconds: float) -> list[float]:
    size = len(word)
    clock = time.perf_counter
    latencies: list[float] = []
    warm_until, ends = clock() + LONGEST_WARM_UP, math.inf
    try:
        while True:
            began = clock()
            sock.send(word)
            heard = sock.recv(size)
            while len(heard) < size:
                more = sock.recv(size - len(heard)) if heard else b""
                if not more:
                    raise _closed(route)
                if clock() - began > route.patience:
                    raise _late(route)
                heard += more
            ended = clock()
            if heard != word:
                raise _wrong(route)
            latencies.append(ended - began)
            if ends == math.inf and (len(latencies) == WARM_UP or ended > warm_until):
                latencies.clear()
                ends = ended + seconds
            elif ended > ends:
                return latencies
    except BlockingIOError:
        raise _late(route) from None
    except OSError as error:
        raise _broken(route, error) from None


def _late(route: Route) -> BenchError:
    return BenchError(f"{route.way.name}: a word did not come back within {route.patience:g} s")


def _closed(route: Route) -> BenchError:
    return BenchError(f"{route.way.name}: a session was closed while a word was on its way")


def _wrong(route: Route) -> BenchError:
    return BenchError(f"{route.way.name}: what came back is not what was sent")


def _broken(route: Route, error: OSError) -> BenchError:
    return BenchError(f"{route.way.name}: a session broke: {error.strerror or error}")
