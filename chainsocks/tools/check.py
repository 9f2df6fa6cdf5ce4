"""Show a configuration that has no problems: its listeners, chains, rules and deadlines. No secret is shown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import fields

from rich.console import Console
from rich.table import Table

from chainsocks.config.chains import DIRECT, Chain, Group, Udp
from chainsocks.config.hops import Hop, Isolate, NamesOnly, Resolve
from chainsocks.config.listeners import is_loopback
from chainsocks.config.models import Config, HealthSettings, Ident, Server, ServerGssapi, Timeouts
from chainsocks.protocol.address import printable
from chainsocks.protocol.gssapi import Gssapi
from chainsocks.tools.pipelining import remark_on_chain, remark_on_hop, warn_of_pipelining
from chainsocks.tools.rules import rule_warnings, rules_table

__all__ = ["show_config", "warnings"]


def warnings(config: Config) -> list[str]:
    """Return what is allowed and yet hardly meant."""
    found = []
    if config.default_chain is None and not config.rules:
        found.append('no chain is called "default": every request will be refused')
    used = {name for chain in config.chains.values() for name in _names(chain.hops)}
    found += [f"hop {printable(name)} is in no chain" for name in config.hops if name not in used]
    found += [f"group {printable(name)} is in no chain" for name in config.groups if name not in used]
    return [*found, *warn_of_pipelining(config), *rule_warnings(config)]


def show_config(config: Config, console: Console) -> None:
    """Print the resolved configuration: a row for each hop of each chain, with the limit that holds there."""
    console.print("listen:", ", ".join(_listens(config.server)))
    users = ", ".join(printable(user.name) for user in config.users)
    console.print("users:", users or ("none" if config.requires_gssapi else "none, nobody has to log in"))
    if guarded := [
        str(each) for each in config.server.listen if not (config.server.private or is_loopback(each.address))
    ]:
        console.print(
            "private places:", f"not by direct ways for clients of {', '.join(guarded)}, unless a rule names them"
        )
    if config.server.gssapi:
        console.print("gssapi:", _gssapi(config.server.gssapi))
    console.print("udp:", _udp(config.server))
    if config.server.bind_address:
        console.print("bind_address:", str(config.server.bind_address))
    if config.server.ident is not Ident.OFF:
        console.print("ident:", config.server.ident.value)
    console.print()
    console.print(_chains(config))
    console.print()
    if config.rules:
        console.print(rules_table(config))
        console.print()
    console.print(_deadlines(config.timeouts))
    if any(chain.route is None for chain in config.chains.values()):
        console.print()
        console.print(_deadlines(config.health, "health"))


def _chains(config: Config) -> Table:
    table = _table("chain", "hop", "protocol", "address")
    table.add_column("seconds", justify="right")
    table.add_column("")
    for chain in config.chains.values() or (DIRECT,):
        name = printable(chain.name)
        for position, member in enumerate(chain.hops, 1):
            for row in _rows(f"{position} ", member, chain, config.timeouts):
                table.add_row(name, *row)
                name = ""
        limit = config.timeouts.dial if chain.dial is None else chain.dial
        whole = "all of it" if chain.hops else "none"
        remarks = (", ".join(_habits(chain)), *remark_on_chain(chain))
        table.add_row(name, whole, "", "", _seconds(limit), "; ".join(filter(None, remarks)))
    return table


def _rows(
    prefix: str, member: Hop | Group, chain: Chain, timeouts: Timeouts
) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield the row of a hop; or that of a group, and those of its members, further in."""
    name = f"{prefix}{printable(member.name)}"
    if isinstance(member, Hop):
        limit = timeouts.hop if member.timeout is None else member.timeout
        remarks = (*_remarks(member), *remark_on_hop(member, chain))
        yield name, member.protocol.value, str(member.address), _seconds(limit), ", ".join(remarks)
        return
    yield name, "group", member.pick.value, "", ", ".join(_terms(member))
    for one in member.hops:
        yield from _rows(" " * (len(prefix) + 2), one, chain, timeouts)


def _terms(group: Group) -> Iterator[str]:
    """Say what holds for a group, beside its pick."""
    if len(set(group.weights)) > 1:
        yield "weights " + " : ".join(f"{weight:g}" for weight in group.weights)
    if group.hedge is not None:
        yield f"the next one as well after {_seconds(group.hedge)} s"
    if group.retry_refused:
        yield "a destination's refusal is tried again"
    if group.check is not None:
        what = f"by connecting to {group.check_target}" if group.check_target else "by greeting it"
        yield f"each is checked every {_seconds(group.check)} s {what}"


def _habits(chain: Chain) -> Iterator[str]:
    """Say what holds for a chain as a whole."""
    if chain.udp is Udp.REFUSE:
        yield "no UDP"
    if chain.resolver:
        yield f"names from {chain.resolver}"
    if chain.names_only is not NamesOnly.OFF:
        yield f"names_only = {chain.names_only}"
    if chain.hedge is not None:
        yield f"another way as well after {_seconds(chain.hedge)} s"
    if chain.skip_dead:
        yield "dead hops are left out" if chain.length is None else f"the first {chain.length} that live"


def _names(members: Iterable[Hop | Group]) -> Iterator[str]:
    for member in members:
        yield member.name
        if isinstance(member, Group):
            yield from _names(member.hops)


def _udp(server: Server) -> str:
    """Say where clients send their datagrams to."""
    ports = server.udp_ports
    where = f"ports {ports[0]}-{ports[-1]}" if ports[-1] else "any port"
    return f"{where} at {server.udp_address or 'the address that the client has connected to'}"


def _gssapi(gssapi: ServerGssapi) -> str:
    """Say how clients log in by it, and which ones."""
    who = ", ".join(gssapi.principals) or "whoever has a ticket"
    rule = "required of all" if gssapi.required else "not required"
    services = " or ".join(gssapi.services)
    return printable(f"{rule}; {who}; for {services}; protection: {gssapi.protection} at least")


def _remarks(hop: Hop) -> Iterator[str]:
    if isinstance(hop.credentials, Gssapi):
        login = hop.credentials
        yield f"by GSSAPI to {printable(login.service)}@{printable(login.host or hop.address.host)}"
        yield f"protection: {login.protection}"
    elif hop.credentials:
        yield "with login"
    if hop.resolve is Resolve.LOCAL:
        yield "names are looked up here"
    if hop.tor:
        yield "answers RESOLVE"
    if hop.isolate is not Isolate.OFF:
        yield f"isolated by {hop.isolate}"


def _listens(server: Server) -> Iterator[str]:
    for listener in server.listen:
        off = listener.names_only is NamesOnly.OFF
        yield printable(str(listener)) + ("" if off else f" (names_only = {listener.names_only})")


def _deadlines(timeouts: Timeouts | HealthSettings, title: str = "deadline") -> Table:
    table = _table(title)
    table.add_column("seconds", justify="right")
    for deadline in fields(timeouts):
        table.add_row(deadline.name, _seconds(getattr(timeouts, deadline.name)))
    return table


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False)


def _seconds(value: float) -> str:
    return "off" if math.isinf(value) else f"{value:g}"
