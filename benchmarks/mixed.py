"""``python -m benchmarks.mixed``: thousands of sessions that end in every way, through 0, 1 and 3 hops of ours.

1. Each session is planned from the seed and its number (`behaviour`): sizes from 1 byte to some MiB, half-closes,
   resets, slow reads, urgent bytes, data with the request, SOCKS4 and SOCKS5. Both ends compare every byte that they
   receive.
2. No byte may be lost or changed. A half-close must leave the other direction open. A reset must reach the other end as
   a reset, and never as a regular end.
3. Each server must write one line about each of its sessions, and no other.
4. Each front server and each hop is a process of its own. Its open files, threads and memory are read before the
   sessions, after half of them, and after all: they must not grow.

The exit status is 1 if a session or a server failed. ``--seed`` and ``--session`` repeat a single session, with
the same ``--hops`` and ``--largest``. ``--hops 0 --largest 20000`` is a load of short direct sessions.
"""

from __future__ import annotations

import re
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path

import click
import trio

from benchmarks.behaviour import HOPS, LARGEST, Ending, Part, Plan, early_bytes, make_block, make_plan, play, prepare
from benchmarks.compare import describe_run
from benchmarks.peers import OURS, open_ours
from benchmarks.tables import render
from chainsocks.protocol.address import Address
from chainsocks.server.file_limit import raise_limit
from chainsocks.tools.bench.accounting import resident_bytes

__all__ = ["Load", "Order", "Sample", "Server", "expected_lines", "growth", "main", "open_servers", "wrong_lines"]

AT_ONCE = 48
"""Sessions at a time."""

PATIENCE = 90
"""Seconds that a session may take."""

FIRST_TARGET = int(IPv4Address("127.64.0.0"))
"""Each session has a destination address of its own, by which its target knows it: this one plus its number."""

MOST_SESSIONS = 1 << 21

WARM_UP = 500
"""Sessions before the first look at the servers, which by then keep all pipes and threads that they ever will."""

FEW = 2000
"""Sessions that are too few to judge the memory by."""

MORE_FILES, MORE_THREADS, MORE_MEMORY = 4, 1, 3 << 20
"""By how much a server may grow: in files and threads from before the sessions, in memory from half of them to all."""

LAST_LINES = 5.0
"""Seconds in which the lines about the last sessions must be written."""

SHOWN = 20
"""Failures to show."""

FAILED = 1

_DESTINATION = re.compile(r" destination=([0-9.]+):[0-9]+ ")


@dataclass(frozen=True, slots=True)
class Sample:
    """What a server holds at one time."""

    files: int
    threads: int
    memory: int


@dataclass(slots=True)
class Server:
    """A server under load, and its samples."""

    name: str
    address: Address
    pid: int
    log: Path
    samples: list[Sample] = field(default_factory=list)

    def look(self) -> None:
        """Add a sample."""
        process = Path("/proc") / str(self.pid)
        files, threads = (len(list((process / name).iterdir())) for name in ("fd", "task"))
        self.samples.append(Sample(files, threads, resident_bytes([self.pid])))


@contextmanager
def open_servers(folder: Path, counts: Sequence[int] = HOPS) -> Iterator[Mapping[int, Server]]:
    """Run a front server for each number of hops, and the hops; yield the servers, the hops by negative numbers."""
    with ExitStack() as stack:

        def serve(name: str, *lines: str) -> Server:
            own = folder / name
            own.mkdir()
            running = stack.enter_context(open_ours(own, *lines))
            return Server(name, running.address, running.pids[0], own / OURS / "chainsocks.log")

        hops = [serve(f"hop {number}") for number in range(1, max(counts) + 1)]
        servers = {-number: hop for number, hop in enumerate(hops, 1)}
        for count in counts:
            names = [f"hop{number}" for number in range(1, count + 1)]
            urls = [f'{name} = "socks5://{hop.address}"' for name, hop in zip(names, hops, strict=False)]
            lines = ["[hops]", *urls, "[chains]", f"default = {names}"] if count else []
            servers[count] = serve(f"front, {count} hop{'' if count == 1 else 's'}", *lines)
        yield servers


