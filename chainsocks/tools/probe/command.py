"""`chainsocks probe`, from its options to its exit status: what is probed, and how it is shown.

1. Nothing is opened before all options have been understood.
2. With ``--all`` every hop is probed alone and directly, then every group is summed up, and then every chain is probed.
   Only chains ask their last hop for the destination: a hop that is reached directly would learn both ends.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio
from rich.console import Console
from rich.status import Status
from rich.text import Text

from chainsocks.chain.attempts import Choices
from chainsocks.chain.dialer import Dialer
from chainsocks.chain.health import Health
from chainsocks.chain.trip import OPEN, OnStep
from chainsocks.config.chains import Chain
from chainsocks.config.hops import Hop, parse_hop_url
from chainsocks.config.models import Config, Timeouts
from chainsocks.config.rules import DIRECTLY
from chainsocks.config.suggest import describe, suggest
from chainsocks.errors import ConfigError, Place, Problem
from chainsocks.protocol.address import Address, parse_address, printable
from chainsocks.server.deadlines import open_deadlines
from chainsocks.server.network import TrioNetwork
from chainsocks.tools.probe.document import as_json
from chainsocks.tools.probe.findings import Kind, ProbeReport
from chainsocks.tools.probe.members import has_a_way
from chainsocks.tools.probe.report import show, show_summary
from chainsocks.tools.probe.run import Target, all_fine, probe_all

__all__ = ["Options", "probe", "targets"]

_NOWHERE = Console(quiet=True)


@dataclass(frozen=True, slots=True)
class Options:
    """What was typed, beside the configuration."""

    chain: str | None = None
    hops: Sequence[str] = ()
    destination: str | None = None
    everything: bool = False
    count: int = 1
    pipeline: bool = False
    """Whether to test pipelining support as well."""
    json: bool = False


def probe(config: Config, options: Options, output: Console, progress: Console) -> bool:
    """Probe what the options say, print what was found, and return whether all of it is fine.

    If `progress` is a terminal, it shows the present step.

    Raises:
        ConfigError: options that cannot be; nothing has been opened.
    """
    todo = targets(config, options)
    status = (progress if progress.is_terminal else _NOWHERE).status("")

    def show_one(report: ProbeReport) -> None:
        if not options.json:
            status.stop()  # both may be the same terminal
            show(report, output)
            if len(todo) > 1:
                output.print()

    with status:
        found = trio.run(_run, todo, config.timeouts, options, show_one, functools.partial(_tell, status))
    fine = all_fine(found)
    if options.json:
        output.print(as_json(found, fine=fine), soft_wrap=True)
    elif len(todo) > 1:
        show_summary(found, output)
    return fine


def targets(config: Config, options: Options) -> list[Target]:
    """Return what there is to probe, in order.

    Raises:
        ConfigError: with all that is wrong.
    """
    todo = _wanted(config, options)
    if crowded := [target.chain.name for target in todo if not has_a_way(target.chain)]:
        what = "it has more places than its groups have hops"
        raise ConfigError([Problem("", f"chain {printable(name)}: {what}") for name in crowded])
    return todo


def _wanted(config: Config, options: Options) -> list[Target]:
    """Return what the options name."""
    problems: list[Problem] = []
    destination = _destination(options, problems)
    hops, chains = _declared(config, options, problems)
    if options.everything and options.chain is not None:
        problems.append(Problem("--chain", "cannot be combined with --all (--all already walks every chain)"))
    if problems:
        raise ConfigError(problems)
    if options.everything:
        if not hops:
            raise ConfigError([Problem("--all", "there are no hops; name a file with -c, or hops with --hop")])
        alone = [Target(Kind.HOP, hop.name, Chain(hop, name=hop.name), None) for hop in hops]
        groups = () if options.hops else config.groups.values()
        alone += [Target(Kind.GROUP, group.name, Chain(group, name=group.name), None) for group in groups]
        walked = (chain for chain in chains.values() if chain.hops or destination)
        return alone + [Target(Kind.CHAIN, chain.name, chain, destination) for chain in walked]
    chain = _chosen(config, options, chains)
    if not chain.hops and destination is None:
        what = "there are no hops to reach; name a HOST:PORT to connect to, hops with --hop, or a file with -c"
        raise ConfigError([Problem("", what)])
    return [Target(Kind.CHAIN, chain.name, chain, destination)]


def _destination(options: Options, problems: list[Problem]) -> Address | None:
    if options.destination is None:
        return None
    try:
        if options.destination.endswith(".toml"):
            problems.append(Problem("HOST:PORT", "a configuration file is named with -c: chainsocks probe -c FILE"))
            return None
        destination = parse_address(options.destination)
        if destination.port:
            return destination
        problems.append(Problem("HOST:PORT", "port 0 cannot be connected to"))
    except ValueError as error:
        problems.append(Problem("HOST:PORT", printable(str(error))))
    return None


def _declared(config: Config, options: Options, problems: list[Problem]) -> tuple[list[Hop], dict[str, Chain]]:
    """Return all hops and all chains: those of the command line if it names hops, otherwise those of the file."""
    if not options.hops:
        return list(config.hops.values()), dict(config.chains)
    if options.chain is not None:
        problems.append(Problem("--hop", "cannot be combined with --chain (the hops are a chain of their own)"))
    try:
        hops = [parse_hop_url(url) for url in options.hops]
    except ValueError as error:
        problems.append(Problem("--hop", str(error)))
        return [], {}
    chain = Chain(*hops)
    return list(dict.fromkeys(hops)), {chain.name: chain}


def _chosen(config: Config, options: Options, chains: dict[str, Chain]) -> Chain:
    if options.chain is None:
        chain = chains.get("default") if options.hops else config.default_chain
        if chain is None:
            what = f'no chain is called "default"; choose one with --chain{suggest("default", chains)}'
            raise ConfigError([Problem("", what)])
        return chain
    if options.chain == DIRECTLY:
        return config.direct
    if options.chain not in chains:
        what = f"no chain is called {printable(describe(options.chain))}{suggest(options.chain, chains)}"
        raise ConfigError([Problem("--chain", what)])
    return chains[options.chain]


async def _run(
    todo: Sequence[Target],
    timeouts: Timeouts,
    options: Options,
    show_one: Callable[[ProbeReport], None],
    on_step: OnStep,
) -> list[ProbeReport]:
    async with open_deadlines() as deadlines:
        network = TrioNetwork(None, deadlines)
        dialer = Dialer(network, timeouts, Choices(Health(network.now)))
        return await probe_all(
            todo, dialer, count=options.count, pipelining=options.pipeline, show_one=show_one, on_step=on_step
        )


def _tell(status: Status, place: Place, _: float) -> None:
    """Show the present step. After a walk the questions follow, which have no steps of their own here."""
    text = "asking the hops what they support" if place.step == OPEN else printable(str(place))
    status.update(Text(text))
    status.start()
