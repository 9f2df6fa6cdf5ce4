"""The log: plain lines on standard error."""

from __future__ import annotations

import contextvars
import json
import logging
import re
from dataclasses import dataclass

import pytest

from chainsocks.config.log_settings import LogFormat, LogSettings, Privacy
from chainsocks.observe.log import change_logging, flush_log, restart_logging, start_logging, write_line
from chainsocks.observe.log_repeats import FIRST
from chainsocks.observe.privacy import is_private
from chainsocks.observe.record import Record


@pytest.fixture(autouse=True)
def logger(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    """The root of our loggers; it is as before when the test is over."""
    logger = logging.getLogger("chainsocks")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "level", logger.level)
    return logger


def test_a_line_says_when_how_bad_and_what(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(logging.INFO)
    logging.getLogger("chainsocks.session").info("id=%d", 7)
    flush_log()
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO id=7\n", err)


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        pytest.param(logging.DEBUG, "DEBUG INFO WARNING ERROR", id="verbose"),
        pytest.param(logging.INFO, "INFO WARNING ERROR", id="normal"),
        pytest.param(logging.WARNING, "WARNING ERROR", id="quiet"),
    ],
)
def test_the_level_decides(capsys: pytest.CaptureFixture[str], level: int, shown: str) -> None:
    start_logging(level)
    for each in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger("chainsocks.dial").log(each, "...")
    flush_log()
    assert " ".join(line.split()[2] for line in capsys.readouterr().err.splitlines()) == shown


def test_other_loggers_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:]
    start_logging(logging.DEBUG)
    logging.getLogger("somebody.else").info("...")
    assert logging.getLogger().handlers == before
    flush_log()
    assert capsys.readouterr().err == ""


def test_starting_twice_does_not_double_the_lines(capsys: pytest.CaptureFixture[str], logger: logging.Logger) -> None:
    start_logging(logging.DEBUG)
    start_logging(logging.INFO)
    logger.info("once")
    logger.debug("not at all")
    flush_log()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_name_of_the_process_begins_every_line_from_now_on(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(logging.INFO)
    for process in ("", "worker 2", ""):
        flush_log()
        restart_logging(process)
        logging.getLogger("chainsocks.server").info("id=%d", 7)
    flush_log()
    lines = [line.split(" ", 2)[2] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["INFO id=7", "INFO worker 2: id=7", "INFO id=7"]


def test_debugging_lines_begin_with_the_id_of_their_session(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(logging.DEBUG)
    logger = logging.getLogger("chainsocks.dial")

    def serve() -> None:
        Record("client", 7, 0.0).mark_debug_lines()
        logger.debug("= %s", "hop paris")
        logger.warning("slow")

    contextvars.copy_context().run(serve)
    logger.debug("of no session")
    flush_log()
    lines = [line.split(" ", 2)[2] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["DEBUG id=7 = hop paris", "WARNING slow", "DEBUG of no session"]


@dataclass(frozen=True)
class Said:
    """A line that is logged without a record."""

    text: str
    likeness: str = "said"

    def __str__(self) -> str:
        return self.text

    def fields(self) -> dict[str, object]:
        return {"event": "said", "text": self.text}


def without_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away pytest's own handlers, beside which the lines of sessions are records like others."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])


def test_settings_change_while_lines_are_written(
    capsys: pytest.CaptureFixture[str], logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_pytest(monkeypatch)
    start_logging(logging.INFO)
    restart_logging("worker 2")
    write_line(logger, logging.INFO, Said("one"))
    change_logging(LogSettings(LogFormat.JSON, Privacy.FULL))
    assert is_private()
    write_line(logger, logging.INFO, Said("two"))
    logger.warning("three")
    change_logging(LogSettings())
    assert not is_private()
    logger.info("four")
    flush_log()
    one, *two_and_three, four = capsys.readouterr().err.splitlines()
    assert [line.split(" ", 2)[2] for line in (one, four)] == ["INFO worker 2: one", "INFO worker 2: four"]
    two, three = map(json.loads, two_and_three)
    assert (two["event"], two["text"], two["process"]) == ("said", "two", "worker 2")
    assert (three["event"], three["message"], three["level"]) == ("message", "three", "WARNING")


def test_repeated_warnings_are_limited_by_their_template_and_subject(
    capsys: pytest.CaptureFixture[str], logger: logging.Logger
) -> None:
    start_logging(logging.INFO)
    for number in range(FIRST + 5):
        logger.warning("number %d", number)
        logger.info("number %d", number)
        logger.warning("%s", f"problem {number}")
        logger.warning("hop %s", "paris", extra={"subject": f"paris {number}"})
    flush_log()
    lines = [line.split(" ", 2)[2] for line in capsys.readouterr().err.splitlines()]
    assert [line for line in lines if line.startswith("WARNING number")] == [
        f"WARNING number {number}" for number in range(FIRST)
    ]
    for other in ("INFO number", "WARNING problem", "WARNING hop"):
        assert sum(line.startswith(other) for line in lines) == FIRST + 5
    assert lines[-1] == f"WARNING and 5 more like this in 0 s: number {FIRST - 1}"


@pytest.mark.parametrize(
    ("level", "written"),
    [
        pytest.param(logging.INFO, 2 * FIRST, id="each-session-has-its-line"),
        pytest.param(logging.WARNING, FIRST + 1, id="quiet"),
    ],
)
def test_lines_of_sessions_are_limited_where_not_each_session_has_one(
    capsys: pytest.CaptureFixture[str],
    logger: logging.Logger,
    monkeypatch: pytest.MonkeyPatch,
    level: int,
    written: int,
) -> None:
    without_pytest(monkeypatch)
    start_logging(level, LogSettings(LogFormat.JSON))
    for number in range(2 * FIRST):
        write_line(logger, logging.WARNING, Said(f"failed {number}"))
    flush_log()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(lines) == written
    if level == logging.WARNING:
        assert lines[-1]["event"] == "repeated"
        assert (lines[-1]["more"], lines[-1]["like"]) == (FIRST, f"failed {FIRST - 1}")
