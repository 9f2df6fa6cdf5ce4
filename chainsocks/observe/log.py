"""Logging for the command line: plain text lines on standard error."""

from __future__ import annotations

import logging
import time
from contextvars import ContextVar

from chainsocks.observe.log_writer import LogWriter

__all__ = ["current_session", "flush_log", "restart_logging", "start_logging", "write_line"]

_chainsocks, _root = logging.getLogger("chainsocks"), logging.getLogger()

current_session: ContextVar[str] = ContextVar("current_session", default="")
"""The id of the session that a task belongs to, as ``id=7`` and a space; only set where debugging lines are logged."""

_FORMAT = "%(asctime)s %(levelname)s {label}%(message)s"


def start_logging(level: int) -> None:
    """Send the log of chainsocks, from `level` up, to standard error. Logging never waits for its reader."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # unused, and slow
    logger = logging.getLogger("chainsocks")
    flush_log()
    writer = LogWriter()
    writer.setFormatter(_Formatter(""))
    logger.handlers = [writer]
    logger.setLevel(level)


def write_line(logger: logging.Logger, level: int, text: str) -> None:
    """Log a finished line, as `logger` would: where only our writer listens, without a record, at a third of the price.

    Each session has one such line, and a record costs more than all that the line is made of.
    """
    if not logger.isEnabledFor(level):
        return
    match _chainsocks.handlers:
        case [LogWriter(formatter=_Formatter() as formatter) as writer] if not _root.handlers:
            writer.put(formatter.line(level, text), level)
        case _:
            logger.handle(logger.makeRecord(logger.name, level, "", 0, text, (), None))


def flush_log(seconds: float = 1.0) -> bool:
    """Write the queued lines, and stop the writing thread until the next line; see `LogWriter.drain`."""
    return all(writer.drain(seconds) for writer in _writers())


def restart_logging(label: str) -> None:
    """Go on logging in a forked process, with `label` at the start of every line: processes share the log."""
    for writer in _writers():
        writer.forget()
        writer.setFormatter(_Formatter(label))


def _writers() -> list[LogWriter]:
    return [each for each in logging.getLogger("chainsocks").handlers if isinstance(each, LogWriter)]


class _Formatter(logging.Formatter):
    """The standard formatter, except that it formats date and time only once per second, and names sessions."""

    _written = (-1, "")  # a second and its text, in one tuple since several threads format

    def __init__(self, label: str) -> None:
        super().__init__(_FORMAT.format(label=label))
        self._label = label

    def line(self, level: int, text: str) -> str:
        """Return the line of a record with this level and message, which is logged now."""
        return f"{self._time(time.time())} {logging.getLevelName(level)} {self._label}{text}"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        """Return the line of a record; debugging lines begin with the id of their session."""
        if record.levelno == logging.DEBUG:
            record.message = current_session.get() + record.message
        return super().formatMessage(record)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """Return the time of a record, in milliseconds."""
        return self._time(record.created)

    def _time(self, seconds: float) -> str:
        second = int(seconds)
        known, written = self._written
        if second != known:
            written = time.strftime(self.default_time_format, time.localtime(second))
            self._written = second, written
        return f"{written},{int((seconds - second) * 1000):03}"
