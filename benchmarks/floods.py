"""``python -m benchmarks.floods``: what one client's flood does to the ordinary sessions of another client.

1. Server, flood and innocent client have addresses of their own, in network namespaces (`lab`).
2. A round has a server for each case: the innocent client alone, then the innocent client beside the flood. Its
   sessions begin at a steady rate, and each has a word echoed.
3. A case passes if none of the innocent sessions beside the flood failed, and their p99 is at most twice the quiet one
   or below 20 ms. The ratio and the times are medians over all rounds.

The exit status is 1 if a case does not pass, and 2 if there can be no namespaces here.
"""

from __future__ import annotations

import math
import os
import signal
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count, repeat
from pathlib import Path

import click

from benchmarks.compare import describe_run
from benchmarks.flooders import Flood, open_flood
from benchmarks.lab import CLIENT, SERVER, CannotIsolate, enter, open_link, use_name_server
from benchmarks.names import ALIVE, open_name_server
from benchmarks.programs import Program, open_programs
from benchmarks.steady import Session, run_steadily
from benchmarks.tables import render
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.passwords import hash_password
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import UsernamePassword
from chainsocks.server.file_limit import raise_limit
from chainsocks.tools.bench.accounting import cpu_seconds
from chainsocks.tools.bench.echo import percentile
from chainsocks.tools.bench.target import Target, open_target
from chainsocks.tools.bench.way import Route, Way

__all__ = ["CASES", "Case", "Effort", "Pair", "main", "passes", "tabulate"]

LISTEN = Address(SERVER, 1080)

MAX_SESSIONS = 500

HOUSEFUL = 600
"""Connections of a flood that wants to hold all sessions that the server may have."""

CROWD = 5000
"""Connections of a flood that the server may hold all, unless a limit says otherwise."""

PASSWORD = "right"

LIMIT, RATIO = 0.02, 2.0
"""A p99 below so many seconds passes, and so does one that is at most so many times the quiet one."""

SETTLE = 0.5
"""Seconds from when all connections of a flood are open to the first session beside it."""

FAILED, IMPOSSIBLE = 1, 2

REASONS = 2
"""Reasons of failures to quote for a case."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done: `rate` in sessions a second, for `seconds` each time."""

    rounds: int = 9
    rate: float = 100
    seconds: float = 2
    warm_up: int = 30
    """Sessions before the first measurement of a server."""


FULL = Effort()
SMOKE = Effort(rounds=1, rate=20, seconds=0.5, warm_up=3)


@dataclass(frozen=True, slots=True)
class Case:
    """A flood, with so many connections, and the innocent sessions beside it."""

    name: str
    flood: Flood
    connections: int
    routes: Callable[[Target], Iterator[Route]]
    server: Sequence[str] = ()
    """What the configuration says besides ``[server]``."""
    rate: float = 1
    """Of the innocent sessions, as a part of `Effort.rate`."""
    max_sessions: int = MAX_SESSIONS
    pace: float | None = None
    """Connections of the flood a second; None for as many as there are to be, and 200 a second after that."""
    log_is_unread: bool = False
    """The server logs each step, to a pipe that nothing reads during the flood."""


def _to_address(target: Target) -> Iterator[Route]:
    return repeat(Route(_way(), target.echo))


def _to_names(target: Target) -> Iterator[Route]:
    """Each session is for a name that was not used before."""
    return (Route(_way(), Address(f"n{number}.{ALIVE}", target.echo.port)) for number in count())


def _with_login(target: Target) -> Iterator[Route]:
    """All sessions have one login."""
    return repeat(Route(_way("known"), target.echo))


def _with_first_logins(target: Target) -> Iterator[Route]:
    """Each session has a login that was not used before."""
    return (Route(_way(f"user{number}"), target.echo) for number in count())


def _way(user: str = "") -> Way:
    credentials = UsernamePassword(user.encode(), PASSWORD.encode()) if user else None
    return Way("front", (Hop("front", HopProtocol.SOCKS5, LISTEN, credentials),))


def _users(count: int) -> list[str]:
    """Return the configuration of `known`, and of so many others with the same password."""
    line, names = hash_password(PASSWORD.encode()), ["known", *(f"user{number}" for number in range(count))]
    return [text for name in names for text in ("[[users]]", f'name = "{name}"', f'password_hash = "{line}"')]


USERS = _users(200)

HANDSHAKES = ["[limits]", "handshakes = 500"]
FAILED_LOGINS = ["[limits]", "failed_logins = 5"]

