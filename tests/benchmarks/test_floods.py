"""Floods: their clients say what they should, and the table says what their victims noticed."""

from __future__ import annotations

import math
import os
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from click.testing import CliRunner

from benchmarks import floods, lab
from benchmarks.flooders import Flood, message
from benchmarks.floods import CASES, Case, Effort, Pair, main, passes, tabulate
from benchmarks.lab import CannotIsolate
from benchmarks.names import answer
from benchmarks.steady import Session
from chainsocks.config.models import Config, User
from chainsocks.config.passwords import PlainPassword
from chainsocks.protocol.address import Address
from chainsocks.tools.bench.target import open_target
from tests.background import running_background

PATIENCE = 20


# --- what the clients of a flood say


def said_to(server: Address, data: bytes, size: int) -> bytes:
    """Say something, and return the first bytes of what is answered; all of it, if that is less."""
    with socket.create_connection((server.host, server.port), PATIENCE) as sock:
        sock.sendall(data)
        heard = b""
        while len(heard) < size and (more := sock.recv(size - len(heard))):
            heard += more
        return heard


def answers_nothing_more(server: Address, data: bytes, expected: bytes) -> bool:
    """Whether only `expected` is answered while the client waits for more."""
    with socket.create_connection((server.host, server.port), PATIENCE) as sock:
        sock.sendall(data)
        heard = b""
        while len(heard) < len(expected):
            heard += sock.recv(len(expected) - len(heard))
        sock.settimeout(0.1)
        try:
            return heard == expected and sock.recv(1) is None
        except TimeoutError:
            return heard == expected


def test_complete_messages() -> None:
    users = (User("known", PlainPassword(b"right")),)
    with running_background() as background, open_target() as target:
        server, with_users = background.proxy(), background.proxy(Config(users=users))
        assert said_to(server, message(Flood.SESSIONS, 1, target.echo), 4) == b"\x05\x00\x05\x00"
        assert said_to(server, message(Flood.UDP, 1, target.echo), 4) == b"\x05\x00\x05\x00"
        assert said_to(with_users, message(Flood.LOGINS, 1, target.echo), 100) == b"\x05\x02\x01\x01"


@pytest.mark.parametrize(
    ("flood", "expected"),
    [
        (Flood.SILENT, b""),
        (Flood.HALF_GREETING, b""),
        (Flood.HALF_LOGIN, b"\x05\x02"),
        (Flood.HALF_REQUEST, b"\x05\x00"),
    ],
)
def test_incomplete_messages(flood: Flood, expected: bytes) -> None:
    users = (User("known", PlainPassword(b"right")),) if flood is Flood.HALF_LOGIN else ()
    with running_background() as background:
        server = background.proxy(Config(users=users))
        assert answers_nothing_more(server, message(flood, 1, Address("127.0.0.1", 9)), expected)


def test_messages_for_what_is_silent() -> None:
    echo = Address("127.0.0.1", 9)
    assert b"n7.dead.test" in message(Flood.NAMES, 7, echo)
    assert message(Flood.NAMES, 7, echo) != message(Flood.NAMES, 8, echo)
    assert message(Flood.NO_ANSWER, 7, echo)[3:] == b"\x05\x01\x00\x01" + socket.inet_aton(lab.SILENT) + b"\0P"


# --- the name server


@pytest.mark.parametrize(("kind", "found"), [("A", ["192.0.2.1"]), ("AAAA", [])])
def test_names_that_are_alive(kind: str, found: Sequence[str]) -> None:
    query = dns.message.make_query("n1.Alive.test", kind)
    data = answer(query.to_wire(), "192.0.2.1")
    assert data
    response = dns.message.from_wire(data)
    assert query.is_response(response)
    assert response.rcode() == dns.rcode.NOERROR
    assert [record.to_text() for records in response.answer for record in records] == found


def test_names_that_are_not() -> None:
    assert answer(dns.message.make_query("n1.dead.test", "A").to_wire(), "192.0.2.1") is None


# --- verdicts


def sessions(*seconds: float) -> list[Session]:
    return [Session(0, 0, each, "", "" if each < math.inf else "it broke") for each in seconds]


