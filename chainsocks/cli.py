"""The command line. Exit status: 0 success, 1 failure, 2 wrong usage or configuration. Never a traceback.

Here are the options. What a command does is in a module of `chainsocks.commands`, which is loaded when the command
runs: the help, the version and mistakes need none of the libraries that commands need.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from chainsocks.commands import load_command, load_values
from chainsocks.errors import ChainsocksError, ConfigError, WebListenError
from chainsocks.observe.log import flush_log
from chainsocks.protocol.masking import without_logins

__all__ = ["cli", "main"]

FAILED, WRONG = 1, 2
_ADVICE = {
    errno.EADDRINUSE: "; stop the program that listens there, or choose another address {how}",
    errno.EADDRNOTAVAIL: "; this machine has no such address: `ip address` lists those it has",
    errno.EPERM: '; kind = "tproxy" needs CAP_NET_ADMIN (AmbientCapabilities=CAP_NET_ADMIN in a systemd unit)',
    errno.EACCES: (
        "; ports below 1024 need a privilege: choose a higher port, or grant CAP_NET_BIND_SERVICE "
        "(AmbientCapabilities=CAP_NET_BIND_SERVICE in a systemd unit)"
    ),
}
"""What to do about an address that cannot be listened to."""

TRACEBACK = "CHAINSOCKS_TRACEBACK"
"""The environment variable that shows the traceback of a bug."""


class Command(click.Command):
    """A command whose function is that of its name in its module of `chainsocks.commands`."""

    def invoke(self, ctx: click.Context) -> Any:
        """Load the function, and call it with the parameters; it returns the exit status, or None for 0."""
        return ctx.invoke(load_command(self.name or ""), **ctx.params)


class Whole(click.IntRange):
    """A whole number, and called so where what was typed is none."""

    name = "whole number"


class Number(click.FloatRange):
    """A number, and called so where what was typed is none."""

    name = "number"


Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def names_of(what: str) -> Complete:
    """Return what completes a value: names that `chainsocks.tools.completion` lists, and that is loaded for."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        return [name for name in load_values(what)(context) if name.startswith(incomplete)]

    return complete


file_argument = click.argument("file", type=click.Path(path_type=Path), required=False, metavar="[FILE]")
config_option = click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help="Configuration file (TOML). Without it, the first that exists of ./chainsocks.toml, "
    "~/.config/chainsocks/chainsocks.toml and /etc/chainsocks/chainsocks.toml.",
)


