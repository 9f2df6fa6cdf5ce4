"""``python -m benchmarks.pipelining``: the time of a dial through 1 to 5 hops over links with latency, in every mode.

Everything is on loopback. The hops are servers of ours, a process each, without chains of their own. Before each hop,
and before the destination, is a link that takes 20 ms each way (`benchmarks.links`, which also says how it delays a
connect). ``off``, ``hop`` and ``chain`` are our own dial, as the server and the library run it. Beside them, if it is
installed, is proxychains4 with the same hops: a small program connects under it and times that itself.

``warm`` is a session of a server with ``warm = 1``, from the client's request to its reply, when a way is ready. It is
measured with hops of ours, and with those of microsocks, dante and ``ssh -D`` that are installed.

The expected round trips are those of `chainsocks.chain.pipeline`, and of `chainsocks.chain.warm`: one for each link. A
median must be within 10 % of them.
"""

from __future__ import annotations

import importlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import anyio
import click
import trio

from benchmarks.compare import describe_run
from benchmarks.links import open_links
from benchmarks.peers import OURS, PEERS, Peer, open_peer
from benchmarks.programs import find_program, free_address
from benchmarks.tables import render
from chainsocks.chain.legs import legs
from chainsocks.chain.operations import open_connection
from chainsocks.chain.pipeline import round_trips
from chainsocks.client.network import make_dialer
from chainsocks.config.chains import Chain
from chainsocks.config.choices import Pipeline
from chainsocks.config.extras import PLOT, require
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.listeners import Listener
from chainsocks.config.models import Config, Server, Timeouts
from chainsocks.observe.events import Events
from chainsocks.observe.record import Record
from chainsocks.protocol.address import Address, parse_address
from chainsocks.protocol.messages import Command, Request, Version
from chainsocks.protocol.socks5 import RequestHandshake
from chainsocks.server.server import open_server

__all__ = ["PROXYCHAINS", "WARM", "Measured", "main", "measure", "tabulate"]

MOST_HOPS = 5
DELAY = 0.020
"""Seconds, each way of a link."""
TOLERANCE = 0.1
"""How far from the expected time a median may be."""
SETTLING = 0.5
"""Seconds that a warm way has to get ready, beside the time of a dial."""
PATIENCE = 60.0
WARM = "warm"
FOREIGN = ("microsocks", "dante", "ssh-D")
"""The servers of `benchmarks.peers` that are hops of warm ways."""
PROXYCHAINS = "proxychains4"
FAILED = 1

CONNECT = (
    "import socket, sys, time; began = time.monotonic(); "
    "socket.create_connection((sys.argv[1], int(sys.argv[2]))).close(); print(time.monotonic() - began)"
)
"""The program that runs under proxychains4."""


@dataclass(slots=True)
class Measured:
    """The seconds of dials through so many hops in one mode, and the round trips that they should take."""

    mode: str
    hops: int
    expected: int
    seconds: list[float] = field(default_factory=list)

    def round_trips(self, delay: float) -> float:
        """Return the median, in round trips of one link."""
        return statistics.median(self.seconds) / (2 * delay)

    def ratio(self, delay: float) -> float:
        """Return how many times the expected round trips that is."""
        return self.round_trips(delay) / self.expected


def hops_at(entrances: Sequence[Address]) -> list[Hop]:
    """Return the hops behind the links with these entrances."""
    return [Hop(f"hop {number}", HopProtocol.SOCKS5, at) for number, at in enumerate(entrances, 1)]


def dial_once(chain: Chain, destination: Address) -> float:
    """Dial, and return the seconds that it took."""

    async def run() -> float:
        began = time.monotonic()
        _, upstream = await make_dialer(Timeouts()).run(chain, open_connection, destination)
        took = time.monotonic() - began
        await anyio.aclose_forcefully(upstream.stream)
        return took

    return trio.run(run)


class _Seen(Events):
    """Whether each session went along a warm way."""

    def __init__(self) -> None:
        self.warm: list[bool] = []

    def session_ended(self, record: Record) -> None:
        self.warm.append(record.warm)


