from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from chainsocks.control.ask import Asker
from chainsocks.control.messages import ControlError, Fault, Request, Status, What
from chainsocks.control.serve import serve_control
from tests.control.fleets import HOP, STATUS, FakeFleet, some_sessions


@asynccontextmanager
async def asking(fleet: FakeFleet) -> AsyncIterator[Asker]:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_control, theirs, fleet)
        asker = Asker(ours)
        yield asker
        await asker.aclose()


async def test_tasks_take_turns() -> None:
    answers: list[object] = []

    async with asking(FakeFleet(some_sessions(120))) as asker, trio.open_nursery() as nursery:

        async def ask() -> None:
            answers.append((await asker.status(), len(await asker.sessions()), await asker.hops()))

        for _ in range(5):
            nursery.start_soon(ask)
    assert answers == [(STATUS, 120, (HOP,))] * 5


async def test_a_refusal_is_an_error_and_the_next_question_gets_its_answer() -> None:
    async with asking(FakeFleet()) as asker:
        with pytest.raises(ControlError, match="no hop is called oslo") as caught:
            await asker.ask(Request(what=What.REST, hop="oslo"))
        assert caught.value.fault is Fault.NO_SUCH_HOP
        assert await asker.status() == STATUS


class Slow(FakeFleet):
    """Takes its time for the status."""

    async def status(self) -> Status:
        await trio.sleep(10)
        return await super().status()


async def test_a_late_answer_is_skipped(autojump_clock: trio.testing.MockClock) -> None:
    async with asking(Slow()) as asker:
        with pytest.raises(ControlError, match="no answer within 5 s") as caught:
            await asker.status(within=5)
        assert caught.value.fault is Fault.UNAVAILABLE
        assert await asker.hops() == (HOP,)


async def test_a_server_that_is_gone_is_an_error() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.aclose()
    asker = Asker(ours)
    for _ in range(2):
        with pytest.raises(ControlError, match="the server is gone"):
            await asker.status()
