"""Logging for the command line: plain text lines on standard error."""

from __future__ import annotations

import logging
import time
from contextvars import ContextVar

from chainsocks.observe.log_writer import LogWriter

__all__ = ["current_session", "flush_log", "restart_logging", "start_logging"]

current_session: ContextVar[str] = ContextVar("current_session", default="")
"""The id of the session that a task belongs to, as ``id=7`` and a space; only set where debugging lines are logged."""

_FORMAT = "%(asctime)s %(levelname)s {label}%(message)s"


def start_logging(level: int) -> None:
    """Send the log of chainsocks, from `level` up, to standard error. Logging never waits for its reader."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # unused, and slow
    logger = logging.getLogger("chainsocks")
    flush_log()
    writer = LogWriter()
    writer.setFormatter(_Formatter(_FORMAT.format(label="")))
    logger.handlers = [writer]
    logger.setLevel(level)


def flush_log(seconds: float = 1.0) -> bool:
    """Write the queued lines, and stop the writing thread until the next line; see `LogWriter.drain`."""
    return all(writer.drain(seconds) for writer in _writers())


def restart_logging(label: str) -> None:
    """Go on logging in a forked process, with `label` at the start of every line: processes share the log."""
    for writer in _writers():
        writer.forget()
        writer.setFormatter(_Formatter(_FORMAT.format(label=label)))


def _writers() -> list[LogWriter]:
    return [each for each in logging.getLogger("chainsocks").handlers if isinstance(each, LogWriter)]


class _Formatter(logging.Formatter):
    """The standard formatter, except that it formats date and time only once per second, and names sessions."""

    _written = (-1, "")  # a second and its text, in one tuple since several threads format

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        """Return the line of a record; debugging lines begin with the id of their session."""
        if record.levelno == logging.DEBUG:
            record.message = current_session.get() + record.message
        return super().formatMessage(record)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 (logging's name)
        """Return the time of a record, in milliseconds."""
        second = int(record.created)
        known, written = self._written
        if second != known:
            written = time.strftime(datefmt or self.default_time_format, time.localtime(second))
            self._written = second, written
        return f"{written},{int(record.msecs):03}"
