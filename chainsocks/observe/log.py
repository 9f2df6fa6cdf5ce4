"""Logging for the command line: plain text lines on standard error."""

from __future__ import annotations

import logging
import time

__all__ = ["label_logging", "start_logging"]

_FORMAT = "%(asctime)s %(levelname)s {label}%(message)s"


def start_logging(level: int) -> None:
    """Send the log of chainsocks, from `level` up, to standard error."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # unused, and slow
    handler = logging.StreamHandler()
    logger = logging.getLogger("chainsocks")
    logger.handlers = [handler]
    logger.setLevel(level)
    label_logging("")


def label_logging(label: str) -> None:
    """Put `label` at the start of every line from now on, so that processes that share a log can be told apart."""
    for handler in logging.getLogger("chainsocks").handlers:
        handler.setFormatter(_Formatter(_FORMAT.format(label=label)))


class _Formatter(logging.Formatter):
    """The standard formatter, except that it formats date and time only once per second."""

    _second = -1
    _written = ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 (logging's name)
        """Return the time of a record, in milliseconds."""
        second = int(record.created)
        if second != self._second:
            self._second = second
            self._written = time.strftime(datefmt or self.default_time_format, time.localtime(second))
        return f"{self._written},{int(record.msecs):03}"
