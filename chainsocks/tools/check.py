"""Show a valid configuration: its listeners, chains, rules and deadlines. No secret is shown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields

from rich.console import Console
from rich.table import Table

from chainsocks.chain.legs import legs
from chainsocks.chain.pipeline import flights, round_trips
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.choices import Isolate, NamesOnly, Pipeline, Resolve, Udp, UdpFilter, UdpRelay
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop
from chainsocks.config.limits import Limit, Limits
from chainsocks.config.listeners import ListenerKind
from chainsocks.config.models import Config, HealthSettings, Ident, Server, ServerGssapi, Timeouts
from chainsocks.protocol.address import UNSPECIFIED, Address, printable
from chainsocks.protocol.gssapi import Gssapi
from chainsocks.protocol.masking import masked_name
from chainsocks.tools.rules import rules_table
from chainsocks.tools.tables import plain_table, print_lines, print_table
from chainsocks.tools.warnings import pipelined_hops

__all__ = ["show_config"]


def show_config(config: Config, console: Console) -> None:
    """Print the configuration as it works out: a row for each hop of each chain, with its limit in seconds."""
    print_lines(_settings(config), console)
    console.print()
    print_table(_chains(config), console)
    console.print()
    if config.rules:
        print_table(rules_table(config), console)
        console.print()
    print_table(_deadlines(config.timeouts), console)
    if any(chain.route is None for chain in config.chains.values()):
        console.print()
        print_table(_deadlines(config.health, "health"), console)


def _settings(config: Config) -> Iterator[str]:
    """Yield a line for each setting of the server that is worth one."""
    yield f"listen: {', '.join(_listens(config.server))}"
    users = ", ".join(printable(masked_name(user.name)) for user in config.users)
    yield f"users: {users or ('none' if config.requires_gssapi else 'none, no login is required')}"
    if guarded := [str(each) for each in config.server.listen if not (config.server.private or each.is_local)]:
        yield f"private places: no direct way for clients of {', '.join(guarded)}, unless a rule names them"
    if config.server.gssapi:
        yield f"gssapi: {_gssapi(config.server.gssapi)}"
    yield f"udp: {_udp(config.server)}"
    if config.server.bind_address:
        yield f"bind_address: {config.server.bind_address}"
    if config.server.ident is not Ident.OFF:
        yield f"ident: {config.server.ident.value}"
    if limits := ", ".join(_limits(config.limits)):
        yield f"limits: {limits}"


def _limits(limits: Limits) -> Iterator[str]:
    """Yield the limits that are set, and the clients that they are not for."""
    for limit in Limit:
        most = getattr(limits, limit)
        if most is not None:
            yield f"{limit} {most:g}" if isinstance(most, float) else f"{limit} {most}"
    if limits.trusted:
        yield f"trusted {' '.join(map(str, limits.trusted))}"


def _chains(config: Config) -> Table:
    table = plain_table("chain", "hop", "protocol", "address")
    table.add_column("seconds", justify="right")
    table.add_column("")
    direct = () if config.chains and config.direct == DIRECT else (config.direct,)
    for chain in (*config.chains.values(), *direct):
        name = printable(chain.name)
        for position, member in enumerate(chain.hops, 1):
            for row in _rows(f"{position} ", member, chain, config.timeouts):
                table.add_row(name, *row)
                name = ""
        limit = config.timeouts.dial if chain.dial is None else chain.dial
        whole = "total" if chain.hops else "none"
        table.add_row(name, whole, "", "", _seconds(limit), ", ".join(_chain_remarks(chain)))
    return table


def _rows(
    prefix: str, member: Hop | Group, chain: Chain, timeouts: Timeouts
) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield the row of a hop; or that of a group, and those of its members, further in."""
    name = f"{prefix}{printable(member.name)}"
    if isinstance(member, Hop):
        limit = timeouts.hop if member.timeout is None else member.timeout
        yield name, member.scheme, str(member.address), _seconds(limit), ", ".join(_hop_remarks(member, chain))
        return
    yield name, "group", member.pick.value, "", ", ".join(_group_remarks(member))
    for one in member.hops:
        yield from _rows(" " * (len(prefix) + 2), one, chain, timeouts)


def _group_remarks(group: Group) -> Iterator[str]:
    """Say what holds for a group, beside its pick."""
    if len(set(group.weights)) > 1:
        yield "weights " + " : ".join(f"{weight:g}" for weight in group.weights)
    if group.hedge is not None:
        yield f"hedge after {_seconds(group.hedge)} s"
    if group.retry_refused:
        yield "retry on refusal by the destination"
    if group.check is not None:
        what = f"connection to {group.check_target}" if group.check_target else "greeting"
        yield f"health check every {_seconds(group.check)} s ({what})"


def _chain_remarks(chain: Chain) -> Iterator[str]:
    """Say what holds for a chain as a whole."""
    if chain.udp is Udp.REFUSE:
        yield "no UDP"
    if chain.resolver:
        yield f"resolver {chain.resolver}"
    if chain.names_only is not NamesOnly.OFF:
        yield f"names_only = {chain.names_only}"
    if chain.hedge is not None:
        yield f"hedge after {_seconds(chain.hedge)} s"
    if chain.skip_dead:
        yield "dead hops are skipped" if chain.length is None else f"the first {chain.length} hops that work"
    if chain.seal:
        yield "sealed: each hop sees its neighbours only"
    if chain.send_proxy:
        yield "sends a PROXY protocol header"
    if chain.egress:
        yield str(chain.egress)
    if chain.udp_filter is not UdpFilter.ADDRESS_AND_PORT:
        yield f"udp_filter {chain.udp_filter}"
    if chain.family:
        yield f"family {chain.family}"
    if chain.idle is not None:
        yield _limit("idle", chain.idle)
    if chain.half_close is not None:
        yield _limit("half_close", chain.half_close)
    yield from _pipelining_remarks(chain)
    yield from _warm_remarks(chain)