def ask_warm_server(hops: Sequence[Hop], destination: Address, patience: float) -> float:
    """Run a server whose ways are warm; return the seconds from a request to its reply, when a way is ready."""
    chain = Chain(*hops, name="default", warm=1)
    config = Config(Server((Listener(Address("127.0.0.1", 0)),)), chains={"default": chain})
    seen = _Seen()

    async def ask(server: Address) -> float:
        async with await anyio.connect_tcp(server.host, server.port) as client:
            await client.send(b"\5\1\0")
            await client.receive()
            handshake = RequestHandshake(Request(Version.SOCKS5, Command.CONNECT, destination))
            began = time.monotonic()
            await client.send(handshake.data_to_send())
            while not handshake.done:
                handshake.receive_data(await client.receive())
            took = time.monotonic() - began
            if not handshake.reply.succeeded:
                raise RuntimeError(f"the request was refused with {handshake.reply.code}")
            return took

    async def run() -> float:
        async with open_server(config, events=(seen,)) as server:
            [listener] = server.listeners
            address = parse_address(str(listener))
            await ask(address)
            await trio.sleep(patience)
            return await ask(address)

    took = trio.run(run)
    if seen.warm != [False, True]:
        raise RuntimeError("the second session has found no warm way")
    return took


def connect_under_proxychains(entrances: Sequence[Address], destination: Address, folder: Path) -> float:
    """Let proxychains4 connect through the same hops; return the seconds that it took."""
    config = folder / "proxychains.conf"
    hops = [f"socks5 {entrance.host} {entrance.port}" for entrance in entrances]
    limits = [f"tcp_connect_time_out {PATIENCE * 1000:.0f}", f"tcp_read_time_out {PATIENCE * 1000:.0f}"]
    config.write_text("\n".join(["strict_chain", "quiet_mode", *limits, "[ProxyList]", *hops]) + "\n")
    program = find_program(PROXYCHAINS) or PROXYCHAINS
    command = [program, "-q", "-f", str(config), sys.executable, "-S", "-E", "-c", CONNECT]
    done = subprocess.run(
        [*command, destination.host, str(destination.port)], stdout=subprocess.PIPE, check=True, timeout=PATIENCE
    )
    return float(done.stdout)


def measure(most: int, delay: float, rounds: int, folder: Path, progress: Callable[[str], None]) -> list[Measured]:
    """Dial through 1 to `most` hops in every mode, each once in each of the rounds."""
    found: dict[tuple[str, int], Measured] = {}
    with ExitStack() as stack:
        servers = {OURS: _open_servers(stack, OURS, most, folder)}
        servers |= {peer.name: _open_servers(stack, peer.name, most, folder) for peer in foreign() if not peer.missing}
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}")
            for hops, (name, running) in product(range(1, most + 1), servers.items()):
                targets = [*running[:hops], None]
                with open_links(delay, targets, [free_address().host for _ in targets]) as (*entrances, destination):
                    for mode, expected, seconds in _dials(name, entrances, destination, folder, delay):
                        measured = found.setdefault((mode, hops), Measured(mode, hops, expected))
                        measured.seconds.append(seconds)
                        time.sleep(4 * delay)  # until its end has gone through all links
    return sorted(found.values(), key=lambda one: list(found).index((one.mode, 1)))


def foreign() -> list[Peer]:
    """Return the servers of others that are hops of warm ways, whether they are installed or not."""
    return [peer for peer in PEERS if peer.name in FOREIGN]


def _warm_with(name: str) -> str:
    """Return the mode of warm ways through the servers of another program."""
    return f"{WARM}, {name}"


def _open_servers(stack: ExitStack, name: str, most: int, folder: Path) -> list[Address]:
    """Run as many servers of one kind as there are hops at most; return their addresses."""
    [peer] = [peer for peer in PEERS if peer.name == name]
    addresses = []
    for number in range(1, most + 1):
        own = folder / str(number)
        own.mkdir(exist_ok=True)
        addresses.append(stack.enter_context(open_peer(peer, own)).address)
    return addresses


