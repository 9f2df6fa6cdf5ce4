"""`chainsocks probe`, from its options to its exit status: which chains are walked, and where to.

1. Nothing is opened before all options have been understood.
2. With ``--all`` every hop is walked to by itself, straight from here, and then every chain. Only chains ask their last
   hop for the destination: a hop that is asked straight from here would learn both ends.
3. A hop that cannot be reached from here is no failure if it does its work in a chain.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio
from rich.console import Console
from rich.status import Status
from rich.text import Text

from chainsocks.chain.dial import OPEN, Network, OnStep
from chainsocks.chain.health import Health
from chainsocks.config.chains import DIRECT, Chain, Route
from chainsocks.config.hops import Hop, parse_hop_url
from chainsocks.config.models import Config, Timeouts
from chainsocks.config.suggest import suggest
from chainsocks.errors import ConfigError, Place, Problem
from chainsocks.protocol.address import Address, parse_address, printable
from chainsocks.routing.pick import Picks, choose
from chainsocks.server.alarms import open_alarms
from chainsocks.server.network import TrioNetwork
from chainsocks.tools.probe.questions import ask_hops
from chainsocks.tools.probe.report import Kind, Probed, as_json, show, show_summary
from chainsocks.tools.probe.walk import walk_repeatedly

__all__ = ["Options", "Target", "all_fine", "probe", "probe_all", "targets"]

_NOWHERE = Console(quiet=True)

ShowOne = Callable[[Probed], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What was typed, beside the configuration."""

    chain: str | None = None
    hops: Sequence[str] = ()
    destination: str | None = None
    everything: bool = False
    count: int = 1
    json: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """Something to walk."""

    kind: Kind
    name: str
    chain: Chain
    destination: Address | None


def probe(config: Config, options: Options, output: Console, progress: Console) -> bool:
    """Walk what the options say, print what was found, and return whether all of it is fine.

    What it is at is shown on `progress` meanwhile, if that is a terminal.

    Raises:
        ConfigError: options that cannot be; nothing has been walked.
    """
    todo = targets(config, options)
    status = (progress if progress.is_terminal else _NOWHERE).status("")

    def show_one(probed: Probed) -> None:
        if not options.json:
            status.stop()  # both may be the same terminal
            show(probed, output)
            if len(todo) > 1:
                output.print()

    with status:
        found = trio.run(_run, todo, config.timeouts, options.count, show_one, functools.partial(_tell, status))
    fine = all_fine(found)
    if options.json:
        output.print(as_json(found, fine=fine), soft_wrap=True)
    elif len(todo) > 1:
        show_summary(found, output)
    return fine


def targets(config: Config, options: Options) -> list[Target]:
    """Return what there is to walk, in order.

    Raises:
        ConfigError: with all that is wrong.
    """
    problems: list[Problem] = []
    destination = _destination(options, problems)
    hops, chains = _declared(config, options, problems)
    if options.everything and options.chain is not None:
        problems.append(Problem("--chain", "goes without --all, which walks all chains"))
    if problems:
        raise ConfigError(problems)
    if options.everything:
        if not hops:
            raise ConfigError([Problem("--all", "there are no hops: name a file with -c, or hops with --hop")])
        alone = [Target(Kind.HOP, hop.name, Chain(hop, name=hop.name), None) for hop in hops]
        return alone + [Target(Kind.CHAIN, chain.name, chain, destination) for chain in chains.values()]
    chain = _chosen(config, options, chains)
    if not chain.hops and destination is None:
        what = "there are no hops to reach: name a HOST:PORT to connect to, hops with --hop, or a file with -c"
        raise ConfigError([Problem("", what)])
    return [Target(Kind.CHAIN, chain.name, chain, destination)]


def _destination(options: Options, problems: list[Problem]) -> Address | None:
    if options.destination is None:
        return None
    try:
        destination = parse_address(options.destination)
        if destination.port:
            return destination
        problems.append(Problem("HOST:PORT", "port 0 is none that one could connect to"))
    except ValueError as error:
        problems.append(Problem("HOST:PORT", printable(str(error))))
    return None


def _declared(config: Config, options: Options, problems: list[Problem]) -> tuple[list[Hop], dict[str, Chain]]:
    """Return all hops and all chains: those of the command line, if it has any, in place of the file's."""
    if not options.hops:
        return list(config.hops.values()), dict(config.chains)
    if options.chain is not None:
        problems.append(Problem("--hop", "goes without --chain: the hops are a chain of their own"))
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
    if options.chain == DIRECT.name:
        return DIRECT
    if options.chain not in chains:
        what = f"no chain is called {printable(repr(options.chain))}{suggest(options.chain, chains)}"
        raise ConfigError([Problem("--chain", what)])
    return chains[options.chain]


async def _run(
    todo: Sequence[Target], timeouts: Timeouts, count: int, show_one: ShowOne, on_step: OnStep
) -> list[Probed]:
    async with open_alarms() as alarms:
        return await probe_all(todo, timeouts, TrioNetwork(None, alarms), count, show_one, on_step)


async def probe_all(
    todo: Sequence[Target],
    timeouts: Timeouts,
    network: Network,
    count: int = 1,
    show_one: ShowOne = lambda probed: None,
    on_step: OnStep = lambda place: None,
) -> list[Probed]:
    """Walk one after the other, and ask the hops that have answered. `show_one` hears of each one at its end."""
    found = []
    for target in todo:
        route = _first_route(target.chain, network)
        walked = await walk_repeatedly(count, route, target.destination, timeouts, network, on_step)
        findings = await ask_hops(walked, timeouts, network)
        found.append(Probed(target.kind, target.name, walked, findings, 1 if walked.failure else count))
        show_one(found[-1])
    return found


def _first_route(chain: Chain, network: Network) -> Route:
    """Return the way through a chain, or the first of its choice."""
    if chain.route:
        return chain.route
    health = Health(network.now)
    route = choose(chain, Picks().orders(chain, b"", health), (), health)
    if route is None:
        raise ConfigError([Problem("", f"chain {printable(chain.name)} has more places than hops")])
    return route


def all_fine(found: Sequence[Probed]) -> bool:
    """Whether all chains are fine, and each hop by itself or in one of them."""
    working = {hop for probed in found if probed.fine for hop in probed.walked.route.hops}
    return all(probed.fine or (probed.kind is Kind.HOP and probed.walked.route.hops[0] in working) for probed in found)


def _tell(status: Status, place: Place) -> None:
    """Say where a walk is; when it is through, the questions follow."""
    text = "asking the hops what they can do" if place.step == OPEN else printable(str(place))
    status.update(Text(text))
    status.start()
