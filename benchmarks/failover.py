"""``python -m benchmarks.failover``: what clients notice when a hop of a group dies under load, and when it is back.

1. A request fails when it is refused, or when its echo does not come back. Sessions that had been granted through the
   hop before it died are cut off with it, and counted apart.
2. A connect or a negotiation that had begun before may take all its time (the limit). After that no request may fail.
3. The server must find out by itself that the hop is back, and send sessions through it again.

The exit status is 1 if a request failed against 2, or the hop was not used again.
"""

from __future__ import annotations

import math
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from benchmarks.compare import describe_run
from benchmarks.dying import FIRST, Effort, Run, Scenario, run_once
from benchmarks.steady import Session
from benchmarks.tables import render_results
from chainsocks.server.file_limit import raise_limit
from chainsocks.tools.bench.echo import percentile
from chainsocks.tools.bench.figures import Figure, Results, Unit

__all__ = ["SCENARIOS", "broken_promises", "main", "tabulate"]

SCENARIOS = (
    Scenario("killed", signal.SIGKILL),
    Scenario("mute", signal.SIGSTOP),
    Scenario("mute, with a hedge", signal.SIGSTOP, is_hedged=True),
)

FULL = Effort()
SMOKE = Effort(rate=50, before=0.3, down=1.2, after=1, limit=1, hedge=0.1, rest=0.1, longest_rest=0.2)

FAILED = 1

REASONS = 3
"""Reasons of failures to quote."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a run, with its beginning and end."""

    name: str
    bounds: Callable[[Run, float], tuple[float, float]]

    def has(self, moment: float, run: Run, limit: float) -> bool:
        """Whether a moment is in the slice."""
        begin, end = self.bounds(run, limit)
        return begin <= moment < end


BEFORE = Slice("before", lambda run, _: (-math.inf, run.died_at))
WITHIN = Slice("within the limit", lambda run, limit: (run.died_at, run.died_at + limit))
WITHOUT = Slice("without the hop", lambda run, limit: (run.died_at + limit, run.alive_at))
AFTER = Slice("since it is back", lambda run, _: (run.alive_at, math.inf))
SLICES = (BEFORE, WITHIN, WITHOUT, AFTER)

SESSIONS = Figure("sessions", "sessions", Unit("", more_is_better=True))
FAILURES = Figure("failed", "failed", Unit(""))
TIMES = {percent: Figure(f"p{percent}_seconds", f"p{percent}", Unit("ms", 1e3)) for percent in (50, 99)}


def tabulate(scenario: Scenario, runs: Sequence[Run], effort: Effort, results: Results) -> None:
    """Add the results of a scenario, all runs together, slice by slice.

    Sessions that were open when the hop died are in no slice's times: a note counts them.
    """
    for part in SLICES:
        counted = [_in(part, run, [one for one, _ in run.sessions], effort) for run in runs]
        failed = sum(len(_in(part, run, run.failed, effort)) for run in runs)
        sample = {SESSIONS: float(sum(map(len, counted))), FAILURES: float(failed)}
        seconds = sorted(
            one.seconds
            for run, sessions in zip(runs, counted, strict=True)
            for one in sessions
            if not one.error and not run.was_open(one)
        )
        if seconds:
            sample |= {figure: percentile(seconds, percent) for percent, figure in TIMES.items()}
        results.add(f"{scenario.name}: {part.name}", sample)
    for note in _notes(runs):
        results.note(scenario.name, note)


def _in(part: Slice, run: Run, sessions: Sequence[Session], effort: Effort) -> list[Session]:
    """Return the sessions of a slice: those that began in it, or were open when the hop died in it."""
    moments = [(one, run.died_at if run.was_open(one) else one.due) for one in sessions]
    return [one for one, moment in moments if part.has(moment, run, effort.limit)]


def _notes(runs: Sequence[Run]) -> Iterator[str]:
    opened = sum(run.was_open(one) for run in runs for one, _ in run.sessions)
    cut = sum(len(run.cut) for run in runs)
    yield f"{opened} sessions were open when the hop died, {cut} of them were cut off with it"
    yield f"the hop was used again {' s, '.join(f'{run.back_after:.1f}' for run in runs)} s after it could be"
    again = [hop for run in runs for one, hop in run.sessions if one.opened >= run.used_again_at]
    if again:
        yield f"{again.count(FIRST) / len(again):.0%} of the sessions used it from then on"
    errors = Counter(one.error for run in runs for one in run.failed)
    refusals = Counter(reason for run in runs for reason in run.refusals)
    for reason, times in [*errors.most_common(REASONS), *refusals.most_common(REASONS)]:
        yield f"{times} x {reason}"


def broken_promises(runs: Sequence[Run], effort: Effort) -> list[str]:
    """Return what the server should have done and did not."""
    lost = sum(len(_in(part, run, run.failed, effort)) for run in runs for part in (BEFORE, WITHOUT, AFTER))
    broken = [f"{lost} requests failed outside of the limit"] if lost else []
    if any(math.isinf(run.back_after) for run in runs):
        broken.append("the hop was not used again")
    return broken


@click.command()
@click.option("--rate", default=FULL.rate, type=click.FloatRange(1), show_default=True, help="Sessions a second.")
@click.option(
    "--down", default=FULL.down, type=click.FloatRange(0.1), show_default=True, help="Seconds without the hop."
)
@click.option("--rounds", default=1, type=click.IntRange(1), show_default=True, help="Runs of each scenario.")
@click.option("--only", type=click.Choice([scenario.name for scenario in SCENARIOS]), help="Only this scenario.")
@click.option("--markdown", is_flag=True, help="Print the table in Markdown.")
@click.option("--smoke", is_flag=True, help="Only test that it works; the times mean nothing.")
def main(*, rate: float, down: float, rounds: int, only: str | None, markdown: bool, smoke: bool) -> None:
    """Kill a hop of a group under load, and bring it back."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the servers are ended
    raise_limit()
    effort = SMOKE if smoke else replace(FULL, rate=rate, down=down)
    results = Results("")
    broken = []
    click.echo(describe_run("benchmarks.failover"))
    for scenario in SCENARIOS:
        if only not in (None, scenario.name):
            continue
        runs = []
        for number in range(rounds):
            click.echo(f"{scenario.name}, round {number + 1} of {rounds}", err=True)
            with tempfile.TemporaryDirectory(prefix="chainsocks-benchmark-") as folder:
                runs.append(run_once(scenario, effort, Path(folder)))
        tabulate(scenario, runs, effort, results)
        broken += [f"{scenario.name}: {promise}" for promise in broken_promises(runs, effort)]
    click.echo(f"\n{render_results(results, (), markdown=markdown)}")
    if broken:
        click.echo("\n".join(broken), err=True)
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