class Program(click.Group):
    """The program, whose commands are all of one class."""

    command_class = Command


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(package_name="chainsocks")
@click.pass_context
def cli(context: click.Context) -> None:
    """A SOCKS4/4a/5 and HTTP proxy that connects through an ordered chain of SOCKS, HTTP and TLS hops."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(WRONG)


@cli.command()
@file_argument
@config_option
@click.option("--listen", multiple=True, metavar="ADDR", help="host:port, [::1]:port or unix:/path; repeatable.")
@click.option("--hop", "hops", multiple=True, metavar="URL", help="A hop of the default chain, in order; repeatable.")
@click.option("--workers", type=Whole(min=0), metavar="N", help="Processes that serve; 0: one per core.")
@click.option("-v", "--verbose", is_flag=True, help="Log every step.")
@click.option("-q", "--quiet", is_flag=True, help="Log warnings and errors only.")
def serve() -> None:
    """Run the proxy. Without a file and hops: direct, on 127.0.0.1:1080."""


@cli.command()
@file_argument
@config_option
@click.option("--print", "printed", is_flag=True, help="Print the whole configuration as TOML, without secrets.")
@click.option("--explain", metavar="HOST:PORT", help="Show how a request for this would be routed, and why.")
@click.option("--from", "host", metavar="IP", help="The client's address; by default one that no `from` has.")
@click.option(
    "--user",
    metavar="NAME",
    shell_complete=names_of("users"),
    help="The user that the client logs in as, or that its identd names.",
)
@click.option(
    "--command", "what", type=click.Choice(["connect", "bind", "udp", "resolve"]), default="connect", show_default=True
)
@click.option("--socks", type=click.Choice(["4", "4a", "5", "http"]), default="5", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check() -> None:
    """Check a configuration file.

    Prints every problem with its place, or else the resulting chains, rules and deadlines. With --print, prints the
    file with all defaults instead. With --explain, shows instead how one request would be routed; the exit status is
    then 0 if it is allowed, and 1 if not.
    """


@cli.command()
@click.option("--stay", is_flag=True, help="Keep serving afterwards, and print a curl line to try.")
def demo() -> None:
    """Try it out on this machine alone.

    Sends one request through three hops, and shows how long each step took.
    """


@cli.command()
@config_option
@click.option(
    "--chain",
    metavar="NAME",
    shell_complete=names_of("chains"),
    help='Measure the hops of a chain of the file; with -c, "default" by default.',
)
@click.option("--proxy", metavar="URL", help="Measure this SOCKS server, as in socks5://127.0.0.1:1080.")
@click.option("--hop", "hops", multiple=True, metavar="URL", help="A hop of a chain to measure, in order; repeatable.")
@click.option("--hops", "count", type=Whole(1, 6), metavar="N", help="Longest chain of built-in hops; default 3.")
@click.option("--pid", "pids", type=Whole(1), multiple=True, help="A process to measure; repeatable.")
@click.option("--seconds", type=Number(0.01, 3600), default=1.0, show_default=True, help="Of each step.")
@click.option("--only", metavar="PARTS", help="Some of bulk,sessions,echo,idle.")
@click.option("--idle-sessions", type=Whole(1), default=1000, show_default=True, help="How many are held.")
@click.option("--json", "json", is_flag=True, help="Print JSON, in bytes and seconds.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw a bar chart as well (SVG).")
def bench() -> None:
    """Measure throughput, latency and memory.

    Measures a SOCKS server, a chain of them, or chains of 1, 2 and 3 built-in hops; always beside the direct
    connection.
    """


@cli.command()
@config_option
@click.option(
    "--chain",
    metavar="NAME",
    shell_complete=names_of("chains"),
    help='The chain to test, "default" by default; "direct" has no hops.',
)
@click.option("--hop", "hops", multiple=True, metavar="URL", help="A hop of the chain to test, in order; repeatable.")
@click.option("--all", "everything", is_flag=True, help="Test every hop by itself, and every chain.")
@click.option("--count", type=Whole(1, 1000), default=1, metavar="N", help="Repeat N times, and show medians.")
@click.option("--pipeline", is_flag=True, help="Also test which hops support pipelining.")
@click.option("--json", "json", is_flag=True, help="Print JSON, in seconds.")
@click.argument("destination", required=False, metavar="[HOST:PORT]")
def probe() -> None:
    """Find the broken hop of a chain.

    Goes through the chain hop by hop, and shows how long each step took, or which hop failed, why, and what to try.
    With HOST:PORT it connects there through the last hop; without, it ends when the last hop is ready for a request.
    Exit status 1: something is broken.
    """


chain_options = [
    config_option,
    click.option(
        "--chain", metavar="NAME", shell_complete=names_of("chains"), help="The chain that everything goes through."
    ),
    click.option("--hop", "hops", multiple=True, metavar="URL", help="A hop of that chain, in order; repeatable."),
    click.option(
        "--share", "shared", multiple=True, metavar="PATH", help="A socket that stays open, though it leads outside."
    ),
    click.option(
        "--publish",
        "published",
        multiple=True,
        metavar="[ADDR:]PORT",
        help="A port of the program that can be reached from outside, on 127.0.0.1 or ADDR; repeatable.",
    ),
    click.option("-v", "--verbose", is_flag=True, help="Log every connection."),
    click.option("-q", "--quiet", is_flag=True, help="Log errors only."),
]


def with_chain_options(function: Callable[[], None]) -> Callable[[], None]:
    """Give a command the options that choose the chain of a program."""
    for option in reversed(chain_options):
        function = option(function)
    return function


@cli.command("exec", context_settings={"allow_interspersed_args": False})
@with_chain_options
@click.option("--env", "variables_only", is_flag=True, help="Only set ALL_PROXY and http_proxy; no network of its own.")
@click.argument("command", nargs=-1, required=True, metavar="COMMAND...", type=click.UNPROCESSED)
def exec_() -> None:
    """Run a program whose only way out is the chain. Linux; no root.

    The program gets a network of its own, in which every TCP connection goes through the chain, and every name to the
    last hop. What cannot go through it is refused. Without --chain and --hop, the rules of the file decide.
    """


@cli.command()
@with_chain_options
def shell() -> None:
    """Run your shell as exec does, with a mark in its prompt."""


@cli.command()
def hash_password() -> None:
    """Print the configuration line for a password."""


@cli.command()
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--show", "shown", metavar="WHERE", help="Print the pin of a certificate: of a file, or at host:port.")
@click.option(
    "--days", type=Whole(1, 36_500), default=3650, show_default=True, metavar="N", help="How long it is valid."
)
def cert() -> None:
    """Make a key and a certificate for a TLS hop.

    Writes NAME.key and NAME.pem into this folder, and prints the lines for the hop and for those who use it, with the
    pin. Never overwrites a file.
    """


@cli.command("import")
@click.argument("file", type=click.Path(path_type=Path))
def import_() -> None:
    """Print the configuration for a proxychains.conf.

    FILE is that of proxychains-ng or of proxychains 3. Exit status 1: not all of it can be said; comments say what.
    """


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion() -> None:
    """Print the script by which a shell completes commands.

    The manual's page "commands" says where to put it.
    """


@cli.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file.

    An editor checks and completes a file by it. The manual's page "configuration" says how.
    """