QUIET = sessions(*[0.02] * 100)


@pytest.mark.parametrize(
    ("beside", "verdict"),
    [
        (sessions(*[0.03] * 100), True),
        (sessions(*[0.04] * 100), True),
        (sessions(*[0.041] * 100), False),
        (sessions(*[0.03] * 99, 5), True),
        (sessions(*[0.03] * 98, 5, 5), False),
        (sessions(*[0.03] * 99, math.inf), False),
    ],
)
def test_verdicts(beside: Sequence[Session], verdict: bool) -> None:  # noqa: FBT001
    assert passes([Pair(QUIET, beside, 0.0)]) is verdict


def test_what_is_below_the_limit_passes_whatever_its_ratio() -> None:
    assert passes([Pair(sessions(*[0.001] * 100), sessions(*[0.019] * 100), 0.0)])


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    pairs = [Pair(QUIET, sessions(*[each] * 100), 0.0) for each in (0.03, 0.03, 5)]
    assert passes(pairs)
    assert not passes([*pairs, *pairs[2:], *pairs[2:]])


def test_the_table() -> None:
    good = [Pair(sessions(*[0.02] * 100), sessions(*[0.03] * 100), 0.0125)]
    bad = [Pair(sessions(0.5, math.inf), sessions(0.5, math.inf, math.inf), 0.0)]
    lines = tabulate({"silent": good, "dead names": bad}).splitlines()
    cells = [re.split(r"  +", line) for line in lines]
    assert cells[1] == ["silent", "20.0", "20.0", "30.0", "30.0", "1.50", "0", "100", "1.2%", "passes"]
    assert cells[2] == ["dead names", "500.0", "inf", "inf", "inf", "1.00", "2", "3", "0.0%", "FAILS"]
    assert lines[3:] == ["dead names: 2 x it broke", "dead names: 1 sessions failed without the flood"]
    assert "| silent" in tabulate({"silent": good}, markdown=True)


# --- the command


def run_with(monkeypatch: pytest.MonkeyPatch, beside: Sequence[Session], *arguments: str) -> tuple[int, list[str]]:
    ran: list[str] = []

    def run(cases: Sequence[Case], effort: Effort, folder: Path) -> dict[str, list[Pair]]:
        assert folder.is_dir()
        assert effort.rounds == (1 if "--smoke" in arguments else 9)
        ran.extend(case.name for case in cases)
        return {case.name: [Pair(QUIET, beside, 0.0)] for case in cases}

    monkeypatch.setattr(floods, "enter", lambda *_: None)
    monkeypatch.setattr(floods, "run", run)
    return CliRunner().invoke(main, arguments).exit_code, ran


def test_the_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_with(monkeypatch, QUIET) == (0, [case.name for case in CASES])
    assert run_with(monkeypatch, sessions(math.inf), "--only", "silent") == (1, ["silent"])
    assert run_with(monkeypatch, sessions(math.inf), "--smoke")[0] == 0


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["--smoke"], 0)])
def test_where_there_are_no_namespaces(arguments: Sequence[str], status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def enter(*_: object) -> None:
        raise CannotIsolate("there is no ip (iproute2) here")

    monkeypatch.setattr(floods, "enter", enter)
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == status
    assert "skipped: there is no ip (iproute2) here" in done.output


def test_programs_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv(lab.INSIDE, raising=False)
    with pytest.raises(CannotIsolate, match=r"no unshare \(util-linux\), no nsenter .* no ip \(iproute2\) here"):
        lab.enter("benchmarks.floods", [])
    monkeypatch.setenv(lab.INSIDE, "yes")
    lab.enter("benchmarks.floods", [])


@pytest.mark.measure
def test_all_of_it() -> None:
    environment = {name: value for name, value in os.environ.items() if name != lab.INSIDE}
    command = [sys.executable, "-m", "benchmarks.floods", "--smoke"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if "skipped" in done.stderr:
        pytest.skip(done.stderr)
    for case in CASES:
        assert re.search(rf"^{case.name}  .* (passes|FAILS)$", done.stdout, re.MULTILINE)
