from __future__ import annotations

import math
import socket
import time
from collections.abc import Iterator
from itertools import repeat

import pytest

from benchmarks.steady import Action, run_steadily
from chainsocks.config.models import Timeouts
from chainsocks.protocol.address import Address
from chainsocks.tools.bench.target import open_target
from chainsocks.tools.bench.way import Route, Way
from tests.e2e.targets import serving

RATE = 500
COUNT = 20


def directly(echo: Address) -> Iterator[Route]:
    return repeat(Route(Way("direct"), echo))


def until(count: int) -> float:
    """The moment on the monotonic clock when so many sessions have begun, if the load begins now."""
    return time.monotonic() + (count - 0.5) / RATE


def test_sessions_begin_at_a_steady_rate_and_all_of_them_end() -> None:
    with open_target() as target:
        end = until(COUNT)
        sessions = run_steadily(directly(target.echo), rate=RATE, until=lambda now: now > end)
        assert target.wait_until_quiet()
    assert 0 < len(sessions) <= COUNT
    for number, session in enumerate(sessions):
        assert session.due == pytest.approx(sessions[0].due + number / RATE)
        assert session.due <= session.opened <= session.ended
        assert session.seconds == session.ended - session.due
        assert session.error == ""
        assert session.client.startswith("127.0.0.1:")
    assert len({session.client for session in sessions}) == len(sessions)


def test_those_that_fail_and_those_that_hang_end_no_other() -> None:
    deaf_one: list[socket.socket] = []

    def hear_all_but_the_first(sock: socket.socket) -> None:
        if not deaf_one:
            deaf_one.append(sock)
            sock.recv(100)
        elif data := sock.recv(100):
            sock.sendall(data)
        sock.recv(100)

    with serving(hear_all_but_the_first) as (host, port):
        away = Address(host, port)
        end = until(COUNT)
        way = Way("direct", timeouts=Timeouts(hop=0.2))
        sessions = run_steadily(repeat(Route(way, away)), rate=RATE, until=lambda now: now > end)
    late = "direct: a word did not come back within 0.2 s"
    assert late in [session.error for session in sessions]
    assert {session.error for session in sessions} <= {late, ""}, "more are late on a slow machine"
    assert len(sessions) > 1
    assert all(session.ended > session.due for session in sessions)


def test_sessions_that_are_refused_say_so(closed_port: tuple[str, int]) -> None:
    end = until(3)
    sessions = run_steadily(directly(Address(*closed_port)), rate=RATE, until=lambda now: now > end)
    for session in sessions:
        assert "connection refused" in session.error
        assert math.isnan(session.opened)
        assert session.client == ""


def test_actions_are_done_in_between_and_in_their_order() -> None:
    done: list[tuple[str, float]] = []
    with open_target() as target:
        end = until(COUNT)
        sessions = run_steadily(
            directly(target.echo),
            rate=RATE,
            until=lambda now: now > end and len(done) == 2,
            actions=[
                Action(6.5 / RATE, lambda: done.append(("later", time.monotonic()))),
                Action(2.5 / RATE, lambda: done.append(("sooner", time.monotonic()))),
            ],
        )
    assert [name for name, _ in done] == ["sooner", "later"]
    for (_, when), number in zip(done, (2.5, 6.5), strict=True):
        assert when >= sessions[0].due + number / RATE


@pytest.fixture
def closed_port() -> tuple[str, int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        host, port = sock.getsockname()
        return host, port
