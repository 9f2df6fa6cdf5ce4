"""The tables of the manual: they have every value that there is, and no other."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from dataclasses import fields
from enum import StrEnum

import click
import pytest

import chainsocks
import chainsocks.control.messages as messages
from chainsocks.chain.trip import CONNECT, RESOLVE
from chainsocks.cli import cli
from chainsocks.config.choices import Isolate, Pick, Pipeline
from chainsocks.config.models import Ident, Timeouts
from chainsocks.control.messages import Fault, HopState, What
from chainsocks.errors import Step
from chainsocks.observe.log_formats import JsonFormatter, Reader
from chainsocks.observe.metrics import METRICS
from chainsocks.observe.outcomes import OutcomeKind
from chainsocks.observe.phase import Phase
from chainsocks.observe.record import Record
from chainsocks.protocol.gssapi import Protection
from chainsocks.protocol.handshake import State
from chainsocks.relay.relay import Outcome
from chainsocks.tools.bench.run import Part
from chainsocks.tools.probe.findings import Standing
from tests.manual.pages import MANUAL, Block, blocks, tables

VALUES: dict[tuple[str, str], type[StrEnum] | Iterable[str]] = {
    ("chains-and-groups", "`pick`"): Pick,
    ("pipelining", "`pipeline`"): Pipeline,
    ("tor", "`isolate`"): Isolate,
    ("logins", "`ident`"): Ident,
    ("logins", "protection"): [str(each) for each in Protection if each is not Protection.SELECTIVE],
    ("probe", "state"): Standing,
    ("bench", "part"): Part,
    ("deadlines", "`[timeouts]`"): [field.name for field in fields(Timeouts)],
    ("control", "request"): What,
    ("control", "code"): Fault,
    ("control", "phase"): Phase,
    ("control", "state of a hop"): HopState,
    ("control", "key of status"): [field.name for field in fields(messages.Status)],
    ("control", "key of a worker"): [field.name for field in fields(messages.Worker)],
    ("control", "key of a session"): [field.name for field in fields(messages.Session)],
    ("control", "key of a place"): [field.name for field in fields(messages.Place)],
    ("control", "key of a hop"): [field.name for field in fields(messages.Hop)],
    ("log", "step"): [
        *(RESOLVE, CONNECT, Step.TLS, State.METHOD_NEGOTIATION, State.SUB_NEGOTIATION),
        *(State.GSSAPI_CONTEXT, State.GSSAPI_PROTECTION, State.REQUEST, State.SECOND_REPLY),
    ],
    ("log", "`kind`"): OutcomeKind,
    ("web", "metric"): list(METRICS),
    ("control", "key of a worker's metrics"): ["worker", "metrics", "chains", "failures"],
}
"""By page and first heading of a table: the values in its first column, in their order."""

COMMANDS = re.split(r"^## ", (MANUAL / "commands.md").read_text("utf-8"), flags=re.MULTILINE)[1:]


def table(page: str, heading: str) -> list[list[str]]:
    [found] = [rows for rows in tables(MANUAL / f"{page}.md") if rows[0][0] == heading]
    return found[1:]


def words(cell: str) -> list[str]:
    return [code.strip('"') for code in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize(("page", "heading"), VALUES, ids=lambda part: part.strip("`"))
def test_a_table_has_every_value(page: str, heading: str) -> None:
    listed = [word for row in table(page, heading) for word in words(row[0])]
    assert listed == [str(value) for value in VALUES[page, heading]]


def test_every_limit_has_its_default() -> None:
    defaults = {row[0].strip("`"): float(row[1]) for row in table("deadlines", "`[timeouts]`")}
    assert defaults == {field.name: field.default for field in fields(Timeouts)}


def test_every_metric_has_its_type_and_labels() -> None:
    for name, kind, labels, _ in table("web", "metric"):
        metric = METRICS[name.strip("`")]
        assert (kind, tuple(words(labels))) == (metric.kind, metric.all_labels)


def test_every_outcome_of_a_relay_is_listed() -> None:
    listed = {word for row in table("log", "outcome") for word in words(row[0])}
    assert {str(outcome) for outcome in Outcome} <= listed


async def test_every_field_of_a_line_is_listed() -> None:
    line = str(Record("192.0.2.1:5555", warm=True, rule="1"))
    listed = [word for row in table("log", "field") for word in words(row[0])]
    found = re.findall(r"(?:^| )(\w+)=", line)
    assert [name for name in listed if name not in {"user", "hops"}] == found


def test_every_error_of_a_dial_is_listed() -> None:
    listed = {word for row in table("library", "error") for word in words(row[0])}
    public = (getattr(chainsocks, name) for name in chainsocks.__all__)
    errors = (each for each in public if isinstance(each, type) and issubclass(each, chainsocks.DialError))
    assert listed == {error.__name__ for error in errors} - {"DialError"}


def test_every_command_has_a_section() -> None:
    titles = [section.partition("\n")[0] for section in COMMANDS]
    named = {title.split()[1].strip("`") for title in titles if title.startswith("`")}
    assert named == set(cli.commands)


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_option_of_a_command_is_listed(name: str) -> None:
    [section] = [section for section in COMMANDS if re.match(rf"`chainsocks {name}\b", section)]
    heads = re.findall(r"^- (`.+?`):", section, re.MULTILINE)
    listed = {word.split()[0] for head in heads for word in words(head)}
    options = (parameter for parameter in cli.commands[name].params if isinstance(parameter, click.Option))
    assert listed == {option for parameter in options for option in parameter.opts}


def test_every_room_is_named() -> None:
    text = (MANUAL / "design.md").read_text("utf-8")
    rooms = {module.parent.name for module in MANUAL.parent.glob("*/__init__.py")}
    modules = {module.name for module in MANUAL.parent.glob("*.py") if module.name != "__init__.py"}
    assert {name for name in rooms | modules if f"`{name}`" not in text} == set()


@pytest.mark.parametrize("block", blocks(MANUAL / "library.md", "python"), ids=str)
def test_the_programs_in_the_manual_can_be_run(block: Block) -> None:
    for library in re.findall(r"^import (httpx|websockets|redis)", block.text, re.MULTILINE):
        pytest.importorskip(library)
    exec(compile(block.text, str(block), "exec"), {})


async def test_every_key_of_a_session_in_json_is_listed() -> None:
    listed = [word for row in table("log", "key of a session") for word in words(row[0])]
    assert listed == [key for key in Record("192.0.2.1:5555").fields() if key != "event"]


def test_every_key_of_a_line_in_json_is_listed() -> None:
    record = logging.makeLogRecord({"name": "chainsocks.server", "levelname": "INFO", "msg": "listening"})
    line = json.loads(JsonFormatter("worker 2", Reader.OTHER).format(record))
    listed = [word for row in table("log", "key of each object") for word in words(row[0])]
    assert listed == [key for key in line if key != "message"]
