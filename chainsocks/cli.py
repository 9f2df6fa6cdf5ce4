"""The command line. Exit status: 0 success, 1 failure, 2 wrong usage or configuration. Never a traceback."""

from __future__ import annotations

import errno
import functools
import io
import logging
import os
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import trio
from rich.console import Console

from chainsocks.config.chains import Chain
from chainsocks.config.hops import parse_hop_url
from chainsocks.config.listeners import Listener
from chainsocks.config.load import find_config, load_config
from chainsocks.config.models import IDLE_WORKERS, OPEN_PROXY, Config
from chainsocks.config.passwords import hash_password
from chainsocks.config.values import parse_listen
from chainsocks.errors import ChainsocksError, ConfigError, Problem
from chainsocks.observe.log import flush_log, start_logging
from chainsocks.protocol.socks5 import MAX_LOGIN
from chainsocks.server.file_limit import files_warning, raise_limit
from chainsocks.server.serve import serve_until_signalled
from chainsocks.server.workers import count_workers, serve_with_workers, share_out
from chainsocks.session.own_listeners import hops_that_lead_back
from chainsocks.tools.bench.command import Options as BenchOptions
from chainsocks.tools.bench.command import bench as run_bench
from chainsocks.tools.check import show_config, warnings
from chainsocks.tools.demo import demo as run_demo
from chainsocks.tools.explain import explain_here, read_question
from chainsocks.tools.manual import show_page
from chainsocks.tools.probe.command import Options as ProbeOptions
from chainsocks.tools.probe.command import probe as run_probe

__all__ = ["main"]

FAILED, WRONG = 1, 2
TRACEBACK = "CHAINSOCKS_TRACEBACK"
"""The environment variable that shows the traceback of a bug."""

WIDE = 1000
"""Columns of tables. Terminals wrap longer lines by themselves, and lose nothing."""

