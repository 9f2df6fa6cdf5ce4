"""Reload, stop and lose workers under load: what clients see of it, and what it leaves behind.

    python -m benchmarks.reloads [--workers N]... [--reloads N] [--wrong N] [--kills N] [--rate N] [--long N]

For each number of workers, a server is started as users start it. `--rate` short sessions begin in each second, and
`--long` transfers run all the time; each of them checks every byte that comes back.

1. `--reloads` reloads, each to another configuration: listeners, rules, limits and deadlines change. `--wrong` times in
   between the file is wrong. No connection may be refused and no session cut. Open files and memory are compared after
   the first reloads and at the end, without short sessions.
2. With several workers, `--kills` times one of them is killed. Only its own sessions may be lost, and no connection may
   be refused.
3. SIGTERM. Sessions that last for half of `grace` finish whole, the exit status is 0, and nothing listens afterwards.

Exit status 1: one of these was not so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

__all__ = ["Order", "Report", "main", "run"]

GRACE = 6.0
BLOCK = os.urandom(4096)
REPLY = bytes.fromhex("05 00 05 00 00 01")
PATIENCE = 20.0
SETTLED = 10.5
"""Seconds that a worker lives before it is killed: one that dies sooner is replaced later."""

PAUSE = 0.4
"""Seconds between two reloads."""

LAST = 50
"""Sessions that run when the server is told to stop."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to do."""

    workers: int = 1
    reloads: int = 50
    wrong: int = 10
    kills: int = 20
    rate: float = 100
    long: int = 20


@dataclass(slots=True)
class Report:
    """What came of it."""

    workers: int
    reloads: int = 0
    refused_files: int = 0
    sessions: int = 0
    seconds: float = 0
    """That the reloads took, with the pauses between them."""
    transferred: int = 0
    """Bytes of the long transfers, there and back."""
    problems: Counter[str] = field(default_factory=Counter)
    """What clients saw that they must not see."""
    files: tuple[int, int] = (0, 0)
    """Open files of all processes, after the first reloads and at the end."""
    memory: tuple[float, float] = (0, 0)
    """The same, in MiB that are resident."""
    kills: int = 0
    lost: int = 0
    """Sessions that ended with a worker that was killed."""
    lost_of_others: int = 0
    finished_in_grace: int = 0
    status: int | None = None
    listens_afterwards: bool = True

    @property
    def is_fine(self) -> bool:
        """Whether all is as it has to be."""
        grown = self.files[1] > self.files[0] or self.memory[1] > self.memory[0] * 1.1 + 2
        return not (self.problems or grown or self.lost_of_others or self.status or self.listens_afterwards)

    def __str__(self) -> str:
        lines = [
            f"{self.workers} worker{'s' * (self.workers > 1)}: {'fine' if self.is_fine else 'NOT AS IT HAS TO BE'}",
            f"  {self.reloads} reloads and {self.refused_files} refused files in {self.seconds:.0f} s, "
            f"beside {self.sessions} short sessions and {self.transferred / 2**20:.0f} MiB in long transfers",
            f"  problems of clients: {dict(self.problems) or 'none'}",
            f"  open files {self.files[0]} -> {self.files[1]}, memory {self.memory[0]:.1f} -> {self.memory[1]:.1f} MiB",
        ]
        if self.kills:
            lines.append(
                f"  {self.kills} workers killed: {self.lost} of their sessions lost, {self.lost_of_others} of others"
            )
        lines.append(
            f"  SIGTERM: {self.finished_in_grace} sessions finished within grace, exit status {self.status}, "
            f"{'something' if self.listens_afterwards else 'nothing'} listens afterwards"
        )
        return "\n".join(lines)


class Lost(Exception):
    """A session that did not go as it should; the text says how."""


