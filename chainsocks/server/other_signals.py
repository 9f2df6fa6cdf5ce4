"""SIGHUP, SIGUSR1 and SIGUSR2: many servers reload or reopen their logs at these. This one cannot, and says so.

By default each of them would end the process at once. A SIGHUP stops the server only if the terminal that it was
started from is gone.
"""

from __future__ import annotations

import logging
import os
import signal

from chainsocks.chain.connect_errors import OUT_OF_DESCRIPTORS

__all__ = ["OTHER_SIGNALS", "OtherSignals"]

log = logging.getLogger("chainsocks.server")

OTHER_SIGNALS: frozenset[signal.Signals] = frozenset(
    getattr(signal, name) for name in ("SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)  # Windows has none of them

HANG_UP = getattr(signal, "SIGHUP", None)

_REASONS = {HANG_UP: "there is no reload yet; restart the server to use a changed configuration"}
_OTHERWISE = "it has no meaning here"


class OtherSignals:
    """Decides what each of `OTHER_SIGNALS` means. It is made when the server starts."""

    def __init__(self) -> None:
        self._unwanted = {number for number in OTHER_SIGNALS if signal.getsignal(number) is signal.SIG_IGN}
        self._had_terminal = has_terminal()

    def stops(self, number: int) -> bool:
        """Return whether a signal stops the server; log that it is ignored if it does not.

        A signal that the starter of the server ignores, as nohup(1) does with SIGHUP, is ignored without a line.
        """
        if number in self._unwanted:
            return False
        if number == HANG_UP and self._had_terminal and not has_terminal():
            return True
        log.warning("%s is ignored: %s", signal.Signals(number).name, _REASONS.get(number, _OTHERWISE))
        return False


def has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError as error:
        return error.errno in OUT_OF_DESCRIPTORS  # then nothing can be said, and a hang-up must not be assumed
    return True
