"""``python -m benchmarks.rules``: the time of a routing decision, by the number of rules.

Rules of all kinds are mixed: names, suffixes, networks of many sizes and ranges, with and without conditions on ports,
clients, users, commands and versions. Some destinations match a rule, and others do not. All numbers of rules are
measured in turn, several times, and for comparison so is a search through the rules one by one.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import ip_address

import click

from benchmarks.tables import render_timings
from chainsocks.config.load import parse_config
from chainsocks.config.models import Config
from chainsocks.config.rules import Rule, Spoken
from chainsocks.protocol.address import Address, AddressType
from chainsocks.protocol.messages import Command, Request, Version
from chainsocks.routing.rules import Caller, Decision, Router

__all__ = ["SIZES", "Question", "config_of", "main", "questions", "walk"]

SIZES = (10, 1000, 10_000, 100_000)
COMPARED = ((10, 10_000), (10, 1000))
"""The sizes that the last line compares, and those of a smoke run."""

WALKED = 1000
"""Rules that are searched one by one; that is slow enough."""

ASKED = 1000
"""Requests in each repeat."""

HEAD = """
[server]
ident = "check"
[hops]
tor = "socks5://127.0.0.1:9050"
[chains]
default = ["tor"]
onion = ["tor"]
"""

Question = tuple[Request, Caller]


def config_of(size: int, seed: int = 1) -> Config:
    """Return a configuration with so many rules; the same ones for the same seed."""
    chance = random.Random(seed)
    return parse_config(HEAD + "".join(_rule(chance, size) for _ in range(size)))


def _rule(chance: random.Random, size: int) -> str:
    to = [_destination(chance, size) for _ in range(chance.choice((1, 1, 1, 3)))]
    lines = ["[[rules]]"]
    if chance.random() < 0.95:
        lines.append(f"to = {to}")
    else:  # for some clients or users, and any destination
        lines.append(chance.choice((f"from = '{_ip(chance)}'", f"users = 'ident:user{chance.randrange(size)}'")))
    if chance.random() < 0.3:
        lines.append(chance.choice((f"ports = {chance.randrange(1, 65536)}", "ports = '6000-6100'")))
    if chance.random() < 0.1:
        lines.append(f"from = '10.{chance.randrange(256)}.0.0/16'" if "from" not in lines[1] else "versions = 5")
    if chance.random() < 0.1:
        lines.append("commands = ['connect', 'bind']")
    lines.append(chance.choice(("chain = 'onion'", "chain = 'direct'", "deny = true")))
    return "\n".join(lines) + "\n"


def _destination(chance: random.Random, size: int) -> str:
    name = f"host{chance.randrange(size)}.zone{chance.randrange(size // 10 + 1)}.example"
    match chance.randrange(5):
        case 0:
            return name
        case 1:
            return f"*.{name}"
        case 2:
            return f".{name}"
        case 3:
            length = chance.choice((12, 16, 20, 24, 28, 32))
            value = int(ip_address(_ip(chance))) >> (32 - length) << (32 - length)
            return f"{ip_address(value)}/{length}"
        case _:
            first = ip_address(_ip(chance))
            return f"{first}-{min(first + chance.randrange(100), ip_address('223.255.255.255'))}"


def _ip(chance: random.Random) -> str:
    return f"{chance.randrange(11, 224)}.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(256)}"


def questions(size: int, seed: int = 2) -> list[Question]:
    """Return requests to ask so many rules for: half of them for destinations that some rule may name."""
    chance = random.Random(seed)
    asked = []
    for number in range(ASKED):
        name = f"host{chance.randrange(size)}.zone{chance.randrange(size // 10 + 1)}.example"
        host = (name, f"www.{name}", f"www.site{number}.example.org", _ip(chance))[number % 4]
        request = Request(Version.SOCKS5, Command.CONNECT, Address(host, chance.choice((80, 443, 6050))))
        asked.append((request, Caller(f"10.{chance.randrange(256)}.0.1")))
    return asked


def walk(rules: Sequence[Rule], question: Question) -> int | None:
    """Return the number of the first rule that matches, by a search through all of them."""
    request, caller = question
    destination = request.destination
    ip = None if destination.type is AddressType.DOMAINNAME else ip_address(destination.host)
    client = ip_address(caller.host)
    for rule in rules:
        to = rule.to
        if rule.is_partial and (to.names or to.suffixes or to.networks):
            if ip is None:
                name = destination.host
                if name not in to.names and not any(name.endswith(f".{suffix}") for suffix in to.suffixes):
                    continue
            elif not any(ip in network for network in to.networks):
                continue
        if rule.ports and not any(destination.port in ports for ports in rule.ports):
            continue
        if rule.clients and not any(client in network for network in rule.clients):
            continue
        if rule.users or (rule.commands and request.command not in rule.commands):
            continue
        if rule.versions and Spoken.SOCKS5 not in rule.versions:
            continue
        return rule.number
    return None


def decide(router: Router, question: Question) -> Decision:
    """Return the decision of the router."""
    return router.decide(*question)


def _seconds(ask: Callable[[Question], object], asked: Sequence[Question]) -> float:
    """Return the mean time of a decision."""
    began = time.perf_counter()
    for question in asked:
        ask(question)
    return (time.perf_counter() - began) / len(asked)


@click.command()
@click.option("--repeats", default=15, type=click.IntRange(1), show_default=True, help="Number of repeats.")
@click.option("--smoke", is_flag=True, help="Only test that it works; the figures mean nothing.")
def main(*, repeats: int, smoke: bool) -> None:
    """Time decisions by 10 to 100,000 rules: us each."""
    sizes = SIZES[:2] if smoke else SIZES
    searches: dict[str, tuple[Callable[[Question], object], list[Question]]] = {}
    for size in sizes:
        config = config_of(size)
        began = time.perf_counter()
        router = Router(config)
        click.echo(f"{size:,} rules: sorted in {time.perf_counter() - began:.2f} s", err=True)
        searches[f"{size:,} rules"] = partial(decide, router), questions(size)
        if size == WALKED:
            searches[f"{size:,} rules, one by one"] = partial(walk, config.rules), questions(size)[:20]
    seconds: dict[str, list[float]] = {name: [] for name in searches}
    for _ in range(2 if smoke else repeats):
        for name, (ask, asked) in searches.items():
            seconds[name].append(_seconds(ask, asked))
    click.echo(render_timings(seconds))
    few, many = (f"{size:,} rules" for size in COMPARED[smoke])
    times = statistics.median(seconds[many]) / statistics.median(seconds[few])
    click.echo(f"{many} cost {times:.2f} times what {few} cost (medians)")


if __name__ == "__main__":
    main()
