"""How many workers there are, and what each of them has."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import replace

import pytest

from chainsocks.config.limits import Limits
from chainsocks.config.models import Server
from chainsocks.errors import ConfigError
from chainsocks.server.dealing import count_workers, share_limits, share_out, share_ports


@pytest.mark.parametrize(
    ("total", "workers", "shares"),
    [(10, 1, [10]), (10, 2, [5, 5]), (10, 3, [4, 3, 3]), (10, 4, [3, 3, 2, 2]), (3, 3, [1, 1, 1])],
)
def test_the_shares_add_up(total: int, workers: int, shares: list[int]) -> None:
    assert share_out(total, workers) == shares
    assert sum(shares) == total


@pytest.mark.parametrize(
    ("ports", "workers", "shares"),
    [
        (range(1), 3, [range(1)] * 3),
        (range(100, 110), 1, [range(100, 110)]),
        (range(100, 110), 3, [range(100, 104), range(104, 107), range(107, 110)]),
        (range(100, 103), 3, [range(100, 101), range(101, 102), range(102, 103)]),
        (range(100, 102), 3, [range(100, 102)] * 3),
    ],
)
def test_each_worker_has_its_ports(ports: range, workers: int, shares: list[range]) -> None:
    assert share_ports(ports, workers) == shares


@pytest.mark.parametrize(
    ("workers", "cores", "max_sessions", "processes"),
    [
        pytest.param(1, 4, 100, 1, id="one"),
        pytest.param(3, 2, 100, 3, id="more-than-cores"),
        pytest.param(0, 4, 100, 4, id="one-per-core"),
        pytest.param(0, 1, 100, 1, id="one-core"),
        pytest.param(0, 4, 3, 3, id="one-per-core-and-no-more-than-sessions"),
    ],
)
def test_how_many_there_are(
    monkeypatch: pytest.MonkeyPatch, workers: int, cores: int, max_sessions: int, processes: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(10, 10 + cores)))
    assert count_workers(Server(workers=workers, max_sessions=max_sessions)) == processes


@pytest.mark.parametrize(
    ("module", "name"),
    [(os, "fork"), (signal, "sigtimedwait"), (socket, "SO_REUSEPORT")],
    ids=["fork", "sigtimedwait", "SO_REUSEPORT"],
)
def test_a_system_without_what_workers_need(monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> None:
    monkeypatch.delattr(module, name)
    assert [count_workers(Server(workers=number)) for number in (0, 1)] == [1, 1]
    with pytest.raises(ConfigError) as caught:
        count_workers(Server(workers=2))
    assert str(caught.value) == (
        "server.workers: processes cannot share a port on this system, as they can on Linux; leave it at 1"
    )


def test_where_cores_cannot_be_counted_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert count_workers(Server(workers=0)) == 1


def test_limits_that_each_worker_keeps_by_itself_are_divided() -> None:
    limits = Limits(sessions_per_client=5, new_per_second=1, handshakes=5, bandwidth=1000, failed_logins=3)
    assert share_limits(limits, 4) == replace(limits, new_per_second=0.25, handshakes=2)
    assert share_limits(Limits(handshakes=1), 4) == Limits(handshakes=1)
    assert share_limits(Limits(), 4) == Limits()
