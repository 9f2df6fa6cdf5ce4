"""Mixed sessions: those through a right server are content, and what is wrong is in the exit status."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from benchmarks import mixed
from benchmarks.behaviour import HOPS, make_plan
from benchmarks.mixed import (
    Load,
    Order,
    Sample,
    Server,
    expected_lines,
    growth,
    main,
    table_of_servers,
    table_of_sessions,
    wrong_lines,
)
from chainsocks.protocol.address import Address
from tests.background import Handler, running_background

SEED = 3
GRANTED = b"\x05\x00\x00\x01" + bytes(6)


def numbers(version: int, count: int) -> list[int]:
    """The first sessions of a version."""
    return [number for number in range(1000) if make_plan(SEED, number).version == version][:count]


def test_sessions_through_a_server_that_is_right() -> None:
    with running_background() as background:
        front = background.proxy()
        load = Load(SEED, dict.fromkeys(HOPS, front), largest=5000)
        trio.run(load.run, range(40))
    assert load.failures == {}
    assert sorted(plan.number for plan in load.played) == list(range(40))


async def refuse(stream: trio.SocketStream) -> None:
    """Grant no SOCKS5 request."""
    await stream.send_all(b"\x05\x00")
    await stream.receive_some(100)
    await stream.send_all(b"\x05\x02" + GRANTED[2:])
    await stream.receive_some(100)


async def leave(stream: trio.SocketStream) -> None:
    """End in the middle of the negotiation."""
    await stream.receive_some(3)
    await stream.send_all(b"\x05")


async def grant(stream: trio.SocketStream) -> None:
    """Grant a request, and end at once."""
    await stream.receive_some(3)
    await stream.send_all(b"\x05\x00")
    await stream.receive_some(10)
    await stream.send_all(GRANTED)


@pytest.mark.parametrize(
    ("handler", "problem"),
    [
        (refuse, r"the front server answered b'\x05\x02"),
        (leave, r"the front server left after b'\x05'"),
        (grant, "no end within 0.3 s"),
    ],
)
def test_sessions_through_one_that_is_not(handler: Handler, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixed, "PATIENCE", 0.3)
    failing = numbers(5, 5)
    with running_background() as background:
        front = background.listen(handler)
        load = Load(SEED, dict.fromkeys(HOPS, front), largest=100)
        trio.run(load.run, failing)
    assert sorted(load.failures) == failing
    for text in load.failures.values():
        assert problem in text


MIB = 1 << 20


def a_server(*samples: Sample) -> Server:
    return Server("hop 1", Address("127.0.0.1", 1), 1, Path("log"), list(samples))


@pytest.mark.parametrize(
    ("samples", "grown"),
    [
        ([Sample(10, 2, 30 * MIB), Sample(12, 2, 40 * MIB), Sample(14, 3, 42 * MIB)], []),
        ([Sample(10, 2, 30 * MIB), Sample(12, 2, 40 * MIB), Sample(15, 3, 42 * MIB)], ["5 open files more"]),
        ([Sample(10, 2, 30 * MIB), Sample(12, 2, 40 * MIB), Sample(14, 4, 42 * MIB)], ["2 threads more"]),
        ([Sample(10, 2, 30 * MIB), Sample(12, 2, 40 * MIB), Sample(14, 2, 44 * MIB)], ["4.0 MiB more"]),
    ],
)
def test_servers_that_grow(samples: Sequence[Sample], grown: Sequence[str]) -> None:
    problems = growth(a_server(*samples), judge_memory=True)
    assert len(problems) == len(grown)
    for problem, expected in zip(problems, grown, strict=True):
        assert f"hop 1: {expected}" in problem
    assert all("MiB" not in problem for problem in growth(a_server(*samples), judge_memory=False))


def test_the_tables() -> None:
    plans = [make_plan(SEED, number) for number in range(70)]
    lines = table_of_sessions(plans, {3: "it broke"}).splitlines()
    assert lines[-1].split()[:2] == ["all", "70"]
    assert lines[-1].split()[-1] == "1"
    assert sum(int(line.split()[-1]) for line in lines[1:-1]) == 1
    server = a_server(Sample(10, 2, 30 * MIB), Sample(12, 2, 40 * MIB), Sample(14, 3, 42 * MIB))
    assert "10 12 14" in table_of_servers([server])
    assert "30.0 40.0 42.0" in table_of_servers([server])


def test_a_server_looks_at_itself(tmp_path: Path) -> None:
    server = Server("own", Address("127.0.0.1", 1), os.getpid(), tmp_path)
    server.look()
    assert server.samples[0].files > 2
    assert server.samples[0].threads >= 1
    assert server.samples[0].memory > MIB


def test_complaints_are_lines_that_tell_of_a_bug(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("INFO id=1 client=- finished\nERROR a bug in chainsocks: it broke\n")
    server = Server("hop 1", Address("127.0.0.1", 1), 1, log)
    assert mixed.complaints(server) == ["hop 1: ERROR a bug in chainsocks: it broke"]


def test_failures_are_named_with_their_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Order] = []

    def run(order: Order, folder: Path) -> list[str]:
        assert folder.is_dir()
        ran.append(order)
        return ["session 5: it broke"] if order.seed == 9 else []

    monkeypatch.setattr(mixed, "run", run)
    done = CliRunner().invoke(main, ["--seed", "9", "--sessions", "100", "--hops", "3", "--hops", "0"])
    assert done.exit_code == 1
    assert "FAILED, seed 9, session 5: it broke" in done.output
    assert CliRunner().invoke(main, ["--session", "5", "--largest", "70"]).exit_code == 0
    assert CliRunner().invoke(main, ["--smoke"]).exit_code == 0
    assert CliRunner().invoke(main, ["--hops", "2"]).exit_code == 2
    assert ran == [Order(9, 100, [0, 3]), Order(1, 20_000, [0, 1, 3], 70, 5), Order(1, 60, [0, 1, 3])]


def log_of(*hosts: str) -> str:
    """The lines of a log about these destinations."""
    return "INFO serving\n" + "".join(f"INFO id=1 destination={host}:80 chain=-\n" for host in hosts)


def test_each_server_has_one_line_for_each_of_its_sessions(tmp_path: Path) -> None:
    servers = {
        key: Server(f"server {key}", Address(f"127.9.9.{key + 10}", 1), 1, tmp_path / str(key))
        for key in (0, 1, 3, -1, -2, -3)
    }
    plans = [replace(make_plan(SEED, number), hops=hops) for number, hops in enumerate((0, 0, 1, 3, 3))]
    target = "127.64.0.{}".format
    second, third = "127.9.9.8", "127.9.9.7"
    logs = {
        0: [target(0), target(1)],
        1: [target(2)],
        3: [target(3), target(4)],
        -1: [target(2), second, second],
        -2: [third, third],
        -3: [target(3), target(4)],
    }
    expected = expected_lines(servers, plans)
    for key, hosts in logs.items():
        servers[key].log.write_text(log_of(*hosts))
        assert wrong_lines(servers[key], expected[key]) == []
    servers[0].log.write_text(log_of(target(0), target(0), "127.1.1.1"))
    assert wrong_lines(servers[0], expected[0]) == [
        "server 0: 1 lines about 127.1.1.1 instead of 0",
        "server 0: 2 lines about 127.64.0.0 instead of 1",
        "server 0: 0 lines about 127.64.0.1 instead of 1",
    ]


@pytest.mark.measure
def test_all_of_it() -> None:
    done = CliRunner().invoke(main, ["--smoke"])
    assert done.exit_code == 0, done.output
    assert "60 sessions in" in done.output
    assert "front, 3 hops" in done.output
    done = CliRunner().invoke(main, ["--session", "1"])
    assert done.exit_code == 0, done.output