@dataclass(slots=True)
class Client:
    """Sessions through the server at `proxy` to an echo at `echo`."""

    proxy: tuple[str, int]
    echo: tuple[str, int]

    @asynccontextmanager
    async def session(self) -> AsyncIterator[trio.SocketStream]:
        """Open a session.

        Raises:
            Lost: that failed.
        """
        try:
            stream = await trio.open_tcp_stream(*self.proxy)
        except OSError as error:
            raise Lost(f"connect: {error.__cause__ or error}") from None
        async with stream:
            host, port = self.echo
            request = bytes.fromhex("05 01 00 05 01 00 01") + socket.inet_aton(host) + port.to_bytes(2, "big")
            await self.exchange(stream, request, 12, "open")
            yield stream

    async def exchange(self, stream: trio.SocketStream, data: bytes, size: int, what: str) -> bytes:
        """Send `data`, and receive `size` bytes.

        Raises:
            Lost: the connection ended.
        """
        received = b""
        try:
            with trio.fail_after(PATIENCE):
                await stream.send_all(data)
                while len(received) < size:
                    more = await stream.receive_some(65536)
                    if not more:
                        raise Lost(f"{what}: the connection ended")
                    received += more
        except trio.BrokenResourceError:
            raise Lost(f"{what}: the connection was reset") from None
        except trio.TooSlowError:
            raise Lost(f"{what}: nothing came for {PATIENCE:g} s") from None
        return received

    async def echo_once(self, stream: trio.SocketStream, what: str) -> None:
        """Send a block and check what comes back.

        Raises:
            Lost: it is not the same, or the connection ended.
        """
        if await self.exchange(stream, BLOCK, len(BLOCK), what) != BLOCK:
            raise Lost(f"{what}: other bytes came back")


class Server:
    """The server, its file and its log."""

    def __init__(self, folder: Path, workers: int, addresses: Sequence[tuple[str, int]]) -> None:
        self.folder = folder
        self.file = folder / "c.toml"
        self.control = folder / "control"
        self.workers = workers
        self.addresses = addresses
        self.lines: list[str] = []
        self._news = trio.Condition()

    def write(self, number: int) -> None:
        """Write the configuration of that number."""
        listen = [f"{host}:{port}" for host, port in self.addresses[: 1 + number % 2]]
        hosts = [f"*.h{index}.example" for index in range(200 * (number % 3))]
        self.file.write_text(
            f"[server]\nlisten = {json.dumps(listen)}\nworkers = {self.workers}\nmax_sessions = {5000 + number}\n"
            f"keepalive = {60 + number}\n[control]\nsocket = {json.dumps(str(self.control))}\n"
            f"[timeouts]\ngrace = {GRACE}\nidle = {300 + number}\n[limits]\nsessions_per_client = {4000 + number}\n"
            + (f"[[rules]]\nto = {json.dumps(hosts)}\ndeny = true\n" if hosts else "")
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Server]:
        """Run it; it is killed at the end if it still runs."""
        command = [sys.executable, "-c", "from chainsocks.cli import main; main()", "serve", "-c", str(self.file)]
        self.process = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            try:
                await self.wait_for("listening on", 1)
                yield self
            finally:
                if self.process.poll() is None:
                    for pid in reversed(self.pids):
                        os.kill(pid, signal.SIGKILL)
                nursery.cancel_scope.cancel()

    async def _read(self) -> None:
        assert self.process.stderr
        rest = b""
        async for data in self.process.stderr:
            *lines, rest = (rest + data).split(b"\n")
            async with self._news:
                self.lines += [line.decode() for line in lines if b" id=" not in line]
                self._news.notify_all()

    def count(self, text: str) -> int:
        """Return how many lines of the log have a text."""
        return sum(text in line for line in self.lines)

    async def wait_for(self, text: str, times: int) -> None:
        """Wait for so many lines with a text."""
        with trio.fail_after(PATIENCE):
            async with self._news:
                while self.count(text) < times:
                    await self._news.wait()

    async def reload(self) -> None:
        """Have it read its file, and wait until it has."""
        before = self.count("reloaded:")
        self.process.send_signal(signal.SIGHUP)
        await self.wait_for("reloaded:", before + 1)

    @property
    def pids(self) -> list[int]:
        """Its processes, the first one first."""
        pid = self.process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def measure(self) -> tuple[int, float]:
        """Return the open files and the resident MiB of all processes."""
        files, pages = 0, 0
        for pid in self.pids:
            files += len([*Path(f"/proc/{pid}/fd").iterdir()])
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return files, pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    async def workers_of_clients(self) -> dict[str, str]:
        """Ask the control socket which worker has the session of each client."""
        command = [sys.executable, "-c", "from chainsocks.cli import main; main()", "sessions", "--json"]
        done = await trio.run_process([*command, "--control", str(self.control)], capture_stdout=True)
        found = json.loads(done.stdout)
        rows = found["sessions"] if isinstance(found, dict) else found
        return {row["client"]: row["id"].partition("-")[0] for row in rows}


