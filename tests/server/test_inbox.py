"""What the parent waits for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from chainsocks.server.channel import open_channel
from chainsocks.server.inbox import WATCHED, Inbox, opened_inbox
from tests.net.sockets import descriptors


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    before, handlers = descriptors(), {number: signal.getsignal(number) for number in WATCHED}
    with opened_inbox() as opened:
        yield opened
    assert descriptors() == before
    assert {number: signal.getsignal(number) for number in WATCHED} == handlers


def test_it_returns_when_the_time_has_come(inbox: Inbox) -> None:
    assert inbox.wait(0) == ([], [])
    assert inbox.wait(time.monotonic() + 0.01) == ([], [])


def test_signals_wake_it_and_each_is_returned_once(inbox: Inbox) -> None:
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
        signal.raise_signal(number)
    assert inbox.wait() == ([signal.SIGHUP, signal.SIGTERM, signal.SIGHUP], [])
    assert inbox.wait(0) == ([], [])


def test_a_child_that_has_ended_wakes_it(inbox: Inbox) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    assert inbox.wait() == ([signal.SIGCHLD], [])
    os.waitpid(pid, 0)


def test_messages_and_the_end_of_a_channel_wake_it(inbox: Inbox) -> None:
    (ours, theirs), (others, gone) = open_channel(), open_channel()
    gone.close()
    inbox.add(ours)
    inbox.add(others)
    theirs.send("hello")
    assert inbox.wait() == ([], [ours, others])
    ours.receive()
    assert inbox.wait(0) == ([], [others])
    inbox.remove(others)
    assert inbox.wait(0) == ([], [])
    theirs.close()
    assert inbox.wait() == ([], [ours])
    inbox.remove(ours)
    ours.close()
    others.close()


def test_signals_can_be_held_back(inbox: Inbox) -> None:
    with inbox.held():
        signal.raise_signal(signal.SIGUSR1)
        assert inbox.wait(0) == ([], [])
    assert inbox.wait(0) == ([signal.SIGUSR1], [])


def test_a_child_that_has_left_it_wakes_nothing(inbox: Inbox) -> None:
    with inbox.held():
        pid = os.fork()
        if pid == 0:
            inbox.leave()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
            signal.raise_signal(signal.SIGUSR1)
            os._exit(0)
        os.waitpid(pid, 0)
    assert inbox.wait() == ([signal.SIGCHLD], [])