SLOW: tuple[tuple[str, Flood, Callable[[Target], Iterator[Route]], list[str]], ...] = (
    ("silent", Flood.SILENT, _to_address, []),
    ("half a greeting", Flood.HALF_GREETING, _to_address, []),
    ("half a login", Flood.HALF_LOGIN, _with_login, USERS),
    ("half a request", Flood.HALF_REQUEST, _to_address, []),
)
"""Each step of the handshake at which a client can be slow."""

CASES = (
    Case("dead names", Flood.NAMES, 300, _to_names),
    Case("UDP to dead names", Flood.UDP, 40, _to_names),
    Case("wrong logins, known user", Flood.LOGINS, 400, _with_login, USERS),
    Case("wrong logins, first login", Flood.LOGINS, 400, _with_first_logins, USERS, rate=0.05),
    Case("silent", Flood.SILENT, HOUSEFUL, _to_address),
    Case("half a greeting", Flood.HALF_GREETING, HOUSEFUL, _to_address),
    Case("half a login", Flood.HALF_LOGIN, HOUSEFUL, _with_login, USERS),
    Case("half a request", Flood.HALF_REQUEST, HOUSEFUL, _to_address),
    Case("silent destination", Flood.NO_ANSWER, HOUSEFUL, _to_address),
    Case("unread log", Flood.SESSIONS, 20, _to_address, log_is_unread=True),
    *(
        Case(f"{CROWD} {name}{remark}", flood, CROWD, routes, [*limits, *server], max_sessions=2 * CROWD)
        for name, flood, routes, server in SLOW
        for remark, limits in (("", []), (", handshakes = 500", HANDSHAKES))
    ),
    Case("50 wrong logins a second", Flood.LOGINS, CROWD, _with_login, USERS, pace=50),
    Case(
        "50 wrong logins a second, failed_logins = 5",
        Flood.LOGINS,
        CROWD,
        _with_login,
        [*FAILED_LOGINS, *USERS],
        pace=50,
    ),
    Case(
        "50 wrong logins a second, failed_logins = 5, first login",
        Flood.LOGINS,
        CROWD,
        _with_first_logins,
        [*FAILED_LOGINS, *USERS],
        rate=0.05,
        pace=50,
    ),
)


@dataclass(slots=True)
class Pair:
    """The innocent sessions of a round, alone and beside the flood; and the flood's CPU time, as a part of a core."""

    quiet: Sequence[Session]
    beside: Sequence[Session]
    cpu: float

    def p99s(self) -> tuple[float, float]:
        """Return both p99."""
        return _percentile(self.quiet, 99), _percentile(self.beside, 99)


def _percentile(sessions: Sequence[Session], percent: float) -> float:
    """Return a percentile in seconds; a session that failed has taken infinitely long."""
    return percentile(sorted(math.inf if one.error else one.seconds for one in sessions), percent)


def run_pair(case: Case, effort: Effort, prefix: Sequence[str], target: Target, folder: Path) -> Pair:
    """Run the innocent client alone, and beside the flood, with a server of their own."""
    with _open_server(case, prefix, folder) as reader:
        routes, rate = case.routes(target), effort.rate * case.rate

        def run(seconds: float) -> list[Session]:
            until = time.monotonic() + seconds
            return run_steadily(routes, rate=rate, until=lambda due: due >= until)

        run(effort.warm_up / effort.rate)
        quiet = run(effort.seconds)
        if reader:
            reader.send_signal(signal.SIGSTOP)
        with open_flood(case.flood, LISTEN, target.echo, case.connections, case.pace) as pid:
            time.sleep(SETTLE)
            began, used = time.monotonic(), cpu_seconds([pid])
            beside = run(effort.seconds)
            cpu = (cpu_seconds([pid]) - used) / (time.monotonic() - began)
    return Pair(quiet, beside, cpu)


@contextmanager
def _open_server(case: Case, prefix: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes] | None]:
    """Run the server of a case; yield the reader of its log, if it logs to a pipe."""
    config, pipe = folder / "chainsocks.toml", folder / "log"
    lines = ["[server]", f'listen = ["{LISTEN}"]', f"max_sessions = {case.max_sessions}", "open = true"]
    lines += ["[control]", 'socket = "off"', *case.server]
    config.write_text("\n".join(lines) + "\n")
    command: list[str | Path] = [*prefix, Path(sysconfig.get_path("scripts")) / "chainsocks", "serve", "-c", config]
    with ExitStack() as stack:
        reader = None
        if case.log_is_unread:
            os.mkfifo(pipe)
            reader = stack.enter_context(subprocess.Popen(["cat", pipe], stdout=subprocess.DEVNULL))
            stack.callback(reader.kill)
            command = ["sh", "-c", 'exec "$@" 2>"$0"', pipe, *command, "-v"]
        stack.enter_context(open_programs(lambda: [Program(command, LISTEN)], folder))
        yield reader


