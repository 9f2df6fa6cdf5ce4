"""What the parent of the workers waits for: signals, and messages on channels. It has no event loop."""

from __future__ import annotations

import math
import os
import select
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from chainsocks.server.channel import Channel
from chainsocks.signals import SIGNALS, signals_delivered

__all__ = ["Inbox", "opened_inbox"]

WATCHED = {*SIGNALS, signal.SIGCHLD} if hasattr(signal, "SIGCHLD") else {*SIGNALS}  # Windows has no workers


class Inbox:
    """Waits for signals and for messages on channels; made by `opened_inbox`."""

    def __init__(self, woken: int, waking: int) -> None:
        self._woken = woken
        self._waking = waking
        self._poll = select.poll()
        self._poll.register(woken, select.POLLIN)
        self._channels: dict[int, Channel] = {}

    def add(self, channel: Channel) -> None:
        """Wait for the messages of a channel as well."""
        self._channels[channel.sock.fileno()] = channel
        self._poll.register(channel.sock, select.POLLIN)

    def remove(self, channel: Channel) -> None:
        """Do not wait for a channel any more. It is not closed yet."""
        del self._channels[channel.sock.fileno()]
        self._poll.unregister(channel.sock)

    def wait(self, until: float = math.inf) -> tuple[Sequence[signal.Signals], Sequence[Channel]]:
        """Wait for signals and for channels that can be read, until `until` on the monotonic clock."""
        timeout = None if until == math.inf else max(0, math.ceil((until - time.monotonic()) * 1000))
        signals: list[signal.Signals] = []
        channels = []
        for descriptor, _ in self._poll.poll(timeout):
            if descriptor == self._woken:
                signals += map(signal.Signals, os.read(self._woken, 4096))
            else:
                channels.append(self._channels[descriptor])
        return signals, channels

    def leave(self) -> None:
        """Close it and all channels in a forked child, where signals would wake the parent's."""
        signal.set_wakeup_fd(-1)
        os.close(self._woken)
        os.close(self._waking)
        for channel in self._channels.values():
            channel.close()

    @staticmethod
    @contextmanager
    def held() -> Iterator[None]:
        """Hold signals back while a process is forked: until the child has its own way with them, it has none."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def opened_inbox() -> Iterator[Inbox]:
    """Have signals wake an `Inbox` for as long as the block runs."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    handlers = {number: signal.signal(number, _ignore) for number in WATCHED}
    woken_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        with signals_delivered():
            yield Inbox(reading, writing)
    finally:
        signal.set_wakeup_fd(woken_before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def _ignore(number: int, frame: object) -> None:
    """Do nothing: the number of the signal is in the pipe."""