def _pipelining_remarks(chain: Chain) -> Iterator[str]:
    """Say which hops of a pipelined chain are asked together, and how many round trips of a link a dial takes."""
    if not pipelined_hops(chain):
        return
    if chain.route is None:
        yield "hops asked together depend on the route chosen"
        return
    plan = legs(chain.route.hops, UNSPECIFIED, pipeline=chain.pipeline)
    together = [f"{flight[0].position}-{flight[-1].position}" for flight in flights(plan) if len(flight) > 1]
    if together:
        yield f"hops asked together: {' and '.join(together)}"
    usual = [leg._replace(pipeline=Pipeline.OFF) for leg in plan]
    yield f"{round_trips(plan)} round trips instead of {round_trips(usual)}"


def _warm_remarks(chain: Chain) -> Iterator[str]:
    """Say how many ways are kept open, how long, and how many round trips of a link a request on one takes."""
    if not chain.warm:
        return
    limits = [("idle", chain.warm_idle), ("replaced", chain.warm_age)]
    ages = ", ".join(f"{what} after {_seconds(limit)} s" for what, limit in limits if limit < math.inf)
    yield f"up to {chain.warm} warm way{'' if chain.warm == 1 else 's'}" + (f" ({ages})" if ages else "")
    if chain.route and not pipelined_hops(chain):
        plan = legs(chain.route.hops, UNSPECIFIED)
        yield f"warm: {len(plan) + 1} round trips instead of {round_trips(plan)}"
    elif chain.route:
        yield f"warm: {len(chain.route.hops) + 1} round trips"


def _udp(server: Server) -> str:
    """Say where clients send their datagrams."""
    ports = server.udp_ports
    where = f"ports {ports[0]}-{ports[-1]}" if ports[-1] else "any port"
    return f"{where} at {server.udp_address or 'the address that the client connected to'}"


def _gssapi(gssapi: ServerGssapi) -> str:
    """Say which clients log in by GSSAPI, and how."""
    principals = ", ".join(gssapi.principals) or "all principals"
    rule = "required" if gssapi.required else "not required"
    services = " or ".join(gssapi.services)
    return printable(f"{rule}; {principals}; for {services}; protection: {gssapi.protection} at least")


def _hop_remarks(hop: Hop, chain: Chain) -> Iterator[str]:
    """Say what holds for a hop, of a chain or of a group in it."""
    if isinstance(hop.credentials, Gssapi):
        login = hop.credentials
        yield f"GSSAPI login to {printable(login.service)}@{printable(login.host or hop.address.host)}"
        yield f"protection: {login.protection}"
    elif hop.credentials:
        yield "with login"
    if hop.resolve is Resolve.LOCAL:
        yield "names resolved locally"
    if hop.tor:
        yield "supports RESOLVE"
    if hop.udp_relay is not UdpRelay.HOP:
        where = hop.udp_relay.host if isinstance(hop.udp_relay, Address) else "as it reports"
        yield f"UDP relay {where}"
    if hop.egress:
        yield str(hop.egress)
    if hop.family:
        yield f"family {hop.family}"
    if hop.isolate is not Isolate.OFF:
        yield f"isolated by {hop.isolate}"
    if (pipeline := hop.pipelined(chain.pipeline)) is not Pipeline.OFF:
        yield f"pipelined: {pipeline}"


def _listens(server: Server) -> Iterator[str]:
    for listener in server.listen:
        terms = [] if listener.names_only is NamesOnly.OFF else [f"names_only = {listener.names_only}"]
        if listener.kind is ListenerKind.DNS:
            terms.append("DNS, by UDP and TCP")
        if listener.target:
            terms.append(f"tunnel to {listener.target}")
        if listener.udp:
            terms.append("UDP and TCP")
        if listener.chain is not None:
            terms.append(f"chain {listener.chain}")
        if listener.tls:
            terms.append("TLS, with client certificates" if listener.asks_certificates else "TLS")
        if listener.mode is not None:
            terms.append(f"mode = {listener.mode:04o}")
        if listener.group is not None:
            terms.append(f"group = {listener.group}")
        if listener.proxy_protocol:
            terms.append(f"PROXY protocol from {listener.proxy_protocol}")
        yield printable(str(listener)) + (f" ({', '.join(terms)})" if terms else "")


def _deadlines(timeouts: Timeouts | HealthSettings, title: str = "deadline") -> Table:
    table = plain_table(title)
    table.add_column("seconds", justify="right")
    for deadline in fields(timeouts):
        table.add_row(deadline.name, _seconds(getattr(timeouts, deadline.name)))
    return table


def _seconds(value: float) -> str:
    return "off" if math.isinf(value) else f"{value:g}"


def _limit(name: str, value: float) -> str:
    return f"{name} {_seconds(value)}" + (" s" if value < math.inf else "")
