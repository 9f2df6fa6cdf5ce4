"""``python -m benchmarks.compare``: our server beside those that people use instead, on this machine, in one run.

Interleaved: in each round everybody is measured once, one after the other, and each round begins with somebody else.
What the machine does in the meantime meets them all alike; what is shown are the medians of all rounds.
"""

from __future__ import annotations

import os
import platform
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from benchmarks.ceiling import NoCeiling
from benchmarks.contestants import Contestant
from benchmarks.figures import Results
from benchmarks.peers import OURS, PEERS, Peer
from benchmarks.programs import CannotStart
from benchmarks.sections import SECTIONS, Effort, Section
from benchmarks.tables import render_markdown, render_text
from chainsocks.errors import ChainsocksError
from chainsocks.tools.bench.descriptors import raise_limit

__all__ = ["choose_peers", "choose_sections", "compare", "describe_run", "main"]

SMOKE = Effort(seconds=0.05, idle=20)

FAILED = 1

TROUBLE = (ChainsocksError, CannotStart, OSError, subprocess.CalledProcessError)
"""What keeps one from being measured, and no other."""

OTHERS = {peer.name for peer in PEERS if peer.name != OURS}
"""Those whose failures are theirs; all others are ours."""

Progress = Callable[[str], None]


def choose_peers(names: Sequence[str]) -> list[Peer]:
    """Return the peers of these names, or all; ours are always among them."""
    return [peer for peer in PEERS if not names or peer.name in names or peer.name == OURS]


def choose_sections(names: Sequence[str]) -> list[Section]:
    """Return the sections of these names, or all."""
    return [section for section in SECTIONS if not names or section.name in names]


def compare(
    section: Section, peers: Sequence[Peer], effort: Effort, rounds: int, folder: Path, progress: Progress
) -> Results:
    """Measure everybody who takes part in a section, `rounds` times; who fails once is not tried again."""
    results = Results(section.reference)
    able, out = [], set()
    for contestant in section.contestants(peers):
        if contestant.missing:
            results.remark(contestant.name, f"skipped, {contestant.missing}")
        else:
            able.append(contestant)
    for number in range(rounds):
        for contestant in _rotated(able, number):
            if contestant.name in out:
                continue
            progress(f"{section.name}, round {number + 1} of {rounds}: {contestant.name}")
            own = folder / contestant.name
            own.mkdir(exist_ok=True)
            try:
                with contestant.open(own) as opened:
                    sample = section.measure(opened, effort, _remark_on(results, contestant.name))
            except NoCeiling as error:
                out.add(contestant.name)
                results.remark(contestant.name, f"skipped, {error}")
            except TROUBLE as error:
                out.add(contestant.name)
                results.fail(contestant.name, str(error))
            else:
                results.add(contestant.name, sample)
    return results


def _rotated(contestants: Sequence[Contestant], by: int) -> Iterator[Contestant]:
    first = by % len(contestants) if contestants else 0
    yield from contestants[first:]
    yield from contestants[:first]


def _remark_on(results: Results, name: str) -> Callable[[str], None]:
    return lambda remark: results.remark(name, remark)


def describe_run(module: str = "benchmarks.compare") -> str:
    """Say when, on which machine and how this is measured."""
    model = "an unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(": ")[2]
    cores = len(os.sched_getaffinity(0))
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    command = shlex.join(["python", "-m", module, *sys.argv[1:]])
    return f"{datetime.now(UTC):%Y-%m-%d}, {model}, {cores} cores, {system}: `{command}`"


def _split(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    """Split the names of sections, and see that there are such.

    Raises:
        click.BadParameter: there is none of that name.
    """
    known = [section.name for section in SECTIONS]
    names = tuple(filter(None, value.split(",")))
    for name in names:
        if name not in known:
            raise click.BadParameter(f"there is no section {name!r}; there are {', '.join(known)}")
    return names


@click.command()
@click.option("--only", callback=_split, default="", metavar="SECTION,...", help="Sections; all of them, if not given.")
@click.option("--peer", "names", multiple=True, type=click.Choice([peer.name for peer in PEERS]), help="Repeatable.")
@click.option("--rounds", default=5, type=click.IntRange(1), show_default=True, help="Measurements of each.")
@click.option("--seconds", default=3.0, type=click.FloatRange(0.01), show_default=True, help="For one measurement.")
@click.option("--idle", default=5000, type=click.IntRange(1), show_default=True, help="Idle sessions.")
@click.option("--markdown", is_flag=True, help="Print the tables as README.md has them.")
@click.option("--smoke", is_flag=True, help="See whether it works; the figures mean nothing.")
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
    """Compare our server with those that are installed, on loopback."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # or else the servers would be left
    raise_limit()
    effort, rounds = (SMOKE, 1) if smoke else (Effort(seconds, idle), rounds)
    click.echo(describe_run())
    peers = choose_peers(names)
    failed = []
    with tempfile.TemporaryDirectory(prefix="chainsocks-benchmark-") as folder:
        for section in choose_sections(only):
            results = compare(section, peers, effort, rounds, Path(folder), _say)
            failed += [f"{section.name}: {name}" for name in sorted(results.failed - OTHERS)]
            render, head = (render_markdown, "### ") if markdown else (render_text, "")
            click.echo(f"\n{head}{section.title}\n\n{render(results, [peer.name for peer in peers])}")
    if failed:
        click.echo(f"could not be measured: {', '.join(failed)}", err=True)
        sys.exit(FAILED)


def _say(what: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')} {what}", err=True)


if __name__ == "__main__":
    main()
