"""The pulse of workers that exist on paper, and what a service manager is told of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest

from chainsocks.config.models import Config
from chainsocks.server.channel import Channel
from chainsocks.server.inbox import Inbox
from chainsocks.server.orders import Order, Told
from chainsocks.server.pool import Pool, Slot
from chainsocks.server.pulse import Pulse
from chainsocks.server.service_manager import ServiceManager
from chainsocks.server.summary import Summary


@dataclass
class Manager:
    """A service manager that writes down what it is told."""

    interval: float = 2
    told: list[str] = field(default_factory=list)

    def is_alive(self, status: object) -> None:
        self.told.append(str(status))


@dataclass
class Ward:
    """Workers, and a clock."""

    now: float = 100
    asked: list[int] = field(default_factory=list)
    manager: Manager = field(default_factory=Manager)

    def __post_init__(self) -> None:
        self.pool = Pool(Config(), (), cast(Inbox, None))
        for number in (1, 2):
            channel = SimpleNamespace(send=lambda order, _, number=number: self.ask(number, order))
            self.pool.slots.append(Slot(10, range(1), number, pid=number, channel=cast(Channel, channel)))
        self.pulse = Pulse(self.pool, cast(ServiceManager, self.manager))

    def ask(self, number: int, order: object) -> None:
        assert order is Order.TELL
        self.asked.append(number)

    def answer(self, number: int, summary: Summary) -> None:
        slot = self.pool.slots[number - 1]
        slot.told, slot.summary, slot.is_asked = Told(summary), summary, False

    def take(self) -> tuple[list[int], list[str]]:
        """Take the pulse when it is due; return which workers are asked, and what the manager is told."""
        self.now += 2
        self.asked.clear()
        self.manager.told.clear()
        self.pulse.take()
        return [*self.asked], [*self.manager.told]


@pytest.fixture
def ward(monkeypatch: pytest.MonkeyPatch) -> Ward:
    ward = Ward()
    monkeypatch.setattr("chainsocks.server.pulse.time", SimpleNamespace(monotonic=lambda: ward.now))
    return ward


def test_the_manager_is_told_when_all_have_answered(ward: Ward) -> None:
    assert ward.take() == ([1, 2], [])
    ward.answer(1, Summary(2, 3, ("lima",)))
    assert ward.take() == ([], []), "one has not answered, and is not asked again"
    ward.answer(2, Summary(3, 3, ("lima", "osaka")))
    assert ward.take() == ([1, 2], ["5 sessions, 1 of 3 hops well"])
    assert ward.take() == ([], [])


def test_nothing_happens_before_it_is_due(ward: Ward) -> None:
    ward.take()
    for number in (1, 2):
        ward.answer(number, Summary(0, 0))
    assert ward.pulse.due == ward.now + 2
    ward.now += 1.9
    ward.pulse.take()
    assert ward.manager.told == []


def test_a_worker_that_is_being_replaced_is_not_waited_for(ward: Ward) -> None:
    ward.take()
    ward.answer(1, Summary(1, 0))
    ward.pool.slots[1].pid, ward.pool.slots[1].channel = 0, None
    assert ward.take() == ([1], ["1 session"])


def test_without_any_worker_nothing_is_told(ward: Ward) -> None:
    for slot in ward.pool.slots:
        slot.pid, slot.channel = 0, None
    assert ward.take() == ([], [])


def test_without_a_manager_nothing_is_asked(ward: Ward) -> None:
    assert Pulse(ward.pool, ServiceManager()).due == float("inf")
