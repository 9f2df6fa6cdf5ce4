"""How a line of the log looks: plain text, or one JSON object.

1. A line is one line. Characters that would break it, or steer a terminal, are escaped; so are lone surrogates, which
   are no text to a reader of JSON. The traceback of a debugging line is the exception, in plain text only.
2. Plain lines begin with the local time, the level and the process; under journald without the time, which it knows,
   and with the priority that it takes from the beginning of a line (sd-daemon(3)).
3. A JSON object has the same keys wherever it goes, and its time is in UTC (RFC 3339).
4. Only a terminal gets colours, and only for the level.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Hashable, Mapping
from contextvars import ContextVar
from enum import Enum, auto
from types import TracebackType
from typing import Protocol

from chainsocks.config.log_settings import LogFormat
from chainsocks.observe.privacy import is_private
from chainsocks.protocol.address import printable

__all__ = ["JsonFormatter", "Line", "LineFormatter", "PlainFormatter", "Reader", "current_session", "make_formatter"]

current_session: ContextVar[str] = ContextVar("current_session", default="")
"""The id of the session that a task belongs to; only set where debugging lines are logged."""

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""Those of syslog(3)."""

_COLOURS = {logging.DEBUG: "2", logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31;1"}
"""Of levels, as parameters of the terminal's SGR sequence."""


class Reader(Enum):
    """What reads the log."""

    JOURNAL = auto()
    """journald, which takes priorities and has times of its own."""
    TERMINAL = auto()
    """A terminal that shows colours."""
    OTHER = auto()

    @classmethod
    def of_standard_error(cls) -> Reader:
        """Find out what reads standard error.

        systemd names the device and the inode of its socket in ``JOURNAL_STREAM`` (systemd.exec(5)), which programs
        inherit whose standard error is another.
        """
        try:
            descriptor = sys.stderr.fileno()
            status = os.fstat(descriptor)
        except (AttributeError, OSError, ValueError):  # there is none, it is closed, or it is in memory
            return cls.OTHER
        if os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}":
            return cls.JOURNAL
        if os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb" or os.name == "nt":
            return cls.OTHER
        return cls.TERMINAL if os.isatty(descriptor) else cls.OTHER


class Line(Protocol):
    """What is logged without a record of logging: its text, and the same for programs."""

    def __str__(self) -> str:
        """Return the text: one line."""

    def fields(self) -> Mapping[str, object]:
        """Return the values that JSON can have, by name."""

    @property
    def likeness(self) -> Hashable:
        """What makes lines alike that may repeat each other (`chainsocks.observe.log_repeats`)."""


class LineFormatter(logging.Formatter):
    """What both formats have in common. `process` is the name of this process among several, as in ``worker 2``."""

    def __init__(self, process: str, reader: Reader) -> None:
        super().__init__()
        self.process = process
        self.reader = reader
        self._known = (-1, "")  # a second and its text, in one tuple since several threads format

    def line(self, level: int, name: str, line: Line) -> str:
        """Return the line of a `Line` that the logger called `name` logs now."""
        raise NotImplementedError

    def formatException(  # noqa: N802 (logging's name)
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        """Return a traceback; without the messages of its errors, if the log is private."""
        kind, _, frames = ei
        if not is_private() or kind is None:
            return super().formatException(ei)
        return "".join(["Traceback (most recent call last):\n", *traceback.format_tb(frames), kind.__name__])

    def _prefix(self, level: int) -> str:
        return f"<{_PRIORITIES.get(level, 6)}>" if self.reader is Reader.JOURNAL else ""

    def _second(self, second: int) -> str:
        """Return the time of a second, which is formatted once."""
        known, text = self._known
        if second != known:
            text = self._format_second(second)
            self._known = second, text
        return text

    def _format_second(self, second: int) -> str:
        raise NotImplementedError


class PlainFormatter(LineFormatter):
    """Plain text."""

    def __init__(self, process: str, reader: Reader) -> None:
        super().__init__(process, reader)
        label = f"{process}: " if process else ""
        self._heads = {level: f"{self._level(level)} {label}" for level in _PRIORITIES}

    def line(self, level: int, name: str, line: Line) -> str:
        """Return the line of a `Line` that is logged now."""
        return self._line(time.time(), level, str(line))

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record; debugging lines begin with the id of their session."""
        message = record.getMessage()
        if not message.isprintable():
            message = printable(message)
        if record.levelno == logging.DEBUG and (session := current_session.get()):
            message = f"id={session} {message}"
        record.message = message
        line = self._line(record.created, record.levelno, message)
        if not record.exc_info:
            return line
        prefix = self._prefix(record.levelno)
        return "\n".join([line, *(prefix + each for each in self.formatException(record.exc_info).splitlines())])

    def _line(self, seconds: float, level: int, text: str) -> str:
        head = self._heads.get(level) or f"{self._level(level)} "
        if self.reader is Reader.JOURNAL:
            return head + text
        second = int(seconds)
        return f"{self._second(second)},{int((seconds - second) * 1000):03} {head}{text}"

    def _level(self, level: int) -> str:
        name = logging.getLevelName(level)
        if self.reader is Reader.TERMINAL and level in _COLOURS:
            name = f"\x1b[{_COLOURS[level]}m{name}\x1b[0m"
        return self._prefix(level) + name

    def _format_second(self, second: int) -> str:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


class JsonFormatter(LineFormatter):
    """One JSON object per line, in ASCII."""

    def line(self, level: int, name: str, line: Line) -> str:
        """Return the line of a `Line` that is logged now."""
        return self._object(time.time(), level, name, line.fields())

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        message = record.message = record.getMessage()
        fields: dict[str, object] = {"event": "message", "message": message, **getattr(record, "fields", {})}
        if record.levelno == logging.DEBUG and (session := current_session.get()):
            fields["id"] = session
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return self._object(record.created, record.levelno, record.name, fields)

    def _object(self, seconds: float, level: int, name: str, fields: Mapping[str, object]) -> str:
        second = int(seconds)
        at = f"{self._second(second)}.{int((seconds - second) * 1000):03}Z"
        whole: dict[str, object] = {"time": at, "level": logging.getLevelName(level), "logger": name}
        if self.process:
            whole["process"] = self.process
        whole.update(fields)
        text = _encode(whole)
        if "\\ud" in text:  # there may be a lone surrogate, which strict readers reject
            text = _encode({key: _without_surrogates(value) for key, value in whole.items()})
        return self._prefix(level) + text

    def _format_second(self, second: int) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode


def _without_surrogates(value: object) -> object:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def make_formatter(kind: LogFormat, process: str = "") -> LineFormatter:
    """Make the formatter of lines of that kind, for what reads standard error."""
    formatter = JsonFormatter if kind is LogFormat.JSON else PlainFormatter
    return formatter(process, Reader.of_standard_error())