def passes(pairs: Sequence[Pair]) -> bool:
    """Tell whether a case is as it should be."""
    _, beside = _medians(pairs, 99)
    return not any(one.error for pair in pairs for one in pair.beside) and (beside < LIMIT or _ratio(pairs) <= RATIO)


def _medians(pairs: Sequence[Pair], percent: float) -> tuple[float, float]:
    quiet, beside = ([_percentile(getattr(pair, name), percent) for pair in pairs] for name in ("quiet", "beside"))
    return statistics.median(quiet), statistics.median(beside)


def _ratio(pairs: Sequence[Pair]) -> float:
    return statistics.median(
        beside / quiet if quiet < math.inf else 1.0 for quiet, beside in (one.p99s() for one in pairs)
    )


HEAD = (
    "",
    "quiet p50, ms",
    "quiet p99, ms",
    "flood p50, ms",
    "flood p99, ms",
    "ratio of p99",
    "failed",
    "of sessions",
    "CPU of the flood",
    "verdict",
)


def tabulate(runs: dict[str, list[Pair]], *, markdown: bool = False) -> str:
    """Return a row for each case, and a line for each frequent reason of failures."""
    rows, notes = [], []
    for name, pairs in runs.items():
        times = [each for percent in (50, 99) for each in _medians(pairs, percent)]
        errors = Counter(one.error for pair in pairs for one in pair.beside if one.error)
        figures = [f"{times[place] * 1e3:.1f}" for place in (0, 2, 1, 3)]
        figures += [f"{_ratio(pairs):.2f}", str(errors.total()), str(sum(len(pair.beside) for pair in pairs))]
        figures += [f"{statistics.median(pair.cpu for pair in pairs):.1%}", "passes" if passes(pairs) else "FAILS"]
        rows.append([name, *figures])
        notes += [f"{name}: {times} x {reason}" for reason, times in errors.most_common(REASONS)]
        if failed := sum(bool(one.error) for pair in pairs for one in pair.quiet):
            notes.append(f"{name}: {failed} sessions failed without the flood")
    lines = [f"- {note}" for note in notes] if markdown else notes
    return "\n".join([render(HEAD, rows, markdown=markdown), *([""] if markdown and notes else []), *lines])


def run(cases: Sequence[Case], effort: Effort, folder: Path) -> dict[str, list[Pair]]:
    """Run all rounds; each goes through all cases.

    Raises:
        CannotIsolate: the network cannot be made.
    """
    runs: dict[str, list[Pair]] = {case.name: [] for case in cases}
    use_name_server(CLIENT, folder)
    with open_link() as prefix, open_name_server(CLIENT, CLIENT), open_target(CLIENT) as target:
        for number in range(effort.rounds):
            for case in cases:
                click.echo(f"round {number + 1} of {effort.rounds}, {case.name}", err=True)
                with tempfile.TemporaryDirectory(dir=folder) as own:
                    runs[case.name].append(run_pair(case, effort, prefix, target, Path(own)))
    return runs


@click.command()
@click.option("--rounds", default=FULL.rounds, type=click.IntRange(1), show_default=True, help="Rounds of each case.")
@click.option("--rate", default=FULL.rate, type=click.FloatRange(1), show_default=True, help="Sessions a second.")
@click.option(
    "--seconds", default=FULL.seconds, type=click.FloatRange(0.1), show_default=True, help="Of each measurement."
)
@click.option("--only", multiple=True, type=click.Choice([case.name for case in CASES]), help="Only these cases.")
@click.option("--markdown", is_flag=True, help="Print the table in Markdown.")
@click.option("--smoke", is_flag=True, help="Only test that it works; the times mean nothing.")
def main(*, rounds: int, rate: float, seconds: float, only: tuple[str, ...], markdown: bool, smoke: bool) -> None:
    """Flood a server from one address, and measure the sessions of another one."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the servers are ended
    effort = SMOKE if smoke else Effort(rounds, rate, seconds)
    cases = [case for case in CASES if not only or case.name in only]
    try:
        enter("benchmarks.floods", sys.argv[1:])
        raise_limit()
        with tempfile.TemporaryDirectory(prefix="chainsocks-benchmark-") as folder:
            runs = run(cases, effort, Path(folder))
    except CannotIsolate as error:
        click.echo(f"skipped: {error}", err=True)
        sys.exit(0 if smoke else IMPOSSIBLE)
    click.echo(f"{describe_run('benchmarks.floods')}\n\n{tabulate(runs, markdown=markdown)}")
    if not smoke and not all(map(passes, runs.values())):
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
