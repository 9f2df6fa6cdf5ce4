"""Logging for the command line: lines on standard error, plain or JSON."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from chainsocks.config.log_settings import LogSettings, Privacy
from chainsocks.observe.log_formats import Line, LineFormatter, current_session, make_formatter
from chainsocks.observe.log_writer import LogWriter
from chainsocks.observe.privacy import set_private

__all__ = ["change_logging", "current_session", "flush_log", "restart_logging", "start_logging", "write_line"]

_chainsocks, _root = logging.getLogger("chainsocks"), logging.getLogger()


def start_logging(level: int, settings: LogSettings | None = None) -> None:
    """Send the log of chainsocks, from `level` up, to standard error. Logging never waits for its reader."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # unused, and slow
    logger = logging.getLogger("chainsocks")
    flush_log()
    logger.handlers = [LogWriter()]
    logger.setLevel(level)
    settings = settings or LogSettings()
    set_private(settings.privacy is Privacy.FULL)
    logger.handlers[0].setFormatter(make_formatter(settings.format))


def change_logging(settings: LogSettings) -> None:
    """Log by other settings from now on, in this process. Lines that wait stay as they are."""
    set_private(settings.privacy is Privacy.FULL)
    for writer, formatter in _writers():
        writer.setFormatter(make_formatter(settings.format, formatter.process))


def restart_logging(process: str) -> None:
    """Go on logging in a forked process, whose lines name it as `process`: processes share the log."""
    for writer, formatter in _writers():
        writer.forget()
        writer.setFormatter(type(formatter)(process, formatter.reader))


def write_line(logger: logging.Logger, level: int, line: Line) -> None:
    """Log a line, as `logger` would: where only our writer listens, without a record, at a third of the price.

    Each session has one such line, and a record costs more than all that the line is made of. Where all levels from
    INFO up are logged, no line is left out: each session has one. Otherwise repeated ones are limited.
    """
    if not logger.isEnabledFor(level):
        return
    match _chainsocks.handlers:
        case [LogWriter(formatter=LineFormatter() as formatter) as writer] if not _root.handlers:
            is_limited = level >= logging.WARNING and not logger.isEnabledFor(logging.INFO)
            if is_limited and not writer.admits(line.likeness, level, logger.name):
                return
            writer.put(formatter.line(level, logger.name, line), level)
            if is_limited:
                writer.note(line.likeness, str(line))
        case _:
            logger.handle(logger.makeRecord(logger.name, level, "", 0, str(line), (), None))


def flush_log(seconds: float = 1.0) -> bool:
    """Write the queued lines, and stop the writing thread until the next line; see `LogWriter.drain`."""
    return all(writer.drain(seconds) for writer in _chainsocks.handlers if isinstance(writer, LogWriter))


def _writers() -> Iterator[tuple[LogWriter, LineFormatter]]:
    for writer in logging.getLogger("chainsocks").handlers:
        if isinstance(writer, LogWriter) and isinstance(writer.formatter, LineFormatter):
            yield writer, writer.formatter
