"""Every fault, at every step, of every hop of a chain of three: what the client gets, when, and whom the log blames.

That holds for a connection, for both replies of a BIND, for the associations that datagrams need at every hop, and for
what a last hop is asked to look up. It holds for hops that want a password, and for those that want GSSAPI and have
everything in capsules from then on.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import pytest
import trio

from chainsocks.chain.trip import CONNECT
from chainsocks.config.chains import Chain
from chainsocks.config.choices import Pipeline
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Config
from chainsocks.errors import Step
from chainsocks.protocol.address import Address
from chainsocks.protocol.gssapi import Gssapi, Protection
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command
from tests.hops import Fault, Trouble, add_hop, make_hop
from tests.mechanism import FakeMechanism
from tests.memory import Host, MemoryNetwork
from tests.session.asking import DESTINATION, NAMES, TIMEOUTS, ask_a_session, echo

CONTEXT, LEVEL = State.GSSAPI_CONTEXT, State.GSSAPI_PROTECTION
METHOD, LOGIN, REQUEST = State.METHOD_NEGOTIATION, State.SUB_NEGOTIATION, State.REQUEST
SECOND = State.SECOND_REPLY


@dataclass(frozen=True)
class Case:
    """What comes of a fault: at which step it is found, after how many seconds, and what the client is told."""

    step: str
    fault: Fault
    found: State | Step
    seconds: float
    code: int
    says: str


CASES = (
    Case(METHOD, Fault.MUTE, METHOD, 1.5, 0x06, "no complete answer"),
    Case(METHOD, Fault.DRIP, METHOD, 1.5, 0x06, "no complete answer"),
    Case(METHOD, Fault.RESET, METHOD, 0, 0x01, "the connection was reset"),
    Case(METHOD, Fault.FIN, METHOD, 0, 0x01, "closed during the method negotiation"),
    Case(METHOD, Fault.GARBAGE, METHOD, 0, 0x01, "looks like an HTTP server's answer"),
    Case(METHOD, Fault.REFUSAL, METHOD, 0, 0x01, "accepts neither username/password nor clients without a login"),
    Case(LOGIN, Fault.MUTE, LOGIN, 1.5, 0x06, "no complete answer"),
    Case(LOGIN, Fault.DRIP, LOGIN, 1.5, 0x06, "no complete answer"),
    Case(LOGIN, Fault.RESET, LOGIN, 0, 0x01, "the connection was reset"),
    Case(LOGIN, Fault.FIN, LOGIN, 0, 0x01, "closed during the username/password sub-negotiation"),
    Case(LOGIN, Fault.GARBAGE, LOGIN, 0, 0x01, "the answer to the login has version 72"),
    Case(LOGIN, Fault.REFUSAL, LOGIN, 0, 0x01, "refused our username and password"),
    Case(REQUEST, Fault.MUTE, REQUEST, 1.5, 0x06, "no complete answer"),
    Case(REQUEST, Fault.DRIP, REQUEST, 1.5, 0x06, "no complete answer"),
    Case(REQUEST, Fault.RESET, REQUEST, 0, 0x01, "the connection was reset"),
    Case(REQUEST, Fault.FIN, REQUEST, 0, 0x01, "closed during the request"),
    Case(REQUEST, Fault.GARBAGE, REQUEST, 0, 0x01, "the reply has version 72"),
    Case(REQUEST, Fault.REFUSAL, REQUEST, 0, 0x01, "connection refused (05)"),
)

# What the TCP connect to a hop meets is our own finding for the first hop only. For the others it is the hop before
# that connects, and all we know is its answer to our request.
FIRST_CONNECT = (
    Case(CONNECT, Fault.MUTE, CONNECT, 4, 0x06, "no answer"),
    Case(CONNECT, Fault.DRIP, CONNECT, 4, 0x06, "no answer"),
    Case(CONNECT, Fault.RESET, CONNECT, 0, 0x01, "connection reset by peer"),
    Case(CONNECT, Fault.FIN, METHOD, 0, 0x01, "closed during the method negotiation"),
    Case(CONNECT, Fault.GARBAGE, METHOD, 0, 0x01, "looks like an HTTP server's answer"),
    Case(CONNECT, Fault.REFUSAL, CONNECT, 0, 0x01, "connection refused"),
)
LATER_CONNECT = (
    Case(CONNECT, Fault.MUTE, REQUEST, 1.5, 0x06, "no complete answer"),
    Case(CONNECT, Fault.DRIP, REQUEST, 1.5, 0x06, "no complete answer"),
    Case(CONNECT, Fault.RESET, REQUEST, 0, 0x01, "it could not reach {next} at 10.0.0.{position}:1080"),
    Case(CONNECT, Fault.FIN, METHOD, 0, 0x01, "closed during the method negotiation"),
    Case(CONNECT, Fault.REFUSAL, REQUEST, 0, 0x01, "it could not reach {next} at 10.0.0.{position}:1080"),
    # The garbage came through, glued to the reply of the hop before: which is then the one that spoke out of turn.
    Case(CONNECT, Fault.GARBAGE, METHOD, 0, 0x01, "looks like an HTTP server's answer"),
)


SECOND_REPLY = (
    Case(SECOND, Fault.MUTE, SECOND, 7, 0x06, "no peer connected"),
    Case(SECOND, Fault.DRIP, SECOND, 7, 0x06, "no peer connected"),
    Case(SECOND, Fault.RESET, SECOND, 1, 0x01, "the connection was reset"),
    Case(SECOND, Fault.FIN, SECOND, 1, 0x01, "closed during the second reply"),
    Case(SECOND, Fault.GARBAGE, SECOND, 1, 0x01, "the reply has version 72"),
    Case(SECOND, Fault.REFUSAL, SECOND, 1, 0x05, "refused example.org:80: connection refused (05)"),
)
"""A BIND meets the other faults up to its first reply, and these at its second."""

AHEAD = {"accepts neither username/password nor clients without a login": "the only method that is offered"}
"""What is said otherwise where messages are sent ahead of the answers: one method is offered then."""

GSSAPI_CASES = (
    *(case for case in CASES if case.step == METHOD and case.fault is not Fault.REFUSAL),
    Case(METHOD, Fault.REFUSAL, METHOD, 0, 0x01, "it does not accept GSSAPI"),
    Case(CONTEXT, Fault.MUTE, CONTEXT, 1.5, 0x06, "no complete answer"),
    Case(CONTEXT, Fault.DRIP, CONTEXT, 1.5, 0x06, "no complete answer"),
    Case(CONTEXT, Fault.RESET, CONTEXT, 0, 0x01, "the connection was reset"),
    Case(CONTEXT, Fault.FIN, CONTEXT, 0, 0x01, "closed during the GSSAPI context"),
    Case(CONTEXT, Fault.GARBAGE, CONTEXT, 0, 0x01, "a GSSAPI message has version 72"),
    Case(CONTEXT, Fault.REFUSAL, CONTEXT, 0, 0x01, "it ended the GSSAPI exchange with an abort"),
    Case(LEVEL, Fault.MUTE, LEVEL, 1.5, 0x06, "no complete answer"),
    Case(LEVEL, Fault.DRIP, LEVEL, 1.5, 0x06, "no complete answer"),
    Case(LEVEL, Fault.RESET, LEVEL, 0, 0x01, "the connection was reset"),
    Case(LEVEL, Fault.FIN, LEVEL, 0, 0x01, "closed during the GSSAPI protection level"),
    Case(LEVEL, Fault.GARBAGE, LEVEL, 0, 0x01, "a GSSAPI message has version 72"),
    Case(LEVEL, Fault.REFUSAL, LEVEL, 0, 0x01, "it ended the GSSAPI exchange with an abort"),
)
IN_CAPSULES = (
    *(case for case in CASES if case.step == REQUEST and case.fault is not Fault.GARBAGE),
    Case(REQUEST, Fault.GARBAGE, REQUEST, 0, 0x01, "a GSSAPI message has version 72"),
)
SECOND_IN_A_CAPSULE = (
    *(case for case in SECOND_REPLY if case.fault is not Fault.GARBAGE),
    Case(SECOND, Fault.GARBAGE, SECOND, 1, 0x01, "a GSSAPI message has version 72"),
)

LIMITS: dict[State | Step, float] = {CONNECT: TIMEOUTS.connect, SECOND: TIMEOUTS.bind}


def cases_of(command: Command, position: int, login: Gssapi | None) -> Iterator[Case]:
    """What may go wrong at a hop."""
    yield from FIRST_CONNECT if position == 1 else LATER_CONNECT
    has_second = command is Command.BIND and position == 3
    if login is None:
        yield from CASES + (SECOND_REPLY if has_second else ())
        return
    yield from GSSAPI_CASES
    if login.protection:
        yield from IN_CAPSULES + (SECOND_IN_A_CAPSULE if has_second else ())


LOGINS = {
    "password": (None, tuple(Command)),
    "gssapi": (
        Gssapi(Protection.INTEGRITY),
        tuple(command for command in Command if command is not Command.UDP_ASSOCIATE),
    ),
    "gssapi-unprotected": (Gssapi(Protection.NONE), (Command.UDP_ASSOCIATE,)),
}
"""What the hops want, and what can be asked of them then."""

Scenario = tuple[Command, int, Case, Gssapi | None, Pipeline]


def scenarios() -> Iterator[tuple[str, Scenario]]:
    """All that can go wrong with a CONNECT, one thing after the other.

    The steps are the same code for other commands and in pipelines: there, one fault is drawn for each step of each
    hop. A login by GSSAPI goes in order whatever the chain says, which one command shows.
    """
    draw = random.Random(10)
    for name, (login, commands) in LOGINS.items():
        for command in commands:
            for pipeline in (Pipeline.OFF,) if login and command is not Command.CONNECT else Pipeline:
                for position, where in enumerate(NAMES, 1):
                    cases = list(cases_of(command, position, login))
                    if command is not Command.CONNECT or pipeline is not Pipeline.OFF:
                        by_step = groupby(cases, key=lambda case: case.step)
                        cases = [draw.choice(list(of_step)) for _, of_step in by_step]
                    for case in cases:
                        scenario = command, position, case, login, pipeline
                        yield f"{name}-{command.name}-{where}-{case.step}-{case.fault}-{pipeline}", scenario


SCENARIOS = dict(scenarios())


@pytest.mark.parametrize(("command", "position", "case", "login", "pipeline"), SCENARIOS.values(), ids=SCENARIOS)
async def test_a_fault_is_answered_in_time_and_blamed_on_its_hop(
    command: Command,
    position: int,
    case: Case,
    login: Gssapi | None,
    pipeline: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    FakeMechanism().install(monkeypatch)
    network = MemoryNetwork(nursery, {DESTINATION: Host(echo)})
    hops = [replace(make_hop(number, login=login), tor=True) for number in (1, 2, 3)]
    for number, hop in enumerate(hops, 1):
        add_hop(network, hop, Trouble(case.step, case.fault) if number == position else None)
    blamed = position - 1 if case.step == CONNECT and case.found == REQUEST else position

    reply, seconds = await ask_a_session(
        network, Config(timeouts=TIMEOUTS, chains={"default": Chain(*hops, pipeline=pipeline)}), command=command
    )

    # Every hop is the last one of the way to its own association.
    is_last = position == 3 or command is Command.UDP_ASSOCIATE
    passed_on = case.step == REQUEST and case.fault is Fault.REFUSAL and is_last
    first = b"\x05\x00\x00\x01\x0a\x00\x00\x03\xc3\x51" if case.step == SECOND else b""
    assert reply == first + bytes((5, 5 if passed_on else case.code, 0, 1, 0, 0, 0, 0, 0, 0))
    assert seconds == case.seconds
    [record] = caplog.records
    line = record.getMessage().replace('\\"', '"')
    assert " 0.0.0.0:0" not in line.partition("outcome=")[2], "nobody asked for that"
    assert f"hop {NAMES[blamed - 1]} ({blamed} of 3) at 10.0.0.{blamed}:1080, {case.found}: " in line
    says = case.says if pipeline is Pipeline.OFF else AHEAD.get(case.says, case.says)
    assert says.format(next=NAMES[position - 1], position=position) in line
    assert f"({case.seconds:.2f} s of {LIMITS.get(case.found, TIMEOUTS.hop):g} s)" in line


@pytest.mark.parametrize("step", [METHOD, LOGIN, REQUEST])
@pytest.mark.parametrize("position", [1, 2, 3])
@pytest.mark.parametrize("pipeline", Pipeline)
async def test_a_reset_that_overtakes_answers_is_blamed_as_far_as_it_is_known(
    pipeline: Pipeline,
    position: int,
    step: State,
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where messages are sent ahead, a hop may reset behind its first answers, and a reset takes along what is unread.

    The table above has the resets that come when those have been read. With ``hop`` an earlier step of the same hop may
    be blamed instead, and with ``chain`` an earlier hop, whose reply was on its way when it was reset itself.
    """
    caplog.set_level(logging.INFO, "chainsocks")
    network = MemoryNetwork(nursery, {DESTINATION: Host(echo)})
    hops = [make_hop(number) for number in (1, 2, 3)]
    for number, hop in enumerate(hops, 1):
        add_hop(network, hop, Trouble(step, Fault.OVERTAKING) if number == position else None)

    reply, _ = await ask_a_session(
        network, Config(timeouts=TIMEOUTS, chains={"default": Chain(*hops, pipeline=pipeline)})
    )

    assert reply == b"\x05\x01\x00\x01\0\0\0\0\0\0"
    line = caplog.records[0].getMessage()
    found = re.search(r"hop \w+ \((\d) of 3\) at [0-9.:]+, ([^:]+): the connection was reset", line)
    assert found, line
    blamed, at = int(found[1]), found[2]
    steps = (METHOD, LOGIN, REQUEST)
    match pipeline:
        case Pipeline.OFF:
            assert (blamed, at) == (position, step)
        case Pipeline.HOP:
            assert blamed == position
            assert at in steps[: steps.index(step) + 1]
        case Pipeline.CHAIN:
            assert (blamed, steps.index(State(at))) <= (position, steps.index(step))


