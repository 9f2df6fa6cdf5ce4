"""`chainsocks bench`, from its options to its end: what can be seen to be wrong is seen before it measures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chainsocks.config.hops import Hop, parse_hop_url
from chainsocks.errors import ConfigError, Problem
from chainsocks.net.poller import AVAILABLE
from chainsocks.tools.bench.accounting import exists
from chainsocks.tools.bench.figures import Part
from chainsocks.tools.bench.report import Plotter, as_json, plotter, show
from chainsocks.tools.bench.run import OnStep, Plan, open_subjects, run
from chainsocks.tools.bench.way import BenchError

__all__ = ["Options", "bench", "parse_parts"]

OWN_HOPS = 3


@dataclass(frozen=True, slots=True)
class Options:
    """What was typed."""

    proxy: str | None = None
    hops: Sequence[str] = ()
    count: int | None = None
    pids: Sequence[int] = ()
    only: str | None = None
    seconds: float = 1.0
    idle_sessions: int = 1000
    json: bool = False
    plot: Path | None = None


def bench(options: Options, output: Console, progress: Console) -> None:
    """Measure, and print a table or JSON on `output`, with a bar on `progress` meanwhile if that is a terminal.

    Raises:
        ConfigError: options that cannot be; nothing has been measured.
        OSError: the plot cannot be written, and nothing has been measured.
        DialError: a way cannot be opened.
        BenchError: a way does not work, or this is not Linux.
    """
    if not AVAILABLE:
        raise BenchError("bench runs on Linux: epoll, sendfile and MSG_TRUNC are what keeps its own load cheap")
    hops, parts, plot = _read(options)
    if options.plot:
        _try_to_write(options.plot)
    plan = Plan(parts, options.seconds, options.idle_sessions)
    with open_subjects(hops, tuple(options.pids), options.count or OWN_HOPS) as subjects, _bar(progress) as on_step:
        report = run(plan, subjects, on_step)
    if plot and options.plot:
        plot.save_bars(report, options.plot)
    if options.json:
        output.print(as_json(report), soft_wrap=True)
    else:
        show(report, output)


def parse_parts(text: str) -> frozenset[Part]:
    """Read ``bulk,sessions``.

    Raises:
        ValueError: saying which parts there are.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in list(Part):
            raise ValueError(f"there is no part {name!r}; expected some of {', '.join(Part)}, with commas between")
    return frozenset(map(Part, names))


def _read(options: Options) -> tuple[list[Hop], frozenset[Part], Plotter | None]:
    """Make sense of the options; all problems at once."""
    problems = []
    hops: list[Hop] = []
    parts = frozenset(Part)
    for option, urls in (("--proxy", [options.proxy] if options.proxy is not None else []), ("--hop", options.hops)):
        try:
            hops += map(parse_hop_url, urls)
        except ValueError as error:
            problems.append(Problem(option, str(error)))
    foreign = options.proxy is not None or bool(options.hops)
    if options.proxy is not None and options.hops:
        problems.append(Problem("--hop", "goes without --proxy: a chain is measured from its first hop on"))
    if foreign and options.count is not None:
        problems.append(Problem("--hops", "is a number of hops of our own; it goes without --proxy and --hop"))
    if options.pids and not foreign:
        problems.append(Problem("--pid", "goes with --proxy or --hop; of our own hops we know the processes"))
    problems += [Problem("--pid", f"there is no process {pid}") for pid in options.pids if not exists(pid)]
    try:
        parts = parse_parts(options.only) if options.only is not None else parts
    except ValueError as error:
        problems.append(Problem("--only", str(error)))
    if options.only is not None and parts == {Part.IDLE} and foreign and not options.pids:
        problems.append(Problem("--only", "the memory of idle sessions is that of a process: name it with --pid"))
    plot = None
    try:
        plot = plotter() if options.plot else None
    except ValueError as error:
        problems.append(Problem("--plot", str(error)))
    if problems:
        raise ConfigError(problems)
    return hops, parts, plot


def _try_to_write(path: Path) -> None:
    """Find out now that a file cannot be written, and not after the measurement; leave no new one behind."""
    is_new = not path.exists()
    with path.open("ab"):
        pass
    if is_new:
        path.unlink()


@contextmanager
def _bar(console: Console) -> Iterator[OnStep]:
    """Show how far it is. The bar is drawn between steps only: drawing costs CPU time, which is being measured."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(
        *columns, console=console, auto_refresh=False, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("starting", total=None)

        def on_step(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what, refresh=True)

        yield on_step
