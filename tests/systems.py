"""Systems that lack some of what Linux has: their code paths, run on Linux.

A switch does not only turn a probe off. It also makes the call itself fail the test, so that no path can use it by
mistake.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from chainsocks import sockets
from chainsocks.net import poller
from chainsocks.relay import flow

__all__ = ["SYSTEMS", "System", "without_epoll", "without_splice"]

Switch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class System:
    """A system, and how to become it until the end of a test."""

    name: str
    switches: tuple[Switch, ...] = ()

    def become(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for switch in self.switches:
            switch(monkeypatch)


def without_epoll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have sessions on plain streams that wait through trio, and pumps instead of flows."""
    monkeypatch.setattr(poller, "AVAILABLE", False)
    monkeypatch.setattr(poller, "Poller", _must_not_be_called)


def without_splice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have flows copy."""
    monkeypatch.setattr(flow, "SPLICE_AVAILABLE", False)
    monkeypatch.setattr(os, "splice", _must_not_be_called, raising=False)


def without_flags_of_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have sockets that are made non-blocking by a call of its own."""
    monkeypatch.setattr(sockets, "_NON_BLOCKING", 0)


def _must_not_be_called(*_: object, **__: object) -> None:
    pytest.fail("this system does not have it")


SYSTEMS = [
    System("Linux"),
    System("no splice", (without_splice,)),
    System("no epoll", (without_epoll,)),
    System("none of these", (without_splice, without_epoll, without_flags_of_socket)),
]
assert hasattr(select, "epoll")
assert flow.SPLICE_AVAILABLE
