"""The one line that a session leaves in the log."""

from __future__ import annotations

import json
import logging
import re

import pytest
import trio

from chainsocks.config.chains import Chain
from chainsocks.errors import Cause, HopRefused, Place
from chainsocks.observe.log import current_session
from chainsocks.observe.outcomes import Failure, OutcomeKind
from chainsocks.observe.privacy import set_private
from chainsocks.observe.record import Record, prefix_ids, sessions_begun
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command, Request, UserId, UsernamePassword, Version


async def test_a_session_that_never_came_to_a_request(autojump_clock: trio.testing.MockClock) -> None:
    record = Record("192.0.2.1:5555")
    await trio.sleep(1.5)
    assert re.sub(r"id=\d+", "id=N", str(record)) == (
        "id=N client=192.0.2.1:5555 command=- destination=- chain=- reply=- up=0 down=0 duration=1.500 "
        'outcome="ended by a bug in chainsocks"'
    )


async def test_a_whole_session(autojump_clock: trio.testing.MockClock) -> None:
    request = Request(Version.SOCKS5, Command.CONNECT, Address("::1", 443), UsernamePassword(b"carol", b"sesame"))
    record = Record("192.0.2.1:5555", 7, 0.0, request, Chain(name="my chain"), 0, 'said "no"', up=10, down=20)
    assert str(record) == (
        'id=7 client=192.0.2.1:5555 command=CONNECT destination=[::1]:443 chain="my chain" reply=00 up=10 down=20 '
        'duration=0.000 outcome="said \\"no\\""'
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("carol@EXAMPLE.ORG", "carol@EXAMPLE.ORG"),
        ("a b=c@X", '"a b=c@X"'),
        ("\n@X", r"\n@X"),
        ("\udcff@X", r"\udcff@X"),
    ],
)
async def test_an_identity_is_shown(name: str, shown: str) -> None:
    request = Request(Version.SOCKS5, Command.CONNECT, Address("::1", 443))
    record = Record("192.0.2.1:5555", request=request, user=name)
    assert f" client=192.0.2.1:5555 user={shown} command=CONNECT " in str(record)


@pytest.mark.parametrize("host", ["evil\nid=8 reply=00", 'a b"c', "x=y", "\x1b[31mred", "caf\udce9"])
async def test_a_destination_cannot_forge_a_line_or_a_field(host: str) -> None:
    request = Request(Version.SOCKS4, Command.CONNECT, Address(host, 80), UserId(b"fred"))
    line = str(Record("client", request=request))
    assert line.isprintable()
    assert line.count(" reply=") - line.count('"' + line.split("destination=")[1].split(" chain=")[0].strip('"')) <= 1
    assert re.search(r' destination=("(\\.|[^"\\])*"|[^ ="]+) chain=- ', line)
    assert "fred" not in line


async def test_each_session_has_a_number_of_its_own() -> None:
    assert Record("a").id < Record("b").id


async def test_an_id_says_which_process_it_is_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainsocks.observe.record._prefix", "")
    prefix_ids("3-")
    assert str(Record("a", 17)).startswith("id=3-17 client=a ")


@pytest.mark.parametrize(
    ("kind", "level", "levels"),
    [
        pytest.param(OutcomeKind.REFUSED, logging.INFO, [logging.INFO], id="in-order"),
        pytest.param(OutcomeKind.REFUSED, logging.WARNING, [], id="in-order-quiet"),
        pytest.param(OutcomeKind.DIAL_FAILED, logging.INFO, [logging.WARNING], id="failed"),
        pytest.param(OutcomeKind.DIAL_FAILED, logging.WARNING, [logging.WARNING], id="failed-quiet"),
    ],
)
async def test_the_line_of_a_failed_session_is_a_warning(
    kind: OutcomeKind, level: int, levels: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(level, "chainsocks.session")
    Record("client", kind=kind).write(trio.current_time())
    assert [record.levelno for record in caplog.records] == levels


@pytest.mark.parametrize(("level", "mark"), [(logging.DEBUG, "7"), (logging.INFO, "")])
async def test_debugging_lines_of_its_task_and_of_those_that_it_starts_name_it(
    level: int, mark: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(level, "chainsocks.session")
    marks: list[str] = []

    async def attempt() -> None:
        await trio.lowlevel.checkpoint()
        marks.append(current_session.get())

    async def serve(record: Record) -> None:
        record.mark_debug_lines()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attempt)
        marks.append(current_session.get())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, Record("client", 7))
    assert marks == [mark, mark]
    assert current_session.get() == ""


async def test_the_fields_for_programs(autojump_clock: trio.testing.MockClock) -> None:
    request = Request(Version.SOCKS5, Command.CONNECT, Address("::1", 443), UsernamePassword(b"carol", b"sesame"))
    place = Place("paris", Address("10.0.0.1", 1080), State.REQUEST, 1, 1)
    error = HopRefused(place, "no", Cause.REFUSED, code=5, elapsed=1, limit=2)
    record = Record("192.0.2.1:5555", 7, 0.0, request, Chain("socks5://10.0.0.1", name="out"), 5, "no", up=10, down=20)
    record.user, record.rule, record.failure = "carol", "3", Failure.of(error)
    record.kind = OutcomeKind.DIAL_FAILED
    assert json.loads(json.dumps(record.fields())) == {
        "event": "session",
        "id": "7",
        "client": "192.0.2.1:5555",
        "user": "carol",
        "command": "CONNECT",
        "destination": "[::1]:443",
        "chain": "out",
        "hops": None,
        "warm": False,
        "rule": 3,
        "reply": 5,
        "up": 10,
        "down": 20,
        "duration": 0.0,
        "kind": "dial_failed",
        "hop": "paris",
        "step": "request",
        "cause": "refused",
        "outcome": "no",
    }
    empty = Record("unix").fields()
    assert empty.keys() == record.fields().keys()
    assert {key for key, value in empty.items() if value is None} == {
        *("user", "command", "destination", "chain", "hops", "rule", "reply", "cause", "hop", "step")
    }


async def test_sessions_that_failed_alike_are_of_one_kind() -> None:
    osaka = Failure("osaka", State.REQUEST, Cause.TIMED_OUT)
    failures = (osaka, osaka._replace(), osaka._replace(hop="lima"), None)
    likenesses = [Record(str(each), failure=each).likeness for each in failures]
    assert likenesses[0] == likenesses[1]
    assert len({*likenesses}) == 3


async def test_a_private_line_names_no_client_user_or_destination() -> None:
    request = Request(Version.SOCKS5, Command.CONNECT, Address("canary.example", 443))
    record = Record("192.0.2.1:5555", 7, user="carol", request=request, outcome="finished", rule="3")
    whole = f"{record} {record.who} {record.fields()}"
    set_private(True)
    try:
        line, fields = str(record), record.fields()
        assert line.startswith("id=7 client=- command=CONNECT destination=- chain=- rule=3 reply=- ")
        assert record.who == "session 7:"
    finally:
        set_private(False)
    assert fields.keys() == record.fields().keys()
    for canary in ("192.0.2.1", "carol", "canary.example"):
        assert canary in whole
        assert canary not in f"{line} {fields}"


async def test_the_sessions_that_have_begun_are_counted_by_their_ids() -> None:
    before = sessions_begun()
    assert sessions_begun() == before
    records = [Record("a client") for _ in range(3)]
    assert sessions_begun() == before + len(records)
    assert records[-1].id == sessions_begun()
