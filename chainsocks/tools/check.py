"""Show a configuration that has no problems: where it listens, its chains, its deadlines. No secret is shown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields

from rich.console import Console
from rich.table import Table

from chainsocks.chain.legs import legs
from chainsocks.config.hops import DIRECT, Hop, Resolve, Udp
from chainsocks.config.models import Config, Ident, Server, Timeouts
from chainsocks.protocol.address import UNSPECIFIED, printable
from chainsocks.tools.pipelining import remark_on_chain, remark_on_hop, warn_of_pipelining

__all__ = ["show_config", "warnings"]


def warnings(config: Config) -> list[str]:
    """Return what is allowed and yet hardly meant."""
    found = []
    if config.default_chain is None:
        found.append('no chain is called "default": every request will be refused')
    used = {hop.name for chain in config.chains.values() for hop in chain.hops}
    found += [f"hop {printable(name)} is in no chain" for name in config.hops if name not in used]
    found += warn_of_pipelining(config)
    return found


def show_config(config: Config, console: Console) -> None:
    """Print the resolved configuration: a row for each hop of each chain, with the limit that holds there."""
    console.print("listen:", ", ".join(printable(str(listen)) for listen in config.server.listen))
    users = ", ".join(printable(user.name) for user in config.users)
    console.print("users:", users or "none, nobody has to log in")
    console.print("udp:", _udp(config.server))
    if config.server.bind_address:
        console.print("bind_address:", str(config.server.bind_address))
    if config.server.ident is not Ident.OFF:
        console.print("ident:", config.server.ident.value)
    console.print()
    console.print(_chains(config))
    console.print()
    console.print(_deadlines(config.timeouts))


def _chains(config: Config) -> Table:
    table = _table("chain", "hop", "protocol", "address")
    table.add_column("seconds", justify="right")
    table.add_column("")
    for chain in config.chains.values() or (DIRECT,):
        name = printable(chain.name)
        for leg in legs(chain, UNSPECIFIED):
            hop = leg.hop
            limit = config.timeouts.hop if hop.timeout is None else hop.timeout
            row = (f"{leg.position} {printable(hop.name)}", hop.protocol.value, str(hop.address), _seconds(limit))
            table.add_row(name, *row, ", ".join((*_remarks(hop), *remark_on_hop(leg))))
            name = ""
        limit = config.timeouts.dial if chain.dial is None else chain.dial
        row = ("all of it" if chain.hops else "none", "", "", _seconds(limit))
        remarks = ["no UDP"] if chain.udp is Udp.REFUSE else []
        table.add_row(name, *row, "; ".join((*remarks, *remark_on_chain(chain))))
    return table


def _udp(server: Server) -> str:
    """Say where clients send their datagrams to."""
    ports = server.udp_ports
    where = f"ports {ports[0]}-{ports[-1]}" if ports[-1] else "any port"
    return f"{where} at {server.udp_address or 'the address that the client has connected to'}"


def _remarks(hop: Hop) -> Iterator[str]:
    if hop.credentials:
        yield "with login"
    if hop.resolve is Resolve.LOCAL:
        yield "names are looked up here"


def _deadlines(timeouts: Timeouts) -> Table:
    table = _table("deadline")
    table.add_column("seconds", justify="right")
    for deadline in fields(timeouts):
        table.add_row(deadline.name, _seconds(getattr(timeouts, deadline.name)))
    return table


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False)


def _seconds(value: float) -> str:
    return "off" if math.isinf(value) else f"{value:g}"
