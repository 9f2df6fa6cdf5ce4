"""The ceiling that `tests/conftest.py` puts over every test."""

from __future__ import annotations

import math
import signal
import threading
import time
import traceback
from types import SimpleNamespace

import pytest
import trio
from trio.testing import MockClock

from tests.ceiling import (
    CEILING,
    TooLong,
    bounded,
    limited,
    pytest_exception_interact,
    pytest_runtest_protocol,
)


async def wait_in_vain() -> None:
    await trio.Event().wait()


def test_a_test_that_waits_in_vain_on_a_mock_clock_fails_at_once_and_shows_where() -> None:
    with pytest.raises(TooLong) as caught:
        trio.run(bounded(wait_in_vain), clock=MockClock(autojump_threshold=0))
    shown = "".join(traceback.format_exception(caught.value))
    assert "in wait_in_vain" in shown
    assert "await trio.Event().wait()" in shown


async def tick_for_ever() -> None:
    """Every timer of it is due at once; a mock clock never comes to its ceiling."""
    while True:
        with trio.move_on_after(1):
            await trio.sleep_forever()


@pytest.mark.parametrize("name", ["CEILING_ON_MOCK_CLOCK", "CEILING"])
def test_a_test_that_keeps_a_mock_clock_busy_is_cancelled(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("tests.ceiling.CEILING_ON_MOCK_CLOCK", 0.05 if name == "CEILING_ON_MOCK_CLOCK" else 60)
    with pytest.raises(TooLong) as caught, limited(60 if name == "CEILING_ON_MOCK_CLOCK" else 0.05):
        trio.run(bounded(tick_for_ever), clock=MockClock(autojump_threshold=0))
    assert "in tick_for_ever" in "".join(traceback.format_exception(caught.value))


def test_a_test_that_waits_in_vain_on_the_real_clock_is_cancelled() -> None:
    with pytest.raises(TooLong) as caught, limited(0.05):
        trio.run(bounded(wait_in_vain))
    assert "in wait_in_vain" in "".join(traceback.format_exception(caught.value))


def test_a_test_that_will_not_be_cancelled_is_interrupted() -> None:
    async def stubborn() -> None:
        time.sleep(60)  # noqa: ASYNC251  (a blocking call is the case)

    with pytest.raises(TooLong), limited(0.05):
        trio.run(bounded(stubborn))


def test_a_synchronous_test_is_interrupted_even_if_it_waits_for_a_thread() -> None:
    never = threading.Event()
    with pytest.raises(TooLong, match=r"not finished after 0\.05 s"), limited(0.05):
        never.wait()


def test_code_that_swallows_the_first_alarm_hears_another_and_fails_at_its_end() -> None:
    heard = 0

    def swallow() -> None:
        nonlocal heard
        while heard < 3:
            try:
                time.sleep(60)
            except TooLong:
                heard += 1

    with pytest.raises(TooLong, match=r"not finished after 0\.02 s"), limited(0.02):
        swallow()
    assert heard == 3


def test_this_very_test_has_a_ceiling() -> None:
    assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= CEILING
    with limited(30):
        pass
    left, again = signal.getitimer(signal.ITIMER_REAL)
    assert 30 < left <= CEILING
    assert again == CEILING / 2


def test_outside_of_the_main_thread_nothing_is_limited() -> None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            with limited(0.01):
                time.sleep(0.02)
        except BaseException as error:  # noqa: BLE001  (a thread would only print it)
            raised.append(error)

    before = signal.getitimer(signal.ITIMER_REAL)[0]
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert raised == []
    assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= before


def test_the_last_resort_is_put_off_by_some_of_the_tests(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    ends: list[float] = []
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("tests.ceiling.time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr("tests.ceiling._last_resort_at", -math.inf)
    monkeypatch.setattr("faulthandler.dump_traceback_later", lambda seconds, **_: ends.append(clock.now + seconds))
    for clock.now in (1000, 1001, 1099, 1101, 1102):
        pytest_runtest_protocol(request.node)
    assert ends == [1300, 1401]
    pytest_exception_interact()  # where pytest calls it off
    pytest_runtest_protocol(request.node)
    assert ends == [1300, 1401, 1402]