def _dials(
    name: str, entrances: Sequence[Address], destination: Address, folder: Path, delay: float
) -> Iterator[tuple[str, int, float]]:
    """Dial in every mode; yield the mode, the expected round trips, and the seconds. Hops of others are only warm."""
    hops = hops_at(entrances)
    patience = 2 * delay * round_trips(legs(hops, destination)) + SETTLING
    if name != OURS:
        yield _warm_with(name), len(hops) + 1, ask_warm_server(hops, destination, patience)
        return
    for pipeline in Pipeline:
        expected = round_trips(legs(hops, destination, pipeline=pipeline))
        yield pipeline.value, expected, dial_once(Chain(*hops, pipeline=pipeline), destination)
    yield WARM, len(hops) + 1, ask_warm_server(hops, destination, patience)
    if find_program(PROXYCHAINS):
        expected = round_trips(legs(hops, destination))
        yield PROXYCHAINS, expected, connect_under_proxychains(entrances, destination, folder)


def tabulate(found: Sequence[Measured], delay: float, *, markdown: bool = False) -> str:
    """Return the medians by mode and number of hops: milliseconds, and in brackets round trips measured/expected."""
    rows: dict[str, list[str]] = {}
    for one in found:
        cell = f"{statistics.median(one.seconds) * 1000:.0f} ({one.round_trips(delay):.2f}/{one.expected})"
        rows.setdefault(one.mode, [one.mode]).append(cell)
    lengths = sorted({one.hops for one in found})
    return render(["ms (round trips measured/expected)", *map(_count, lengths)], rows.values(), markdown=markdown)


def _count(hops: int) -> str:
    return f"{hops} hop{'' if hops == 1 else 's'}"


def _points(found: Sequence[Measured], delay: float) -> dict[str, list[tuple[int, float, float]]]:
    """Return by mode: the number of hops, and the seconds measured and expected."""
    points: dict[str, list[tuple[int, float, float]]] = {}
    for one in found:
        if one.mode in {_warm_with(name) for name in FOREIGN}:
            continue  # nearly equal to those of our own hops
        points.setdefault(one.mode, []).append((one.hops, statistics.median(one.seconds), one.expected * 2 * delay))
    return points


@click.command()
@click.option("--rounds", default=5, type=click.IntRange(1), show_default=True, help="Dials of each kind.")
@click.option("--delay", default=DELAY * 1000, type=click.FloatRange(0.1), show_default=True, help="ms, each way.")
@click.option("--markdown", is_flag=True, help="Print the table in Markdown.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw a chart as well (SVG).")
@click.option("--smoke", is_flag=True, help="Only test that it works; the figures mean nothing.")
def main(*, rounds: int, delay: float, markdown: bool, plot: Path | None, smoke: bool) -> None:
    """Time dials over links with latency, on loopback."""
    try:
        if plot:
            require(*PLOT)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--plot") from None
    most, rounds, delay = (2, 1, 0.001) if smoke else (MOST_HOPS, rounds, delay / 1000)
    click.echo(describe_run("benchmarks.pipelining"))
    with tempfile.TemporaryDirectory(prefix="chainsocks-benchmark-") as folder:
        found = measure(most, delay, rounds, Path(folder), lambda what: click.echo(what, err=True))
    click.echo(f"\n{tabulate(found, delay, markdown=markdown)}")
    if not find_program(PROXYCHAINS):
        click.echo(f"\n{PROXYCHAINS}: skipped, there is no {PROXYCHAINS} here (apt install proxychains4)")
    for peer in foreign():
        if peer.missing:
            click.echo(f"\n{_warm_with(peer.name)}: skipped, {peer.missing}")
    if plot:
        title = f"Time of a dial over links of {delay * 1000:g} ms each way"
        importlib.import_module("benchmarks.curves").save_curves(title, _points(found, delay), plot)
    off = [f"{one.mode}, {_count(one.hops)}" for one in found if abs(one.ratio(delay) - 1) > TOLERANCE]
    if off and not smoke:
        click.echo(f"more than {TOLERANCE:.0%} from what is expected: {'; '.join(off)}", err=True)
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
