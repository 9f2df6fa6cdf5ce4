"""A second, plain implementation of rules: one rule after the other, condition by condition."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import strategies as st

from chainsocks.config.rules import Rule, Spoken
from chainsocks.protocol.address import Address, AddressType
from chainsocks.protocol.messages import Command, Request, Version
from chainsocks.routing.rules import Caller
from tests.config.files import Toml, emit

__all__ = ["CHAINS", "HEAD", "HOSTS", "PORTS", "Table", "callers", "first_match", "requests", "rule_tables", "toml_of"]

HEAD = """
[server]
ident = "check"
[chains]
default = ["tor"]
onion = ["tor"]
slow = ["tor"]
[hops]
tor = "socks5://127.0.0.1:9050"
"""
"""A configuration for rules to stand in."""

NAMES = ["example.org", "www.example.org", "a.b.example.org", "org", "lan", "printer.lan", "x.onion", "localhost"]
IPS = ["10.0.0.1", "10.0.0.9", "10.1.0.1", "192.168.7.7", "127.0.0.1", "2001:db8::1", "2001:db8:1::1", "::1"]
HOSTS = [*NAMES, *IPS, "EXAMPLE.org.", "127.1", "0", "::ffff:10.0.0.9", "[::1]"]
PORTS = [22, 25, 80, 443, 6050]
CHAINS = ["onion", "slow", "direct"]
USERS = ["ident:carol", "ident:dave"]
CLIENTS = ["10.0.0.1", "192.168.7.7", "2001:db8::1", ""]

SAME = {"EXAMPLE.org.": "example.org", "127.1": "127.0.0.1", "::ffff:10.0.0.9": "10.0.0.9", "[::1]": "::1"}
ALSO = {"localhost": ["127.0.0.1", "::1"], "0": ["0.0.0.0", "127.0.0.1"]}

_more = "*.example.org .example.org *.org .lan *.onion 10.0.0.0/8 10.0.0.0/16 10.0.0.1-10.0.0.9 0.0.0.0/0 ::/0"
_to = st.sampled_from([*NAMES, *IPS, *_more.split(), "2001:db8::/32", "127.0.0.0/8", "::ffff:10.0.0.0/112"])


def _few(values: st.SearchStrategy[str | int]) -> st.SearchStrategy[list[str | int]]:
    return st.lists(values, min_size=1, max_size=3)


_some: dict[str, st.SearchStrategy[str | int]] = {
    "to": _to,
    "ports": st.sampled_from([*PORTS, "1-1023", "6000-6100", "20-25", "1-65535"]),
    "from": st.sampled_from(["10.0.0.0/8", "10.0.0.1", "192.168.0.0/16", "2001:db8::/32", "10.0.0.0-10.0.0.5"]),
    "users": st.sampled_from(USERS),
    "commands": st.sampled_from(["connect", "bind", "udp"]),
    "versions": st.sampled_from(["4", "4a", "5"]),
}
_ways: st.SearchStrategy[Table] = st.sampled_from([{"chain": name} for name in CHAINS] + [{"deny": True}])

Found = Sequence[str] | None
Table = dict[str, Toml]

rule_tables: st.SearchStrategy[list[Table]] = st.lists(
    st.builds(
        lambda conditions, way: {**conditions, **way},
        st.fixed_dictionaries(
            {}, optional={key: st.lists(value, min_size=1, max_size=3) for key, value in _some.items()}
        ),
        _ways,
    ),
    max_size=12,
)
"""The tables of a configuration's rules."""

callers = st.builds(Caller, st.sampled_from(CLIENTS), st.sampled_from([None, *(user.encode() for user in USERS)]))
requests = st.builds(
    Request,
    st.sampled_from(Version),
    st.sampled_from([Command.CONNECT, Command.BIND]),
    st.builds(Address, st.sampled_from(HOSTS), st.sampled_from(PORTS)),
    st.none(),
)


def toml_of(tables: Sequence[Table]) -> str:
    """Write the tables down."""
    return emit({"rules": tables})


def first_match(
    rules: Sequence[Rule], request: Request, caller: Caller, found: Sequence[str] | None = None
) -> int | None:
    """Return the number of the first rule that matches; `found` are the addresses that a lookup has brought."""
    return next((rule.number for rule in rules if _matches(rule, request, caller, found)), None)


def _matches(rule: Rule, request: Request, caller: Caller, found: Found) -> bool:
    named = request.destination.type is AddressType.DOMAINNAME
    spoken = {
        Version.SOCKS4: Spoken.SOCKS4A if named else Spoken.SOCKS4,
        Version.SOCKS5: Spoken.SOCKS5,
        Version.HTTP: Spoken.HTTP,
        Version.REDIRECTED: Spoken.REDIRECT,
        Version.TUNNEL: Spoken.TUNNEL,
        Version.DNS: Spoken.DNS,
    }[request.version]
    return (
        (not rule.written.get("to") or _is_to(rule, request.destination.host, found))
        and (not rule.ports or any(request.destination.port in ports for ports in rule.ports))
        and (not rule.clients or (caller.host != "" and _within(rule.clients, [caller.host])))
        and (not rule.users or caller.user in rule.users)
        and (not rule.commands or request.command in rule.commands)
        and (not rule.versions or spoken in rule.versions)
    )


def _is_to(rule: Rule, host: str, found: Found) -> bool:
    host = SAME.get(host, host)
    try:
        ips = ALSO.get(host) or [str(ip_address(host))]
    except ValueError:
        ips = []
    if rule.resolve and found is not None and not ips:
        if not found and rule.chain is None:
            return True
        ips = list(found)
    named = host in rule.to.names or any(host.endswith(f".{suffix}") for suffix in rule.to.suffixes)
    return named or _within(rule.to.networks, ips)


def _within(networks: Sequence[object], ips: Sequence[str]) -> bool:
    plain: list[IPv4Address | IPv6Address] = [ip_address(ip) for ip in ips]
    return any(ip in network for ip in plain for network in networks)  # type: ignore[operator]
