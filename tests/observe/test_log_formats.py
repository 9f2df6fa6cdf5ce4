"""The formats of a line: one line each, whatever a client sends."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainsocks.config.log_settings import LogFormat
from chainsocks.observe.log_formats import (
    JsonFormatter,
    PlainFormatter,
    Reader,
    current_session,
    make_formatter,
)
from chainsocks.observe.privacy import set_private

TIME = 1_764_369_300.1234


@dataclass(frozen=True)
class Said:
    """A line with fields."""

    text: str = "id=7"
    values: Mapping[str, object] = field(default_factory=lambda: {"event": "session", "id": "7"})
    likeness: str = "said"

    def __str__(self) -> str:
        return self.text

    def fields(self) -> Mapping[str, object]:
        return self.values


def record(message: str = "hop %s", *args: object, level: int = logging.WARNING, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("chainsocks.health", level, "", 0, message, args, None)
    made.created = TIME
    made.__dict__.update(more)
    return made


@pytest.fixture
def mark() -> Iterator[None]:
    token = current_session.set("2-17")
    yield
    current_session.reset(token)


def failure() -> Any:
    try:
        raise KeyError("canary.example")
    except KeyError:
        return sys.exc_info()


@pytest.mark.parametrize(
    ("reader", "process", "level", "line"),
    [
        (Reader.OTHER, "", logging.WARNING, "{time} WARNING hop paris"),
        (Reader.OTHER, "worker 2", logging.INFO, "{time} INFO worker 2: hop paris"),
        (Reader.OTHER, "", 25, "{time} Level 25 hop paris"),
        (Reader.JOURNAL, "", logging.WARNING, "<4>WARNING hop paris"),
        (Reader.JOURNAL, "worker 2", logging.ERROR, "<3>ERROR worker 2: hop paris"),
        (Reader.JOURNAL, "", logging.INFO, "<6>INFO hop paris"),
        (Reader.JOURNAL, "", logging.DEBUG, "<7>DEBUG hop paris"),
        (Reader.TERMINAL, "", logging.WARNING, "{time} \x1b[33mWARNING\x1b[0m hop paris"),
        (Reader.TERMINAL, "", logging.INFO, "{time} INFO hop paris"),
    ],
)
def test_a_plain_line(reader: Reader, process: str, level: int, line: str) -> None:
    formatter = PlainFormatter(process, reader)
    time = f"{datetime.fromtimestamp(TIME):%Y-%m-%d %H:%M:%S},123"  # local time is meant
    assert formatter.format(record("hop %s", "paris", level=level)) == line.format(time=time)
    written = formatter.line(level, "chainsocks.health", Said("hop paris"))
    assert re.sub(r"^[\d-]+ [\d:]+,\d{3}", "{time}", written) == line


@pytest.mark.parametrize("reader", Reader)
def test_a_json_line(reader: Reader) -> None:
    formatter = JsonFormatter("worker 2", reader)
    line = formatter.format(record("hop %s", "paris"))
    prefix = "<4>" if reader is Reader.JOURNAL else ""
    assert line.startswith(prefix + "{")
    assert json.loads(line.removeprefix(prefix)) == {
        "time": "2025-11-28T22:35:00.123Z",
        "level": "WARNING",
        "logger": "chainsocks.health",
        "process": "worker 2",
        "event": "message",
        "message": "hop paris",
    }


def test_the_fields_of_a_line_are_those_of_its_object() -> None:
    [time, *others] = json.loads(JsonFormatter("", Reader.OTHER).line(20, "chainsocks.session", Said())).items()
    assert others == [("level", "INFO"), ("logger", "chainsocks.session"), ("event", "session"), ("id", "7")]
    assert abs(datetime.fromisoformat(time[1]) - datetime.now(UTC)).days == 0


@pytest.mark.usefixtures("mark")
def test_debugging_lines_name_their_session() -> None:
    plain, as_json = PlainFormatter("", Reader.JOURNAL), JsonFormatter("", Reader.OTHER)
    assert plain.format(record("= open", level=logging.DEBUG)) == "<7>DEBUG id=2-17 = open"
    assert plain.format(record("= open")) == "<4>WARNING = open"
    assert json.loads(as_json.format(record("= open", level=logging.DEBUG)))["id"] == "2-17"
    assert "id" not in json.loads(as_json.format(record("= open")))


@pytest.mark.parametrize("private", [False, True])
def test_a_traceback_has_no_message_where_the_log_is_private(*, private: bool) -> None:
    set_private(private)
    try:
        told = record("where it happened", level=logging.DEBUG, exc_info=failure())
        first, *others = PlainFormatter("", Reader.JOURNAL).format(told).split("\n")
        trace = json.loads(JsonFormatter("", Reader.OTHER).format(told))["traceback"]
    finally:
        set_private(False)
    assert first == "<7>DEBUG where it happened"
    assert all(line.startswith("<7>") for line in others)
    assert others[0] == "<7>Traceback (most recent call last):"
    assert "\n".join(line.removeprefix("<7>") for line in others) == trace
    assert trace.endswith("KeyError" if private else "KeyError: 'canary.example'")


@given(st.text(st.characters() | st.characters(categories=["Cs", "Cc", "Zl", "Zp"])))
def test_a_line_is_one_line_whatever_it_says(text: str) -> None:
    for reader in Reader:
        plain = PlainFormatter("", reader).format(record("%s", text, level=logging.INFO))
        assert plain.isprintable()
    formatter = JsonFormatter("", Reader.OTHER)
    for line in (formatter.format(record("%s", text)), formatter.line(20, "session", Said(values={"message": text}))):
        assert line.isascii()
        assert line.isprintable()
        json.loads(line)["message"].encode("utf-8")  # no lone surrogate is left


def test_what_json_has_no_number_for_is_a_bug() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        JsonFormatter("", Reader.OTHER).line(20, "session", Said(values={"duration": float("inf")}))


@pytest.mark.parametrize(
    ("environment", "reader"),
    [
        ({"TERM": "xterm"}, Reader.TERMINAL),
        ({"TERM": "dumb"}, Reader.OTHER),
        ({}, Reader.OTHER),
        ({"TERM": "xterm", "NO_COLOR": "1"}, Reader.OTHER),
        ({"TERM": "xterm", "NO_COLOR": ""}, Reader.TERMINAL),
        ({"TERM": "xterm", "JOURNAL_STREAM": "{0.st_dev}:{0.st_ino}"}, Reader.JOURNAL),
        ({"TERM": "xterm", "JOURNAL_STREAM": "{0.st_dev}:1{0.st_ino}"}, Reader.TERMINAL),
    ],
)
def test_what_reads_standard_error(
    monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str], reader: Reader
) -> None:
    ours, terminal = os.openpty()
    for name in ("TERM", "NO_COLOR", "JOURNAL_STREAM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(os.fstat(terminal)))
    with open(terminal, "w", encoding="utf-8") as stream:  # noqa: PTH123 (a descriptor)
        monkeypatch.setattr(sys, "stderr", stream)
        assert Reader.of_standard_error() is reader
        assert make_formatter(LogFormat.PLAIN).reader is reader
    os.close(ours)


def test_standard_error_that_is_a_file_or_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with (tmp_path / "log").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert Reader.of_standard_error() is Reader.OTHER
    assert Reader.of_standard_error() is Reader.OTHER, "closed"
    monkeypatch.setattr(sys, "stderr", None)
    assert Reader.of_standard_error() is Reader.OTHER
