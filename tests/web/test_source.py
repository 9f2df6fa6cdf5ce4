"""What the server answers is asked once for all that want it, and not too often."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock

from chainsocks.control.fleet import SendSessions
from chainsocks.control.messages import ControlError, Fault, Reloaded, Request, Status, What
from chainsocks.observe.metrics import BYTES, Sample
from chainsocks.web.source import FRESH, PATIENCE, SHARE, Chain, Member, Source
from tests.control.fleets import SESSION, STATUS, FakeFleet
from tests.web.asking import answering, counted


@dataclass
class SlowFleet(FakeFleet):
    """Takes its time, and counts how often it is asked."""

    takes: float = 0
    asked: int = 0

    async def status(self) -> Status:
        self.asked += 1
        await trio.sleep(self.takes)
        return await super().status()

    async def sessions(self, send: SendSessions) -> None:
        self.asked += 1
        await trio.sleep(self.takes)
        await super().sessions(send)


async def test_many_at_a_time_are_one_question(autojump_clock: MockClock) -> None:
    fleet = SlowFleet(takes=0.1)
    found: list[Status] = []

    async def ask(source: Source) -> None:
        found.append(await source.status())

    async with answering(fleet) as source, trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask, source)
    assert found == [STATUS] * 50
    assert fleet.asked == 1


@pytest.mark.parametrize(("takes", "kept"), [(0.0, FRESH), (0.001, FRESH), (1.0, 1 / SHARE)])
async def test_an_answer_that_takes_long_is_kept_for_longer(
    takes: float, kept: float, autojump_clock: MockClock
) -> None:
    fleet = SlowFleet(takes=takes)
    async with answering(fleet) as source:
        await source.sessions()
        await trio.sleep(kept - 0.01)
        await source.sessions()
        assert fleet.asked == 1
        await trio.sleep(0.02)
        assert [row["id"] for row in (await source.sessions()).sessions] == [SESSION.id]
    assert fleet.asked == 2


async def test_a_server_that_does_not_answer_is_given_up(autojump_clock: MockClock) -> None:
    async with answering(SlowFleet(takes=PATIENCE + 1)) as source:
        with pytest.raises(ControlError) as caught:
            await source.status()
        assert caught.value.fault is Fault.UNAVAILABLE
        with pytest.raises(ControlError):
            await source.status()


async def test_that_there_is_no_answer_is_kept_too(autojump_clock: MockClock) -> None:
    fleet = SlowFleet(takes=PATIENCE + 1)
    async with answering(fleet) as source:

        async def ask() -> None:
            with pytest.raises(ControlError, match="no answer within"):
                await source.status()

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(ask)
        assert trio.current_time() == PATIENCE
        await trio.sleep(FRESH)
        fleet.takes = 0
        assert await source.status() == STATUS


class Reloading(FakeFleet):
    """Takes a minute to reload."""

    async def reload(self) -> Reloaded:
        await trio.sleep(60)
        return await super().reload()


async def test_an_order_that_takes_long_holds_no_question_up(autojump_clock: MockClock) -> None:
    async with answering(Reloading()) as source, trio.open_nursery() as nursery:
        nursery.start_soon(source.order, Request(what=What.RELOAD))
        await trio.sleep(1)
        assert await source.status() == STATUS
        assert trio.current_time() == 1


async def test_an_order_makes_answers_stale(autojump_clock: MockClock) -> None:
    fleet = SlowFleet()
    async with answering(fleet) as source:
        await source.status()
        assert await source.order(Request(what=What.WAKE, hop="osaka")) == {"count": 1}
        await source.status()
    assert fleet.asked == 2
    assert fleet.told == [("wake", "osaka")]


async def test_metrics_of_all_workers_are_merged(autojump_clock: MockClock) -> None:
    async with answering(FakeFleet(counted=[counted(1), counted(2)])) as source:
        measured = await source.measured()
    assert Sample(BYTES, ("up", "default"), 2000) in measured.samples
    group = Member(group="exits", pick="failover", members=(Member("osaka"), Member("lima")))
    assert measured.chains == (Chain("default", (Member("paris"), group)),)
    assert [failure["session"] for failure in measured.failures] == ["1-1", "2-1"]


@pytest.mark.parametrize("answer", [{}, {"worker": 1, "metrics": []}, {**counted(), "chains": [{}]}])
async def test_an_answer_that_is_none_is_an_error(answer: dict[str, object], autojump_clock: MockClock) -> None:
    async with answering(FakeFleet(counted=[answer])) as source:
        with pytest.raises(ControlError, match="the server sent no metrics"):
            await source.measured()