@cli.command()
@click.argument("topic", required=False, metavar="[TOPIC]", shell_complete=names_of("topics"))
def manual() -> None:
    """Read the manual.

    Shows the page of one topic; without a topic, lists all of them.
    """


control_option = click.option(
    "--control", type=click.Path(path_type=Path), metavar="PATH", help="The control socket of the server."
)
server_option = click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help="Configuration file of the server, which may say where its control socket is.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@cli.command()
@server_option
@control_option
@json_option
def status() -> None:
    """Say how the running server is.

    Exit status 0: well; 1: something is degraded; 3: it is not running.
    """


@cli.command()
@server_option
@control_option
@click.option("--interval", type=Number(0.1, 3600), default=1.0, show_default=True, metavar="S", help="Between looks.")
def top() -> None:
    """Watch the running server: sessions, hops, rates.

    Keys sort, filter, pause and end a session; the last line names them.
    """


@cli.command()
@server_option
@control_option
@click.option("--chain", metavar="NAME", shell_complete=names_of("chains"), help="Only those through this chain.")
@click.option("--user", metavar="NAME", shell_complete=names_of("users"), help="Only those of this user.")
@click.option("--kill", metavar="ID", help="End this session; `all`: those of the --chain and the --user.")
@json_option
def sessions() -> None:
    """List the sessions of the running server, or end some."""


@cli.command()
@server_option
@control_option
@click.option(
    "--rest",
    metavar="NAME",
    shell_complete=names_of("hops"),
    help="Have requests avoid this hop, as if it had failed, until --wake.",
)
@click.option(
    "--wake", metavar="NAME", shell_complete=names_of("hops"), help="End the rest of this hop, or its backoff."
)
@json_option
def hops() -> None:
    """Show the health of the running server's hops, or change it."""


@cli.command()
@server_option
@control_option
def reload() -> None:
    """Have the running server read its configuration again.

    Exit status 2: the configuration has problems, and the server goes on with the one that it had.
    """


@cli.command()
@server_option
@control_option
@click.option("--delay", type=Number(0, 86400), default=0.0, metavar="S", help="Accept for S seconds more.")
def drain() -> None:
    """Stop the running server when its sessions have ended.

    It accepts no new connections, and ends the sessions that still run after `grace`. Returns when it has ended.
    """


def main() -> None:
    """Run the command line; turn every error into a line or two and an exit status."""
    _fill_standard_descriptors()
    try:
        status = cli.main(prog_name="chainsocks", standalone_mode=False)
    except BaseException as error:  # noqa: BLE001  (the user gets no traceback)
        if not flush_log():  # nothing reads standard error; the error message must not wait for that
            sys.stderr = io.StringIO()
        sys.exit(_explain(_leaf(error)))
    flush_log()
    sys.exit(status if isinstance(status, int) else 0)


def _fill_standard_descriptors() -> None:
    """Open the null device in place of standard descriptors that are closed, for this process and its children.

    The next file or socket would otherwise get such a number, and be read or written in place of what was closed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003


def _without_logins(text: str) -> str:
    """Return a message with the logins masked that it repeats from the command line."""
    words = sys.argv[1:]
    values = [*words, *(word.partition("=")[2] for word in words if word.startswith("-"))]
    return without_logins(text, [*values, *(str(Path(value)) for value in values if value)])


def _advise(address: object, number: int | None, how: str) -> str:
    """Say what to do about a TCP address that cannot be listened to; `how` tells where another one can be chosen."""
    is_tcp = isinstance(address, str) and not address.startswith(("unix:", "/")) and ":" in address
    return _ADVICE.get(number or 0, "").format(how=how) if is_tcp else ""


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
            click.echo(f"chainsocks: {_without_logins(error.format_message())}", err=True)
            if isinstance(error, click.UsageError):
                click.echo(f"Try: {error.ctx.command_path if error.ctx else 'chainsocks'} --help", err=True)
            return error.exit_code
        case click.Abort() | KeyboardInterrupt():
            return 128 + 2  # as shells report SIGINT
        case WebListenError():
            text = f"{error}{_advise(error.address, error.number, 'for `listen` in [web]')}"
        case ChainsocksError():  # before OSError: a DialError is both
            text = str(error)
        case OSError():
            text = error.strerror or str(error)
            if error.filename:
                text = f"{error.filename}: {text}"
            else:
                sys.stdout = io.StringIO()  # a full disk: Python would flush again at exit, and print an error
            text += _advise(error.filename, error.errno, "with --listen")
        case _:
            text = f"a bug in chainsocks: {type(error).__name__}: {error} (set {TRACEBACK}=1 to see where)"
    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    for line in _without_logins(text).splitlines():
        click.echo(f"chainsocks: {line}", err=True)
    return WRONG if isinstance(error, ConfigError) else FAILED