config_option = click.option(
    "-c", "--config", "path", type=click.Path(path_type=Path), help="Configuration file (TOML)."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(package_name="chainsocks")
@click.pass_context
def cli(context: click.Context) -> None:
    """A SOCKS4/4a/5 server that connects through an ordered chain of SOCKS hops."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(WRONG)


@cli.command()
@config_option
@click.option("--listen", multiple=True, metavar="ADDR", help="host:port, [::1]:port or unix:/path; repeatable.")
@click.option("--hop", "hops", multiple=True, metavar="URL", help="A hop of the default chain, in order; repeatable.")
@click.option("--workers", type=click.IntRange(min=0), metavar="N", help="Processes that serve; 0: one per core.")
@click.option("-v", "--verbose", is_flag=True, help="Log every step.")
@click.option("-q", "--quiet", is_flag=True, help="Log warnings and errors only.")
def serve(
    path: Path | None,
    listen: tuple[str, ...],
    hops: tuple[str, ...],
    workers: int | None,
    *,
    verbose: bool,
    quiet: bool,
) -> None:
    """Run the proxy. Without a file and hops: direct, on 127.0.0.1:1080."""
    start_logging(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    config = _with_options(_load(path), listen, hops, workers)
    processes = count_workers(config.server)
    files = files_warning(raise_limit(), max(share_out(config.server.max_sessions, processes)))
    for warning in [*warnings(config), *filter(None, [files])]:
        logging.getLogger("chainsocks").warning("%s", warning)
    if processes == 1:
        trio.run(serve_until_signalled, config)
    else:
        serve_with_workers(config, processes)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path), required=False, metavar="[FILE]")
@config_option
@click.option("--explain", metavar="HOST:PORT", help="Show how a request for this would be routed, and why.")
@click.option("--from", "host", metavar="IP", help="The client's address; by default one that no `from` has.")
@click.option(
    "--user",
    metavar="NAME",
    help="The user that the client logs in as, or that its identd names.",
)
@click.option(
    "--command", "what", type=click.Choice(["connect", "bind", "udp", "resolve"]), default="connect", show_default=True
)
@click.option("--socks", type=click.Choice(["4", "4a", "5"]), default="5", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Explain in JSON.")
def check(
    file: Path | None,
    path: Path | None,
    explain: str | None,
    host: str | None,
    user: str | None,
    what: str,
    socks: str,
    *,
    as_json: bool,
) -> int:
    """Check a configuration file.

    Prints every problem with its place, or else the resulting chains, rules and deadlines. With --explain, shows
    instead how one request would be routed; the exit status is then 0 if it is allowed, and 1 if not.
    """
    path = file or path or find_config()
    if path is None:
        raise click.UsageError("no configuration file found in the usual places; name it: chainsocks check FILE")
    config = load_config(path)
    if explain is not None:
        request, caller = read_question(config, explain, host, user, what, socks)
        explanation = explain_here(config, request, caller)
        click.echo(explanation.json() if as_json else "\n".join(explanation.lines()))
        return 0 if explanation.allowed else FAILED
    if host is not None or user is not None or as_json:
        raise click.UsageError("--from, --user and --json need --explain HOST:PORT")
    if problems := list(hops_that_lead_back(config)):
        raise ConfigError(problems, str(path))
    show_config(config, _console())
    for warning in warnings(config):
        click.echo(f"warning: {warning}", err=True)
    return 0


@cli.command()
@click.option("--stay", is_flag=True, help="Keep serving afterwards, and print a curl line to try.")
def demo(*, stay: bool) -> None:
    """Try it out on this machine alone.

    Sends one request through three hops, and shows how long each step took.
    """
    start_logging(logging.WARNING)
    trio.run(functools.partial(run_demo, _console(), stay=stay))


@cli.command()
@click.option("--proxy", metavar="URL", help="Measure this SOCKS server, as in socks5://127.0.0.1:1080.")
@click.option("--hop", "hops", multiple=True, metavar="URL", help="A hop of a chain to measure, in order; repeatable.")
@click.option(
    "--hops", "count", type=click.IntRange(1, 6), metavar="N", help="Longest chain of built-in hops; default 3."
)
@click.option("--pid", "pids", type=click.IntRange(1), multiple=True, help="A process to measure; repeatable.")
@click.option("--seconds", type=click.FloatRange(0.01, 3600), default=1.0, show_default=True, help="Of each step.")
@click.option("--only", metavar="PARTS", help="Some of bulk,sessions,echo,idle.")
@click.option("--idle-sessions", type=click.IntRange(1), default=1000, show_default=True, help="How many are held.")
@click.option("--json", "json", is_flag=True, help="Print JSON, in bytes and seconds.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw a bar chart as well (SVG).")
def bench(**options: Any) -> None:
    """Measure throughput, latency and memory.

    Measures a SOCKS server, a chain of them, or chains of 1, 2 and 3 built-in hops; always beside the direct
    connection.
    """
    start_logging(logging.WARNING)
    run_bench(BenchOptions(**options), _console(), Console(stderr=True))


@cli.command()
@config_option
@click.option("--chain", metavar="NAME", help='The chain to test, "default" by default; "direct" has no hops.')
@click.option("--hop", "hops", multiple=True, metavar="URL", help="A hop of the chain to test, in order; repeatable.")
@click.option("--all", "everything", is_flag=True, help="Test every hop by itself, and every chain.")
@click.option("--count", type=click.IntRange(1, 1000), default=1, metavar="N", help="Repeat N times, and show medians.")
@click.option("--pipeline", is_flag=True, help="Also test which hops support pipelining.")
@click.option("--json", "json", is_flag=True, help="Print JSON, in seconds.")
@click.argument("destination", required=False, metavar="[HOST:PORT]")
@click.pass_context
def probe(context: click.Context, /, path: Path | None, **options: Any) -> None:
    """Find the broken hop of a chain.

    Goes through the chain hop by hop, and shows how long each step took, or which hop failed, why, and what to try.
    With HOST:PORT it connects there through the last hop; without, it ends when the last hop is ready for a request.
    Exit status 1: something is broken.
    """
    start_logging(logging.WARNING)
    if not run_probe(_load(path), ProbeOptions(**options), _console(), Console(stderr=True)):
        context.exit(FAILED)


@cli.command("hash-password")
def hash_password_command() -> None:
    """Print the configuration line for a password."""
    if sys.stdin is None:  # closed, as by <&- in a shell
        raise click.UsageError("standard input is closed; the password is read from there")
    if sys.stdin.isatty():
        prompt = click.prompt(
            "Password", default="", show_default=False, hide_input=True, confirmation_prompt=True, err=True
        )
        password = os.fsencode(prompt)
    else:
        line = sys.stdin.buffer.readline()
        if not line:  # an empty line is an empty password; nothing at all is a program that failed
            raise click.UsageError("standard input has no line with a password")
        password = line.rstrip(b"\r\n")
    if len(password) > MAX_LOGIN:
        raise click.UsageError(f"a SOCKS5 password has at most {MAX_LOGIN} bytes, this one has {len(password)}")
    click.echo(f'password_hash = "{hash_password(password)}"')


@cli.command()
@click.argument("topic", required=False, metavar="[TOPIC]")
def manual(topic: str | None) -> None:
    """Read the manual.

    Shows the page of one topic; without a topic, lists all of them.
    """
    show_page(topic, _console(None))


def main() -> None:
    """Run the command line; turn every error into a line or two and an exit status."""
    try:
        status = cli.main(prog_name="chainsocks", standalone_mode=False)
    except BaseException as error:  # noqa: BLE001  (the user gets no traceback)
        if not flush_log():  # nothing reads standard error; the error message must not wait for that
            sys.stderr = io.StringIO()
        sys.exit(_explain(_leaf(error)))
    flush_log()
    sys.exit(status if isinstance(status, int) else 0)


def _console(width: int | None = WIDE) -> Console:
    """Open standard output. Names appear unchanged and lines are not broken, so that addresses can be copied.

    A `width` of None is that of the terminal. Characters that the terminal's encoding lacks are escaped.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return Console(width=width, markup=False, emoji=False, highlight=False)


def _load(path: Path | None) -> Config:
    path = path or find_config()
    return load_config(path) if path else Config()


def _with_options(config: Config, listen: tuple[str, ...], hops: tuple[str, ...], workers: int | None) -> Config:
    """Return `config` with the command line's options, which take precedence.

    Raises:
        ConfigError: an option is not valid, or the server would be an open proxy.
    """
    problems = []
    try:
        if listen:
            listeners = tuple(Listener(parse_listen(each)) for each in listen)
            config = replace(config, server=replace(config.server, listen=listeners))
    except ValueError as error:
        problems.append(Problem("--listen", str(error)))
    try:
        if hops:
            config = replace(config, chains={**config.chains, "default": Chain(*map(parse_hop_url, hops))})
    except ValueError as error:
        problems.append(Problem("--hop", str(error)))
    if workers is not None:
        config = replace(config, server=replace(config.server, workers=workers))
    if config.server.has_idle_workers:
        problems.append(Problem("--workers", IDLE_WORKERS.format(config.server)))
    problems += [Problem("--listen", f"{exposed} {OPEN_PROXY}") for exposed in config.exposed]
    problems += hops_that_lead_back(config)
    if problems:
        raise ConfigError(problems)
    return config


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _explain(error: BaseException) -> int:
    """Print an error, and return the exit status."""
    match error:
        case SystemExit():
            return error.code if isinstance(error.code, int) else FAILED
        case click.ClickException():
            where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "chainsocks"
            click.echo(f"chainsocks: {error.format_message()}\nTry: {where} --help", err=True)
            return error.exit_code
        case click.Abort() | KeyboardInterrupt():
            return 128 + 2  # as shells report SIGINT
        case ChainsocksError():  # before OSError: a DialError is both
            text = str(error)
        case OSError():
            text = error.strerror or str(error)
            if error.filename:
                text = f"{error.filename}: {text}"
            else:
                sys.stdout = io.StringIO()  # a full disk: Python would flush again at exit, and print an error
            if error.errno == errno.EADDRINUSE:
                text += "; stop the program that listens there, or choose another address with --listen"
        case _:
            text = f"a bug in chainsocks: {type(error).__name__}: {error} (set {TRACEBACK}=1 to see where)"
    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    for line in text.splitlines():
        click.echo(f"chainsocks: {line}", err=True)
    return WRONG if isinstance(error, ConfigError) else FAILED
