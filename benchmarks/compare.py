"""``python -m benchmarks.compare``: our server beside others that people use, on this machine, in one run.

Each round measures every contestant once, one after the other, and each round begins with another contestant: changes
on the machine meanwhile affect all of them alike. The tables have the medians of all rounds. The measurements are those
of `chainsocks bench`.
"""

from __future__ import annotations

import os
import platform
import shlex
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from benchmarks.contestants import Contestant
from benchmarks.cores import CannotLimit
from benchmarks.peers import OURS, PEERS, Peer
from benchmarks.programs import CannotStart
from benchmarks.sections import SECTIONS, Section
from benchmarks.tables import render_results
from chainsocks.errors import ChainsocksError
from chainsocks.server.file_limit import raise_limit
from chainsocks.tools.bench.figures import Results
from chainsocks.tools.bench.run import Effort

__all__ = ["choose_peers", "choose_sections", "compare", "describe_build", "describe_run", "main"]

SMOKE = Effort(seconds=0.05, idle_sessions=20)

FAILED = 1

TROUBLE = (ChainsocksError, CannotStart, OSError, subprocess.CalledProcessError)
"""Errors that end the measurements of one contestant only."""

OTHERS = {peer.name for peer in PEERS if peer.name != OURS}
"""The contestants that are not ours: their failures do not make the run fail."""

Progress = Callable[[str], None]


def choose_peers(names: Sequence[str]) -> list[Peer]:
    """Return the peers of these names, or all; ours is always among them."""
    return [peer for peer in PEERS if not names or peer.name in names or peer.name == OURS]


def choose_sections(names: Sequence[str]) -> list[Section]:
    """Return the sections of these names, or all."""
    return [section for section in SECTIONS if not names or section.name in names]


def compare(
    section: Section, peers: Sequence[Peer], effort: Effort, rounds: int, folder: Path, progress: Progress
) -> Results:
    """Measure the contestants of a section, `rounds` times; one that fails is not measured again."""
    results = Results(section.reference)
    able, out = [], set()
    for contestant in section.contestants(peers):
        if contestant.missing:
            results.note(contestant.name, f"skipped, {contestant.missing}")
        else:
            able.append(contestant)
    for number in range(rounds):
        for contestant in _rotated(able, number):
            name = contestant.name
            if name in out:
                continue
            progress(f"{section.name}, round {number + 1} of {rounds}: {name}")
            own = folder / name
            own.mkdir(exist_ok=True)

            def note(text: str, name: str = name) -> None:
                results.note(name, text)

            try:
                with contestant.open(own) as opened:
                    sample = section.measure(opened, effort, note)
            except CannotLimit as error:
                out.add(name)
                results.note(name, f"skipped, {error}")
            except TROUBLE as error:
                out.add(name)
                results.fail(name, str(error))
            else:
                results.add(name, sample)
    return results


def _rotated(contestants: Sequence[Contestant], by: int) -> Iterator[Contestant]:
    first = by % len(contestants) if contestants else 0
    yield from contestants[first:]
    yield from contestants[:first]


def describe_run(module: str = "benchmarks.compare") -> str:
    """Return the date, the machine and the command of this run."""
    model = "an unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(": ")[2]
    cores = len(os.sched_getaffinity(0))
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    build = describe_build(sysconfig.get_config_var("CONFIG_ARGS"))
    command = shlex.join(["python", "-m", module, *sys.argv[1:]])
    return f"{datetime.now(UTC):%Y-%m-%d}, {model}, {cores} cores, {system} ({build}): `{command}`"


def describe_build(arguments: str | None) -> str:
    """Return how this Python was optimised, by the arguments of its ``configure``; None if they are not known.

    Profile-guided and link-time optimisation (PGO, LTO) make the bytecode loop up to twice as fast.
    """
    if arguments is None:
        return "of an unknown build"
    words = shlex.split(arguments)
    lto = [word for word in words if word.startswith("--with-lto")]
    has = {
        "PGO": "--enable-optimizations" in words,
        "LTO": bool(lto) and lto[-1] != "--with-lto=no",
    }
    return " and ".join(f"{'with' if there else 'without'} {what}" for what, there in has.items())


def _split(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    """Split the names of sections.

    Raises:
        click.BadParameter: a name is unknown.
    """
    known = [section.name for section in SECTIONS]
    names = tuple(filter(None, value.split(",")))
    for name in names:
        if name not in known:
            raise click.BadParameter(f"unknown section {name!r}; expected some of {', '.join(known)}")
    return names


@click.command()
@click.option("--only", callback=_split, default="", metavar="SECTION,...", help="Only these sections.")
@click.option(
    "--peer",
    "names",
    multiple=True,
    type=click.Choice([peer.name for peer in PEERS]),
    help="Only us and this peer; repeatable.",
)
@click.option("--rounds", default=5, type=click.IntRange(1), show_default=True, help="Measurements of each contestant.")
@click.option("--seconds", default=3.0, type=click.FloatRange(0.01), show_default=True, help="Of one measurement.")
@click.option("--idle", default=5000, type=click.IntRange(1), show_default=True, help="Number of idle sessions.")
@click.option("--markdown", is_flag=True, help="Print the tables in Markdown.")
@click.option("--smoke", is_flag=True, help="Only test that everything works; the figures mean nothing.")
def main(
    *,
    only: tuple[str, ...],
    names: tuple[str, ...],
    rounds: int,
    seconds: float,
    idle: int,
    markdown: bool,
    smoke: bool,
) -> None:
    """Compare our server with the others that are installed, on loopback."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the servers are ended
    raise_limit()
    effort, rounds = (SMOKE, 1) if smoke else (Effort(seconds, idle), rounds)
    click.echo(describe_run())
    peers = choose_peers(names)
    failed = []
    with tempfile.TemporaryDirectory(prefix="chainsocks-benchmark-") as folder:
        for section in choose_sections(only):
            results = compare(section, peers, effort, rounds, Path(folder), _say)
            failed += [f"{section.name}: {name}" for name in sorted(results.failed - OTHERS)]
            table = render_results(results, [peer.name for peer in peers], markdown=markdown)
            click.echo(f"\n{'### ' if markdown else ''}{section.title}\n\n{table}")
    if failed:
        click.echo(f"could not be measured: {', '.join(failed)}", err=True)
        sys.exit(FAILED)


def _say(what: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')} {what}", err=True)


if __name__ == "__main__":
    main()
