"""The latency of a small echo: a few bytes there and back, again and again, on one session.

Beside bulk it measures fairness: how long a few bytes wait for a relay that is busy with the bulk of others. The bulk
has a process of its own, so that the echo waits for the relay only.
"""

from __future__ import annotations

import math
import socket
import struct
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from chainsocks.tools.bench.bulk import open_flood
from chainsocks.tools.bench.loop import Expired, Loop, Task
from chainsocks.tools.bench.target import Kind, Target, What
from chainsocks.tools.bench.way import BenchError, Route, Way, warm_up

__all__ = ["Echo", "exchange", "measure_echo", "percentile"]

CLOSED = "a session was closed while a word was on its way"
WRONG = "what came back is not what was sent"


@dataclass(frozen=True, slots=True)
class Echo:
    """Seconds from the first byte sent to the last byte back, in order of size; and the bulk beside the echo."""

    latencies: tuple[float, ...]
    beside: float = 0
    """Bytes per second that the far end sent on the streams beside the echo."""

    @property
    def p50(self) -> float:
        """Half of the echoes took at most so long."""
        return percentile(self.latencies, 50)

    @property
    def p99(self) -> float:
        """All but a hundredth of the echoes took at most so long."""
        return percentile(self.latencies, 99)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the least value that `percent` of the values do not exceed (the nearest-rank method)."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def exchange(sock: socket.socket, word: bytes, route: Route, loop: Loop) -> Generator[None, int, None]:
    """Send a word in a task, and wait until the far end has sent it back.

    Raises:
        BenchError: the word did not come back, or came back changed.
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
                raise _failed(route, CLOSED)
            heard += data
    except Expired:
        raise _late(route) from None
    except OSError as error:
        raise _broken(route, error) from None
    if heard != word:
        raise _failed(route, WRONG)


def measure_echo(way: Way, target: Target, *, seconds: float, size: int = 32, beside: int = 0) -> Echo:
    """Send words of `size` bytes through `way` for `seconds`, one after the other.

    `beside` is the number of streams that carry bulk down through the same way at the same time.

    Raises:
        DialError: the session could not be opened.
        BenchError: the session broke, or no word came back.
    """
    if not beside:
        return Echo(_measure(Route(way, target.echo), size, seconds))
    with open_flood(way, target, streams=beside, direction="down"):
        began, before = time.monotonic(), target.counters.read(Kind.SOURCE, What.SENT)
        latencies = _measure(Route(way, target.echo), size, seconds)
        sent = target.counters.read(Kind.SOURCE, What.SENT) - before
        return Echo(latencies, sent / (time.monotonic() - began))


def _measure(route: Route, size: int, seconds: float) -> tuple[float, ...]:
    opened: list[socket.socket] = []
    with Loop() as loop:
        loop.start(_open(route, loop, opened))
        loop.run(math.inf)  # the route limits it
    [sock] = opened
    with sock:
        _wait_at_most(sock, route.patience)
        return tuple(sorted(_ping(sock, route, bytes(range(1, size + 1)), seconds)))


def _open(route: Route, loop: Loop, opened: list[socket.socket]) -> Task:
    sock, _ = yield from route.open(loop)
    loop.release(sock)
    opened.append(sock)


def _wait_at_most(sock: socket.socket, seconds: float) -> None:
    """Let the kernel limit each wait. Python's own time-outs cost a poll before each call, which would be measured."""
    sock.settimeout(None)
    whole = int(seconds)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", whole, int((seconds - whole) * 1e6)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _ping(sock: socket.socket, route: Route, word: bytes, seconds: float) -> list[float]:
    """Return the latencies of the echoes after the warm-up, at least of one."""
    size = len(word)
    clock = time.perf_counter
    latencies: list[float] = []
    counts_from = clock() + warm_up(seconds)
    try:
        while True:
            began = clock()
            sock.send(word)
            heard = sock.recv(size)
            while len(heard) < size:
                more = sock.recv(size - len(heard)) if heard else b""
                if not more:
                    raise _failed(route, CLOSED)
                if clock() - began > route.patience:
                    raise _late(route)
                heard += more
            ended = clock()
            if heard != word:
                raise _failed(route, WRONG)
            if began >= counts_from:
                latencies.append(ended - began)
                if ended >= counts_from + seconds:
                    return latencies
    except BlockingIOError:
        raise _late(route) from None
    except OSError as error:
        raise _broken(route, error) from None


def _failed(route: Route, problem: str) -> BenchError:
    return BenchError(f"{route.way.name}: {problem}")


def _late(route: Route) -> BenchError:
    return _failed(route, f"a word did not come back within {route.patience:g} s")


def _broken(route: Route, error: OSError) -> BenchError:
    return _failed(route, f"a session broke: {error.strerror or error}")
