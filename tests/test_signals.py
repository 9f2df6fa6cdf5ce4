"""Signals that wait while a server starts and ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from chainsocks.signals import SIGNALS, STOP, describe_exit, hold_signals, signals_delivered


@pytest.fixture(autouse=True)
def came() -> Iterator[list[int]]:
    """The signals that have come; all of them are handled, and none is held at first."""
    came: list[int] = []
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in OURS}
    yield came
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for number, handler in before.items():
        signal.signal(number, handler)


OURS = sorted(SIGNALS - {signal.SIGALRM})
"""Without the one that ends a test which takes too long."""


@pytest.mark.parametrize("number", OURS, ids=lambda number: number.name)
def test_a_held_signal_waits_until_it_is_delivered(number: signal.Signals, came: list[int]) -> None:
    hold_signals()
    signal.raise_signal(number)
    assert came == ([number] if number in STOP else [])
    with signals_delivered():
        assert came == [number]
        signal.raise_signal(number)
        assert came == [number] * 2
    signal.raise_signal(number)
    assert came == [number] * (3 if number in STOP else 2)


def test_signals_that_were_not_held_are_not_held_afterwards(came: list[int]) -> None:
    with signals_delivered():
        pass
    signal.raise_signal(signal.SIGUSR1)
    assert came == [signal.SIGUSR1]


def test_a_system_that_cannot_hold_signals_delivers_them_at_once(
    monkeypatch: pytest.MonkeyPatch, came: list[int]
) -> None:
    monkeypatch.setattr("chainsocks.signals._CAN_HOLD", False)
    hold_signals()
    signal.raise_signal(signal.SIGUSR1)
    with signals_delivered():
        signal.raise_signal(signal.SIGUSR1)
    assert came == [signal.SIGUSR1] * 2


@pytest.mark.parametrize(("code", "said"), [(-9, "was killed by SIGKILL"), (3, "ended with status 3")])
def test_how_a_process_has_ended(code: int, said: str) -> None:
    assert describe_exit(code) == said