class Load:
    """Short sessions and long transfers."""

    def __init__(self, client: Client, report: Report, rate: float) -> None:
        self._client = client
        self._report = report
        self._rate = rate
        self.is_paused = False
        self.running = 0
        self.lost: dict[str, str] = {}
        """The long transfers that were lost, by the addresses of their clients."""
        self.is_losing = False
        """Whether sessions may be lost: those of workers that are killed."""

    async def begin_short(self, nursery: trio.Nursery) -> None:
        """Begin short sessions until cancelled."""
        due = trio.current_time()
        while True:
            due = max(due + 1 / self._rate, trio.current_time() - 1)  # it catches up with a second at most
            await trio.sleep_until(due)
            if not self.is_paused:
                nursery.start_soon(self._short)

    async def _short(self) -> None:
        self.running += 1
        try:
            async with self._client.session() as stream:
                await self._client.echo_once(stream, "short session")
            self._report.sessions += 1
        except Lost as error:
            if self.is_losing and not str(error).startswith("connect"):
                self._report.lost += 1  # whose it was is seen at the long ones
            else:
                self._report.problems[str(error)] += 1
        finally:
            self.running -= 1

    async def transfer(self) -> None:
        """Transfer without end; begin anew when a worker was killed."""
        while True:
            name = ""
            try:
                async with self._client.session() as stream:
                    name = "{}:{}".format(*stream.socket.getsockname()[:2])
                    while True:
                        await self._client.echo_once(stream, "long transfer")
                        self._report.transferred += 2 * len(BLOCK)
                        await trio.sleep(0.002)
            except Lost as error:
                if not self.is_losing:
                    self._report.problems[str(error)] += 1
                self.lost[name] = str(error)

    async def be_quiet(self) -> None:
        """Begin no short sessions, and wait until those that run have ended."""
        self.is_paused = True
        while self.running:  # noqa: ASYNC110  (each of them would have to tell)
            await trio.sleep(0.05)
        await trio.sleep(1.5)


