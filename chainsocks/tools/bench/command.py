"""`chainsocks bench`, from its options to its output. Everything that can be checked is checked before it measures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chainsocks.config.hops import Hop, parse_hop_url
from chainsocks.config.models import Config
from chainsocks.config.suggest import describe, suggest
from chainsocks.errors import ConfigError, Problem
from chainsocks.net.poller import AVAILABLE
from chainsocks.protocol.address import printable
from chainsocks.tools.bench.accounting import exists
from chainsocks.tools.bench.report import Plotter, as_json, plotter, show
from chainsocks.tools.bench.run import Effort, OnStep, Part, open_subjects, run
from chainsocks.tools.bench.way import BenchError

__all__ = ["Options", "bench", "parse_parts"]

OWN_HOPS = 3


@dataclass(frozen=True, slots=True)
class Options:
    """The options as they were typed."""

    chain: str | None = None
    proxy: str | None = None
    hops: Sequence[str] = ()
    count: int | None = None
    pids: Sequence[int] = ()
    only: str | None = None
    seconds: float = 1.0
    idle_sessions: int = 1000
    json: bool = False
    plot: Path | None = None


def bench(config: Config | None, options: Options, output: Console, progress: Console) -> None:
    """Measure, and print a table or JSON on `output`; meanwhile show progress on `progress` if that is a terminal.

    With a `config`, one of its chains is measured: the one that the options name, or its default chain.

    Raises:
        ConfigError: options that are wrong; nothing was measured.
        OSError: the chart cannot be written; nothing was measured.
        DialError: a way cannot be opened.
        BenchError: a way does not work, or this is not Linux.
    """
    if not AVAILABLE:
        raise BenchError("bench runs on Linux only: its load needs epoll, sendfile and MSG_TRUNC")
    hops, parts, plot = _read(config, options)
    if options.plot:
        _try_to_write(options.plot)
    effort = Effort(options.seconds, options.idle_sessions)
    with (
        _bar(progress) as on_step,
        open_subjects(hops, tuple(options.pids), options.count or OWN_HOPS, on_step) as subjects,
    ):
        results = run(parts, effort, subjects, on_step)
    if plot and options.plot:
        plot.save_bars(results, [subject.way.name for subject in subjects], options.plot)
    if options.json:
        output.print(as_json(results, subjects, options.seconds), soft_wrap=True)
    else:
        show(results, subjects, output)


def parse_parts(text: str) -> frozenset[Part]:
    """Read ``bulk,sessions``.

    Raises:
        ValueError: an unknown part; the message names the known ones.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in list(Part):
            raise ValueError(f"unknown part {describe(name)}; expected some of {', '.join(Part)}, separated by commas")
    return frozenset(map(Part, names))


def _read(config: Config | None, options: Options) -> tuple[list[Hop], frozenset[Part], Plotter | None]:
    """Check the options; report all problems at once."""
    problems = []
    hops: list[Hop] = []
    parts = frozenset(Part)
    for option, urls in (("--proxy", [options.proxy] if options.proxy is not None else []), ("--hop", options.hops)):
        try:
            hops += map(parse_hop_url, urls)
        except ValueError as error:
            problems.append(Problem(option, str(error)))
    foreign = config is not None or options.proxy is not None or bool(options.hops)
    if config and (options.proxy is not None or options.hops):
        problems.append(Problem("--chain", "cannot be combined with --proxy or --hop: a chain of a file has its hops"))
    elif config:
        hops += _hops_of(config, options.chain, problems)
    if any(hop.is_unix for hop in hops):
        problems.append(Problem("--hop", "a hop at a unix socket cannot be measured: the load connects by TCP"))
    if options.proxy is not None and options.hops:
        problems.append(Problem("--hop", "cannot be combined with --proxy: give every hop of the chain with --hop"))
    if foreign and options.count is not None:
        problems.append(Problem("--hops", "N (the number of built-in hops) cannot be combined with other hops"))
    if options.pids and not foreign:
        problems.append(Problem("--pid", "needs --proxy, --hop or --chain: the processes of built-in hops are known"))
    problems += [Problem("--pid", f"there is no process {pid}") for pid in options.pids if not exists(pid)]
    try:
        parts = parse_parts(options.only) if options.only is not None else parts
    except ValueError as error:
        problems.append(Problem("--only", str(error)))
    if options.only is not None and parts == {Part.IDLE} and foreign and not options.pids:
        problems.append(Problem("--only", "idle measures the memory of a process: name it with --pid"))
    plot = None
    try:
        plot = plotter() if options.plot else None
    except ValueError as error:
        problems.append(Problem("--plot", str(error)))
    if problems:
        raise ConfigError(problems)
    return hops, parts, plot


def _hops_of(config: Config, name: str | None, problems: list[Problem]) -> tuple[Hop, ...]:
    """Return the hops of a chain of the file, the default one if it has no `name`; note why it cannot be measured."""
    chain = config.default_chain if name is None else config.chains.get(name)
    shown = printable(chain.name) if chain else ""
    if chain is None:
        wanted = "default" if name is None else name
        problem = f"no chain is called {printable(describe(wanted))}{suggest(wanted, config.chains)}"
    elif chain.route is None:
        problem = f"chain {shown} has a choice of hops: measure a chain without groups and skip_dead"
    elif not chain.hops:
        problem = f"chain {shown} has no hops: the direct connection is measured always"
    else:
        return chain.route.hops
    problems.append(Problem("--chain", problem))
    return ()


def _try_to_write(path: Path) -> None:
    """Raise `OSError` before the measurement if a file cannot be written; leave no new file behind."""
    is_new = not path.exists()
    with path.open("ab"):
        pass
    if is_new:
        path.unlink()


@contextmanager
def _bar(console: Console) -> Iterator[OnStep]:
    """Show a progress bar. It is drawn between steps only: drawing costs CPU time, which is being measured."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(
        *columns, console=console, auto_refresh=False, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("starting", total=None)

        def on_step(done: int, total: int | None, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what, refresh=True)

        yield on_step
