"""`chainsocks probe`, from its options to its exit status: which chains are walked, and where to.

1. Nothing is opened before all options have been understood.
2. A chain is walked so that each member of its groups is known, see `chainsocks.tools.probe.members`. It is fine if one
   way leads through.
3. With ``--all`` every hop is walked to by itself, straight from here, and then every chain. Only chains ask their last
   hop for the destination: a hop that is asked straight from here would learn both ends. A group by itself is what its
   hops were found to be.
4. A hop that cannot be reached from here is no failure if it does its work in a chain, or if all chains that have it
   work without it.
5. Hops that separate circuits get a login of their own, as from a server.
6. With ``--pipeline`` it is found out what the hops keep; what is written in vain is a failure, whoever else works.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import trio
from rich.console import Console
from rich.status import Status
from rich.text import Text

from chainsocks.chain.trip import OPEN, OnStep
from chainsocks.client.isolation import own_circuit
from chainsocks.config.chains import DIRECT, Chain, Route
from chainsocks.config.hops import Hop, parse_hop_url
from chainsocks.config.models import Config, Timeouts
from chainsocks.config.suggest import suggest
from chainsocks.errors import ConfigError, Place, Problem
from chainsocks.network import Network
from chainsocks.protocol.address import Address, parse_address, printable
from chainsocks.server.deadlines import open_deadlines
from chainsocks.server.network import TrioNetwork
from chainsocks.tools.probe.document import as_json
from chainsocks.tools.probe.keeping import Fitness, find_fitness
from chainsocks.tools.probe.members import Seat, Standing, explore, has_a_way, seats_of, weigh
from chainsocks.tools.probe.questions import Findings, ask_hops
from chainsocks.tools.probe.report import Kind, Probed, show, show_summary
from chainsocks.tools.probe.walk import Walked, walk_repeatedly

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
    pipeline: bool = False
    """Whether to find out what the hops keep of that which is sent ahead."""
    json: bool = False


_DEFAULTS = Options()


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
        found = trio.run(_run, todo, config.timeouts, options, show_one, functools.partial(_tell, status))
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
    todo = _wanted(config, options)
    if crowded := [target.chain.name for target in todo if not has_a_way(target.chain)]:
        what = "its groups hold more places than they have hops for"
        raise ConfigError([Problem("", f"chain {printable(name)}: {what}") for name in crowded])
    return todo


def _wanted(config: Config, options: Options) -> list[Target]:
    """Return what the options say is to be walked."""
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
        groups = () if options.hops else config.groups.values()
        alone += [Target(Kind.GROUP, group.name, Chain(group, name=group.name), None) for group in groups]
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
    todo: Sequence[Target], timeouts: Timeouts, options: Options, show_one: ShowOne, on_step: OnStep
) -> list[Probed]:
    async with open_deadlines() as deadlines:
        return await probe_all(todo, timeouts, TrioNetwork(None, deadlines), options, show_one, on_step)


async def probe_all(
    todo: Sequence[Target],
    timeouts: Timeouts,
    network: Network,
    options: Options = _DEFAULTS,
    show_one: ShowOne = lambda probed: None,
    on_step: OnStep = lambda place, deadline: None,
) -> list[Probed]:
    """Walk one after the other, and ask the hops that have answered. `show_one` hears of each one at its end.

    Of the options those count that say how.
    """
    found: list[Probed] = []
    for target in todo:
        if target.kind is Kind.GROUP:
            found.append(_together(target, {one.name: one for one in found if one.kind is Kind.HOP}))
        else:
            found.append(await _probe_one(target, timeouts, network, options, on_step))
        show_one(found[-1])
    return found


async def _probe_one(target: Target, timeouts: Timeouts, network: Network, options: Options, on_step: OnStep) -> Probed:
    count = options.count

    async def walk(route: Route) -> Walked:
        return await walk_repeatedly(count, route, target.destination, timeouts, network, on_step)

    explored = await explore(own_circuit(target.chain, target.destination), walk)
    walked = explored.walked
    findings = await ask_hops(walked, timeouts, network)
    probed = Probed(target.kind, target.name, walked, findings, 1 if walked.failure else count, explored.members)
    probed = replace(probed, member_findings=await _ask_others(probed, timeouts, network))
    if not options.pipeline:
        return probed
    return replace(probed, fitness=await find_fitness(walked, probed.others, timeouts, network))


async def _ask_others(probed: Probed, timeouts: Timeouts, network: Network) -> dict[Seat, Findings]:
    """Ask the members that are not in the walk, each on its own way."""
    found: dict[Seat, Findings] = {}
    for member in probed.others:
        if member.walked:
            answers = await ask_hops(member.walked, timeouts, network, member.position)
            found[member.seat] = answers.get(member.position, {})
    return found


def _together(target: Target, alone: Mapping[str, Probed]) -> Probed:
    """Put together what is known of a group whose members have each been walked to by themselves."""
    seats = {seat: alone[seat.hop.name] for seat in seats_of(target.chain)}
    found = {seat: replace(one.walked, route=Route(target.chain, (seat.hop,))) for seat, one in seats.items()}
    shown = next((seat for seat, walked in found.items() if walked.failure is None), next(iter(seats)))
    beside = {seat: one for seat, one in seats.items() if seat != shown}
    fitness = seats[shown].fitness
    return Probed(
        target.kind,
        target.name,
        found[shown],
        seats[shown].findings,
        seats[shown].count,
        weigh(found),
        {seat: one.findings.get(1, {}) for seat, one in beside.items()},
        fitness
        and Fitness(
            fitness.hops,
            {seat: one.fitness.hops[1] for seat, one in beside.items() if one.fitness and 1 in one.fitness.hops},
        ),
    )


def all_fine(found: Sequence[Probed]) -> bool:
    """Whether all chains have a way through, and each hop works by itself or can be done without in such a chain.

    So does each group, by one of its members. Nothing is written of a hop that it is known not to do.
    """
    if any(probed.overstated for probed in found):
        return False
    working, spared = set(), set()
    for probed in found:
        if probed.fine:
            working |= {hop.name for hop in probed.walked.route.hops}
            working |= {one.seat.hop.name for one in probed.members if one.standing is Standing.WORKS}
            spared |= {one.seat.hop.name for one in probed.members if probed.kind is Kind.CHAIN}
    return all(probed.fine or _is_no_loss(probed, working, working | spared) for probed in found)


def _is_no_loss(probed: Probed, working: Collection[str], known: Collection[str]) -> bool:
    """Whether something that was out of reach from here does its work, or is done without, in a chain."""
    if probed.kind is Kind.HOP:
        return probed.name in known
    return probed.kind is Kind.GROUP and any(one.seat.hop.name in working for one in probed.members)


def _tell(status: Status, place: Place, _: float) -> None:
    """Say where a walk is; when it is through, the questions follow."""
    text = "asking the hops what they can do" if place.step == OPEN else printable(str(place))
    status.update(Text(text))
    status.start()