@dataclass(slots=True)
class Load:
    """Runs sessions, both ends of them; `failures` are problems by session number."""

    seed: int
    fronts: Mapping[int, Address]
    largest: int = LARGEST
    failures: dict[int, str] = field(default_factory=dict)
    played: list[Plan] = field(default_factory=list)
    _arrivals: dict[int, trio.MemorySendChannel[trio.socket.SocketType]] = field(default_factory=dict)

    async def run(self, numbers: Iterable[int]) -> None:
        """Run sessions until all have ended."""
        block, waiting = make_block(self.seed), iter(numbers)
        listener = trio.socket.socket()
        prepare(listener)
        await listener.bind(("", 0))
        listener.listen(1024)
        port = listener.getsockname()[1]

        async def work() -> None:
            for number in waiting:
                plan = make_plan(self.seed, number, self.largest, [*self.fronts])
                if problem := await self._run_session(plan, port, block):
                    self.failures[number] = problem
                self.played.append(plan)

        with listener:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._accept, listener)
                async with trio.open_nursery() as workers:
                    for _ in range(AT_ONCE):
                        workers.start_soon(work)
                nursery.cancel_scope.cancel()

    async def _accept(self, listener: trio.socket.SocketType) -> None:
        while True:
            sock, _ = await listener.accept()
            number = int(IPv4Address(sock.getsockname()[0])) - FIRST_TARGET
            arrival = self._arrivals.pop(number, None)
            if arrival:
                arrival.send_nowait(sock)
            else:
                self.failures[number] = "a connection more than it should have"
                sock.close()

    async def _run_session(self, plan: Plan, port: int, block: bytes) -> str:
        self._arrivals[plan.number], arrival = trio.open_memory_channel[trio.socket.SocketType](1)
        target = Address(_target_host(plan), port)
        problems: list[str] = []

        async def play_client() -> None:
            sock = await _open(self.fronts[plan.hops], target, plan, early_bytes(plan.client, block))
            if problem := await play(sock, plan.client, block):
                problems.append(f"client: {problem}")

        async def play_target() -> None:
            sock = await arrival.receive()
            prepare(sock, plan.target)
            if problem := await play(sock, plan.target, block):
                problems.append(f"target: {problem}")

        with trio.move_on_after(PATIENCE) as limit:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(play_client)
                    nursery.start_soon(play_target)
            except* (OSError, _Refused) as errors:
                problems += map(str, errors.exceptions)
        if limit.cancelled_caught:
            problems.append(f"no end within {PATIENCE} s")
        self._arrivals.pop(plan.number, None)
        return "; ".join(problems)


def _target_host(plan: Plan) -> str:
    return str(IPv4Address(FIRST_TARGET + plan.number))


class _Refused(Exception):
    """A front server did not grant a request."""


async def _open(front: Address, target: Address, plan: Plan, early: bytes) -> trio.socket.SocketType:
    """Connect to the target of a session through a front server; send `early` with the request."""
    place = target.port.to_bytes(2, "big"), socket.inet_aton(target.host)
    sock = trio.socket.socket()
    try:
        prepare(sock, plan.client)
        await sock.connect((front.host, front.port))
        if plan.version == 4:
            await _ask(sock, b"\x04\x01" + place[0] + place[1] + b"\x00" + early, 8, b"\x00\x5a")
        else:
            await _ask(sock, b"\x05\x01\x00", 2, b"\x05\x00")
            await _ask(sock, b"\x05\x01\x00\x01" + place[1] + place[0] + early, 10, b"\x05\x00")
    except BaseException:
        sock.close()
        raise
    return sock


async def _ask(sock: trio.socket.SocketType, message: bytes, size: int, expected: bytes) -> None:
    await sock.send(message)
    answer = b""
    while len(answer) < size:
        data = await sock.recv(size - len(answer))
        if not data:
            raise _Refused(f"the front server left after {answer!r}")
        answer += data
    if not answer.startswith(expected):
        raise _Refused(f"the front server answered {answer!r}")


def growth(server: Server, *, judge_memory: bool) -> list[str]:
    """Return what a server has more of than it should."""
    before, middle, after = server.samples
    grown = []
    if after.files > before.files + MORE_FILES:
        grown.append(f"{server.name}: {after.files - before.files} open files more than before")
    if after.threads > before.threads + MORE_THREADS:
        grown.append(f"{server.name}: {after.threads - before.threads} threads more than before")
    if judge_memory and after.memory > middle.memory + MORE_MEMORY:
        more = (after.memory - middle.memory) / (1 << 20)
        grown.append(f"{server.name}: {more:.1f} MiB more than after half of the sessions")
    return grown


def expected_lines(servers: Mapping[int, Server], played: Iterable[Plan]) -> Mapping[int, Counter[str]]:
    """Return the destinations that each server must have written lines about, without ports."""
    lines: dict[int, Counter[str]] = {key: Counter() for key in servers}
    for plan in played:
        target = _target_host(plan)
        lines[plan.hops][target] += 1
        for number in range(1, plan.hops):
            lines[-number][servers[-number - 1].address.host] += 1
        if plan.hops:
            lines[-plan.hops][target] += 1
    return lines


def wrong_lines(server: Server, expected: Counter[str]) -> list[str]:
    """Return what is wrong with the number of lines in a server's log."""
    found = Counter(_DESTINATION.findall(server.log.read_text(errors="replace")))
    return [
        f"{server.name}: {found[host]} lines about {host} instead of {expected[host]}"
        for host in sorted(found | expected)
        if found[host] != expected[host]
    ]


def _all_wrong_lines(servers: Mapping[int, Server], played: Sequence[Plan]) -> list[str]:
    """Return what is wrong with all logs, after some time to write the last lines."""
    expected, deadline = expected_lines(servers, played), time.monotonic() + LAST_LINES
    while True:
        wrong = [line for key, server in servers.items() for line in wrong_lines(server, expected[key])]
        if not wrong or time.monotonic() > deadline:
            return wrong
        time.sleep(0.2)


