"""Show a configuration that has no problems: where it listens, its chains, its deadlines. No secret is shown."""

from __future__ import annotations

import math
from dataclasses import fields

from rich.console import Console
from rich.table import Table

from chainsocks.config.hops import Chain, Hop
from chainsocks.config.models import Config

__all__ = ["show_config", "warnings"]


def warnings(config: Config) -> list[str]:
    """Return what is allowed and yet hardly meant."""
    found = []
    if config.default_chain is None:
        found.append('no chain is called "default": every request will be refused')
    used = {hop.name for chain in config.chains.values() for hop in chain.hops}
    found += [f"hop {name} is in no chain" for name in config.hops if name not in used]
    return found


def show_config(config: Config, console: Console) -> None:
    """Print the resolved configuration."""
    server = config.server
    console.print("listen:", ", ".join(str(listen) for listen in server.listen), highlight=False, markup=False)
    who = ", ".join(user.name for user in config.users)
    console.print("users:", who or "none, nobody has to log in", highlight=False, markup=False)
    chains = Table("chain", "the way", "whole chain", title_justify="left", box=None)
    for chain in config.chains.values():
        limit = config.timeouts.dial if chain.dial is None else chain.dial
        chains.add_row(chain.name, _way(chain), _seconds(limit))
    if not config.chains:
        chains.add_row("direct", "client -> destination", _seconds(config.timeouts.dial))
    console.print(chains)
    deadlines = Table("deadline", "seconds", box=None)
    for deadline in fields(config.timeouts):
        deadlines.add_row(deadline.name, _seconds(getattr(config.timeouts, deadline.name)))
    console.print(deadlines)


def _way(chain: Chain) -> str:
    return " -> ".join(("client", *(_describe(hop) for hop in chain.hops), "destination"))


def _describe(hop: Hop) -> str:
    details = [hop.protocol.value, str(hop.address)]
    if hop.credentials:
        details.append("with login")
    if hop.timeout is not None:
        details.append(f"{_seconds(hop.timeout)} s")
    if hop.resolve == "local":
        details.append("names looked up here")
    return f"{hop.name} ({', '.join(details)})"


def _seconds(value: float) -> str:
    return "off" if math.isinf(value) else f"{value:g}"
