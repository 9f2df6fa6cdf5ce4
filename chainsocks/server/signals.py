"""What each signal means to the server. None that an operator would try ends it without a line in the log.

- SIGTERM, SIGINT and SIGQUIT stop the server.
- SIGHUP reloads the configuration. It stops the server if the terminal that it was started from is gone.
- SIGUSR1 writes the state into the log.
- The others of `chainsocks.signals.SIGNALS` would end a process by default. They are ignored, with a warning.
"""

from __future__ import annotations

import logging
import os
import signal
from enum import Enum, auto

from chainsocks.chain.connect_errors import OUT_OF_DESCRIPTORS
from chainsocks.signals import SIGNALS, STOP

__all__ = ["Meaning", "Meanings", "has_terminal"]

log = logging.getLogger("chainsocks.server")


HANG_UP = getattr(signal, "SIGHUP", None)
SHOW = getattr(signal, "SIGUSR1", None)


class Meaning(Enum):
    """What is to be done at a signal."""

    STOP = auto()
    RELOAD = auto()
    SHOW = auto()
    """The state is written into the log."""
    NOTHING = auto()


class Meanings:
    """Decides what each of `SIGNALS` means. It is made when the server starts."""

    def __init__(self) -> None:
        self._unwanted = {number for number in SIGNALS if signal.getsignal(number) is signal.SIG_IGN}
        self._had_terminal = has_terminal()

    def of(self, number: int) -> Meaning:
        """Return what a signal means; log that it is ignored if it means nothing.

        Where the starter of the server ignores a signal, as nohup(1) does with the SIGHUP of a terminal that goes away,
        it is ignored without a line.
        """
        if number in STOP:
            return Meaning.STOP
        if number == HANG_UP:
            return self._of_hang_up()
        if number == SHOW:
            return Meaning.SHOW
        if number not in self._unwanted:
            log.warning("%s is ignored: it has no meaning here", signal.Signals(number).name)
        return Meaning.NOTHING

    def _of_hang_up(self) -> Meaning:
        if not self._had_terminal or has_terminal():
            return Meaning.RELOAD
        if HANG_UP not in self._unwanted:
            return Meaning.STOP
        self._had_terminal = False  # from now on, it is no hang-up any more
        return Meaning.NOTHING


def has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError as error:
        return error.errno in OUT_OF_DESCRIPTORS  # then nothing can be said, and a hang-up must not be assumed
    return True