async def reload_often(order: Order, server: Server, load: Load, report: Report) -> None:
    """Reload, now and then with a wrong file, and compare what is open."""
    began = trio.current_time()
    settle, wrong = max(1, order.reloads // 5), Counter(random.choices(range(order.reloads), k=order.wrong))
    for number in range(1, order.reloads + 1):
        server.write(number)
        await server.reload()
        for _ in range(wrong[number - 1]):
            server.file.write_text("[server]\nlisten = 'nonsense'\nfoo = 1\n")
            await server.reload()
        await trio.sleep(PAUSE)
        if number in (settle, order.reloads):
            server.write(2 * number)  # one listener
            await server.reload()
            await load.be_quiet()
            files, memory = server.measure()
            if number == settle:
                report.files, report.memory = (files, files), (memory, memory)
            report.files, report.memory = (report.files[0], files), (report.memory[0], memory)
            load.is_paused = False
    report.seconds = trio.current_time() - began
    report.refused_files = server.count("not reloaded:")
    report.reloads = server.count("reloaded:") - report.refused_files


async def kill_workers(order: Order, server: Server, load: Load, report: Report) -> None:
    """Kill one worker after the other, and see whose sessions are lost."""
    load.is_losing = True
    for number in range(order.kills):
        await load.be_quiet()
        before = await server.workers_of_clients()
        load.lost.clear()
        load.is_paused = False
        started = server.count("has started")
        pids = {}
        for line in server.lines:
            if "has started" in line and "worker" in line:
                words = line.split()
                at = words.index("worker")
                pids[words[at + 1]] = int(words[at + 3].rstrip(")"))
        victim = next(name for name, pid in pids.items() if pid in server.pids)  # the oldest
        os.kill(pids[victim], signal.SIGKILL)
        await server.wait_for("has started", started + 1)
        await trio.sleep(SETTLED / order.workers)
        report.kills = number + 1
        for client in load.lost:
            if client in before:
                report.lost += before[client] == victim
                report.lost_of_others += before[client] != victim
    await trio.sleep(0.5)
    load.is_losing = False


async def stop(server: Server, client: Client, report: Report) -> None:
    """Send SIGTERM while sessions run that need some seconds yet."""

    async def last() -> None:
        try:
            async with client.session() as stream:
                started.append(None)
                for _ in range(int(GRACE / 2 / 0.1)):
                    await client.echo_once(stream, "session in grace")
                    await trio.sleep(0.1)
            report.finished_in_grace += 1
        except Lost as error:
            report.problems[str(error)] += 1

    started: list[None] = []
    async with trio.open_nursery() as nursery:
        for _ in range(LAST):
            nursery.start_soon(last)
        while len(started) + report.problems.total() < LAST:  # noqa: ASYNC110  (each would have to tell)
            await trio.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        with trio.fail_after(GRACE + PATIENCE):
            report.status = await server.process.wait()
    try:
        (await trio.open_tcp_stream(*client.proxy)).socket.close()
    except OSError:
        report.listens_afterwards = False


async def run(order: Order) -> Report:
    """Do all of it with one number of workers."""
    report = Report(order.workers)

    async def echo(stream: trio.SocketStream) -> None:
        try:
            async for data in stream:
                await stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    with tempfile.TemporaryDirectory() as folder:
        async with trio.open_nursery() as nursery:
            [listener] = await nursery.start(partial(trio.serve_tcp, echo, 0, host="127.0.0.1"))
            client = Client(_free_address(), listener.socket.getsockname())
            server = Server(Path(folder), order.workers, [client.proxy, _free_address()])
            server.write(0)
            async with server.running():
                load = Load(client, report, order.rate)
                async with trio.open_nursery() as busy:
                    busy.start_soon(load.begin_short, busy)
                    for _ in range(order.long):
                        busy.start_soon(load.transfer)
                    await trio.sleep(1)
                    await reload_often(order, server, load, report)
                    if order.workers > 1:
                        await kill_workers(order, server, load, report)
                    await load.be_quiet()
                    busy.cancel_scope.cancel()
                await stop(server, client, report)
                if report.status or report.problems:
                    print(*server.lines[-40:], sep="\n", file=sys.stderr)
            nursery.cancel_scope.cancel()
    return report


def _free_address() -> tuple[str, int]:
    host = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
    with socket.socket() as sock:
        sock.bind((host, 0))
        return host, sock.getsockname()[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    assert __doc__
    parser = argparse.ArgumentParser("python -m benchmarks.reloads", description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, action="append", help="Processes; repeatable; default 1 and 2.")
    for name in ("reloads", "wrong", "kills", "long"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Order(), name))
    parser.add_argument("--rate", type=float, default=Order().rate, help="Short sessions in each second.")
    options = vars(parser.parse_args(arguments))
    is_fine = True
    for workers in options.pop("workers") or [1, 2]:
        report = trio.run(run, Order(workers, **options))
        print(report)
        is_fine &= report.is_fine
    return 0 if is_fine else 1


if __name__ == "__main__":
    sys.exit(main())