@pytest.mark.parametrize("pipeline", [Pipeline.OFF, Pipeline.CHAIN])
@pytest.mark.parametrize("protocol", [HopProtocol.SOCKS4, HopProtocol.SOCKS4A])
@pytest.mark.parametrize("position", [1, 2, 3])
@pytest.mark.parametrize(
    "case",
    [
        Case(REQUEST, Fault.MUTE, REQUEST, 1.5, 91, "no complete answer"),
        Case(REQUEST, Fault.DRIP, REQUEST, 1.5, 91, "no complete answer"),
        Case(REQUEST, Fault.RESET, REQUEST, 0, 91, "the connection was reset"),
        Case(REQUEST, Fault.FIN, REQUEST, 0, 91, "closed during the request"),
        Case(REQUEST, Fault.GARBAGE, REQUEST, 0, 91, "looks like an HTTP server's answer"),
        Case(REQUEST, Fault.REFUSAL, REQUEST, 0, 91, "general SOCKS server failure (01)"),
    ],
    ids=lambda case: case.fault,
)
async def test_the_same_holds_for_socks4_hops_and_a_socks4_client(
    pipeline: Pipeline,
    protocol: HopProtocol,
    position: int,
    case: Case,
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    network = MemoryNetwork(nursery, {Address("10.9.9.9", 80): Host(echo)})
    hops = [make_hop(number, protocol) for number in (1, 2, 3)]
    for number, hop in enumerate(hops, 1):
        add_hop(network, hop, Trouble(case.step, case.fault) if number == position else None)
    config = Config(timeouts=TIMEOUTS, chains={"default": Chain(*hops, pipeline=pipeline)})

    reply, seconds = await ask_a_session(network, config, b"\x04\x01\x00\x50\x0a\x09\x09\x09\x00")

    assert reply == bytes((0, case.code, 0, 0, 0, 0, 0, 0))
    assert seconds == case.seconds
    line = caplog.records[0].getMessage()
    assert f"hop {NAMES[position - 1]} ({position} of 3)" in line
    assert case.says in line
