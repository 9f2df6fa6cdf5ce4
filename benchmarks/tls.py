"""``python -m benchmarks.tls``: what TLS at every hop costs, beside the open chain and beside stunnel with microsocks.

A front server of ours has a chain of 1 to 3 hops, which are servers of ours, a process each: without TLS, with TLS, and
with TLS and ``seal``, which resumes no TLS session. With one hop there are also two stunnels with a microsocks behind
them: the load speaks SOCKS to the first, which wraps it in TLS to the second.

Bulk is one stream that comes down. Sessions connect, send a byte, get it back and close, one at a time. The CPU time is
that of all relays together, the front server too, without the load and the far end.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from benchmarks.compare import describe_run
from benchmarks.peers import PEERS, open_ours, open_peer
from benchmarks.programs import Program, Running, find_program, free_address, open_programs
from benchmarks.tables import render
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.tools.bench.bulk import measure_bulk
from chainsocks.tools.bench.sessions import measure_sessions
from chainsocks.tools.bench.target import open_target
from chainsocks.tools.bench.way import Way
from chainsocks.tools.certificates import make_certificate

__all__ = ["Figures", "Relay", "main", "relays", "tabulate"]

MOST_HOPS = 3
GIB, MIB = 2**30, 2**20
STUNNEL = "stunnel4"
[MICROSOCKS] = [peer for peer in PEERS if peer.name == "microsocks"]


@dataclass(frozen=True, slots=True)
class Relay:
    """Relays in a row, and how to run them: the address is where the load speaks SOCKS."""

    name: str
    open: Callable[[Path], AbstractContextManager[Running]]
    missing: str = ""


@dataclass(slots=True)
class Figures:
    """What was measured of a relay, once in each round."""

    rate: list[float] = field(default_factory=list)
    """Bytes of bulk in a second."""
    bulk_cpu: list[float] = field(default_factory=list)
    """CPU seconds for a GiB."""
    session: list[float] = field(default_factory=list)
    """Seconds of a session."""
    session_cpu: list[float] = field(default_factory=list)
    """CPU seconds of a session."""


def relays(most: int = MOST_HOPS) -> list[Relay]:
    """Return all relays, by the number of their hops."""
    found = []
    for hops in range(1, most + 1):
        count = f"{hops} hop{'' if hops == 1 else 's'}"
        found += [
            Relay(f"{count}, open", _ours(hops, tls=False)),
            Relay(f"{count}, TLS", _ours(hops, tls=True)),
            Relay(f"{count}, sealed", _ours(hops, tls=True, seal=True)),
        ]
    lacks = MICROSOCKS.missing or (
        "" if find_program(STUNNEL) else f"there is no {STUNNEL} here (apt install stunnel4)"
    )
    return [*found[:3], Relay("stunnel and microsocks", _stunnel, lacks), *found[3:]]


def _ours(hops: int, *, tls: bool, seal: bool = False) -> Callable[[Path], AbstractContextManager[Running]]:
    @contextmanager
    def start(folder: Path) -> Iterator[Running]:
        with ExitStack() as stack:
            lines, pids = ["[hops]"], list[int]()
            for number in range(1, hops + 1):
                own = folder / f"hop{number}"
                own.mkdir()
                listener = trusted = ""
                if tls:
                    pem, pin = _certificate(own)
                    listener, trusted = f'{{ cert = "{pem}" }}', f', tls = {{ pin = "{pin}" }}'
                running = stack.enter_context(open_ours(own, tls=listener))
                lines.append(f'hop{number} = {{ protocol = "socks5", address = "{running.address}"{trusted} }}')
                pids += running.pids
            names = [f"hop{number}" for number in range(1, hops + 1)]
            lines += ["[chains]", f"default = {{ hops = {names}, seal = {str(seal).lower()} }}"]
            front = stack.enter_context(open_ours(folder, *lines))
            yield Running(front.address, (*front.pids, *pids))

    return start


@contextmanager
def _stunnel(folder: Path) -> Iterator[Running]:
    pem, _ = _certificate(folder)
    with open_peer(MICROSOCKS, folder) as behind:

        def plan() -> list[Program]:
            far, near = free_address(), free_address()
            trusted = ["client = yes", f"CAfile = {pem}", "verifyPeer = yes"]
            server = _stunnel_config(folder / "far.conf", f"{far}", f"{behind.address}", f"cert = {pem}")
            client = _stunnel_config(folder / "near.conf", f"{near}", f"{far}", *trusted)
            path = find_program(STUNNEL) or STUNNEL
            return [Program([path, server], far), Program([path, client], near)]

        with open_programs(plan, folder) as running:
            yield Running(running.address, (*running.pids, *behind.pids))


def _stunnel_config(path: Path, accept: str, connect: str, *lines: str) -> Path:
    settings = ["foreground = yes", "pid =", "syslog = no", "[tls]", f"accept = {accept}", f"connect = {connect}"]
    path.write_text("\n".join([*settings, *lines]) + "\n")
    return path


def _certificate(folder: Path) -> tuple[Path, str]:
    """Write a certificate with its key; return the file and the pin."""
    made, path = make_certificate("hop.example", 30), folder / "hop.pem"
    path.write_bytes(made.key + made.pem)
    path.chmod(0o600)
    return path, made.certificate.pin


def _measure(relay: Relay, folder: Path, figures: Figures, seconds: float) -> None:
    """Start the relays anew, and measure both."""
    with open_target(free_address().host) as target, relay.open(folder) as running:
        way = Way(relay.name, (Hop("front", HopProtocol.SOCKS5, running.address),))
        bulk = measure_bulk(way, target, streams=1, direction="down", seconds=seconds, pids=running.pids)
        figures.rate.append(bulk.bytes / bulk.cost.seconds)
        figures.bulk_cpu.append((bulk.cost.relay or 0) / bulk.bytes * GIB)
        sessions = measure_sessions(way, target, seconds=seconds, pids=running.pids, concurrency=1)
        figures.session.append(sessions.cost.seconds / sessions.count)
        figures.session_cpu.append((sessions.cost.relay or 0) / sessions.count)


def tabulate(found: dict[str, Figures], *, markdown: bool = False) -> str:
    """Return the medians."""
    head = ["", "bulk, MiB/s", "bulk, CPU s/GiB", "session, ms", "session, CPU ms"]
    rows = []
    for name, figures in found.items():
        medians = map(statistics.median, (figures.rate, figures.bulk_cpu, figures.session, figures.session_cpu))
        rate, bulk_cpu, session, session_cpu = medians
        rows.append([name, f"{rate / MIB:.0f}", f"{bulk_cpu:.2f}", f"{session * 1e3:.2f}", f"{session_cpu * 1e3:.2f}"])
    return render(head, rows, markdown=markdown)


@click.command()
@click.option("--rounds", default=5, type=click.IntRange(1), show_default=True, help="Measurements of each.")
@click.option("--seconds", default=2.0, type=click.FloatRange(0.05), show_default=True, help="Of each measurement.")
@click.option("--markdown", is_flag=True, help="Print the table in Markdown.")
@click.option("--smoke", is_flag=True, help="Only test that it works; the figures mean nothing.")
def main(*, rounds: int, seconds: float, markdown: bool, smoke: bool) -> None:
    """Measure chains with TLS at every hop, on loopback."""
    most, rounds, seconds = (1, 1, 0.05) if smoke else (MOST_HOPS, rounds, seconds)
    every = relays(most)
    click.echo(describe_run("benchmarks.tls"))
    found: dict[str, Figures] = {}
    for round_ in range(1, rounds + 1):
        for relay in every if round_ % 2 else reversed(every):
            if relay.missing:
                continue
            click.echo(f"round {round_}: {relay.name}", err=True)
            with tempfile.TemporaryDirectory(prefix="chainsocks-benchmark-") as folder:
                _measure(relay, Path(folder), found.setdefault(relay.name, Figures()), seconds)
    click.echo(f"\n{tabulate(found, markdown=markdown)}")
    for relay in every:
        if relay.missing:
            click.echo(f"\n{relay.name}: skipped, {relay.missing}")


if __name__ == "__main__":
    main()
