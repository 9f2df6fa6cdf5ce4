"""The log: plain lines on standard error."""

from __future__ import annotations

import contextvars
import logging
import re

import pytest

from chainsocks.observe.log import flush_log, restart_logging, start_logging
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


def test_a_label_begins_every_line_from_now_on(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(logging.INFO)
    for label in ("", "worker 2: ", ""):
        flush_log()
        restart_logging(label)
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