def complaints(server: Server) -> list[str]:
    """Return the lines of a server's log that tell of a bug."""
    lines = server.log.read_text(errors="replace").splitlines()
    return [f"{server.name}: {line}" for line in lines if "bug in chainsocks" in line or "Traceback" in line][:SHOWN]


def table_of_sessions(played: Sequence[Plan], failures: Mapping[int, str]) -> str:
    """Return a row for each kind of end."""
    rows = []
    for ending in (*Ending, None):
        plans = [plan for plan in played if ending in (None, plan.ending)]
        parts = [part for plan in plans for part in (plan.client, plan.target)]
        by_hops = Counter(plan.hops for plan in plans)
        figures = [len(plans), *(by_hops[count] for count in HOPS), *_amounts(parts)]
        figures.append(sum(plan.number in failures for plan in plans))
        rows.append([ending or "all", *map(str, figures)])
    head = ["", "sessions", *(f"{count} hops" for count in HOPS), "MiB"]
    head += ["urgent bytes", "early bytes", "slow ends", "failed"]
    return render(head, rows)


def _amounts(parts: Sequence[Part]) -> Sequence[int]:
    size = sum(part.says.size for part in parts) >> 20
    early = sum(part.early for part in parts)
    return size, sum(len(part.says.urgent) for part in parts), early, sum(part.is_slow for part in parts)


def table_of_servers(servers: Iterable[Server]) -> str:
    """Return a row for each server, with its samples side by side."""
    rows = []
    for server in servers:
        files, threads = (" ".join(str(getattr(one, name)) for one in server.samples) for name in ("files", "threads"))
        memory = " ".join(f"{one.memory / (1 << 20):.1f}" for one in server.samples)
        rows.append([server.name, files, threads, memory])
    return render(["before, half, after", "files", "threads", "MiB"], rows)


@dataclass(frozen=True, slots=True)
class Order:
    """What to run: the same seed, hops and size plan the same sessions."""

    seed: int
    sessions: int
    hops: Sequence[int] = HOPS
    largest: int = LARGEST
    only: int | None = None


def run(order: Order, folder: Path) -> list[str]:
    """Run the sessions and print the tables; return what failed."""
    sessions = order.sessions
    with open_servers(folder, order.hops) as servers:
        load = Load(order.seed, {count: servers[count].address for count in order.hops}, order.largest)
        began = time.monotonic()
        if order.only is not None:
            trio.run(load.run, [order.only])
            return [f"session {number}: {problem}" for number, problem in load.failures.items()]
        warm_up = min(WARM_UP, sessions // 4)
        bounds = [0, warm_up, warm_up + (sessions - warm_up) // 2, sessions]
        for begin, end in pairwise(bounds):
            click.echo(f"sessions {begin} to {end - 1}", err=True)
            trio.run(load.run, range(begin, end))
            time.sleep(0.5)  # for the servers to see the last ends
            for server in servers.values():
                server.look()
        seconds = time.monotonic() - began
        problems = [f"session {number}: {problem}" for number, problem in sorted(load.failures.items())]
        problems += _all_wrong_lines(servers, load.played)
        for server in servers.values():
            problems += growth(server, judge_memory=sessions > FEW) + complaints(server)
        click.echo(f"\n{table_of_sessions(load.played, load.failures)}\n\n{table_of_servers(servers.values())}\n")
        click.echo(f"{sessions} sessions in {seconds:.0f} s, {sessions / seconds:.0f} a second")
    return problems


@click.command()
@click.option("--sessions", default=20_000, type=click.IntRange(8, MOST_SESSIONS), show_default=True, help="Number.")
@click.option("--seed", default=1, show_default=True, help="The same seed plans the same sessions.")
@click.option(
    "--hops",
    multiple=True,
    default=HOPS,
    type=click.Choice(HOPS),
    show_default=True,
    help="Through so many hops; repeatable.",
)
@click.option("--largest", default=LARGEST, type=click.IntRange(1, LARGEST), help="The most bytes that an end says.")
@click.option("--session", "only", type=click.IntRange(0, MOST_SESSIONS), help="Run only the session of this number.")
@click.option("--smoke", is_flag=True, help="Only test that it works, with 60 sessions.")
def main(*, sessions: int, seed: int, hops: tuple[int, ...], largest: int, only: int | None, smoke: bool) -> None:
    """Run sessions that end in every way, and see that nothing is lost and that the servers do not grow."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the servers are ended
    raise_limit()
    click.echo(f"{describe_run('benchmarks.mixed')}\nseed {seed}")
    order = Order(seed, 60 if smoke else sessions, sorted(set(hops)), largest, only)
    with tempfile.TemporaryDirectory(prefix="chainsocks-benchmark-") as folder:
        problems = run(order, Path(folder))
    for problem in problems[:SHOWN]:
        click.echo(f"FAILED, seed {seed}, {problem}", err=True)
    if problems:
        click.echo(f"{len(problems)} failures", err=True)
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
