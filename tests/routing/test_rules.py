"""What the rules decide, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainsocks.config.chains import DIRECT
from chainsocks.config.load import parse_config
from chainsocks.config.models import Config
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import Command, Request, Version
from chainsocks.routing.rules import Caller, Decision, Router
from tests.routing.reference import CHAINS, HEAD, Table, callers, first_match, requests, rule_tables, toml_of

NOBODY = Caller("192.0.2.1")


def config_of(*tables: str, head: str = HEAD) -> Config:
    return parse_config(head + "".join(f"[[rules]]\n{table}\n" for table in tables))


def decide(
    config: Config, host: str, *, port: int = 80, caller: Caller = NOBODY, found: Sequence[str] | None = None
) -> Decision:
    request = Request(Version.SOCKS5, Command.CONNECT, Address(host, port))
    addresses = None if found is None else [Address(ip, port) for ip in found]
    return Router(config).decide(request, caller, addresses)


# --- without a rule that matches


@pytest.mark.parametrize(
    ("head", "chain", "refusal"),
    [
        (HEAD, "default", ""),
        ("", "direct", ""),
        (HEAD.replace("default =", "other ="), None, 'no rule matches, and no chain is called "default"'),
    ],
    ids=["default", "nothing declared", "no default"],
)
def test_what_no_rule_matches(head: str, chain: str | None, refusal: str) -> None:
    decision = decide(config_of("to = '10.0.0.0/8'\ndeny = true", head=head), "example.org")
    assert (decision.chain.name if decision.chain else None, decision.rule, decision.refusal) == (chain, None, refusal)


def test_without_rules() -> None:
    assert not Router(Config()).has_rules
    assert decide(Config(), "example.org") == Decision(Address("example.org", 80), DIRECT)
    assert decide(config_of(head=HEAD.replace("default =", "other =")), "x").refusal == 'no chain is called "default"'


# --- with the chain that a listener names


@pytest.mark.parametrize(
    ("host", "chain", "refusal"),
    [
        ("example.org", "onion", ""),
        ("a.lan", "onion", ""),
        ("b.lan", None, "rule 2 says no"),
        ("10.0.0.1", "onion", ""),
    ],
    ids=["no rule matches", "a rule with another chain lets it pass", "a rule denies", "a rule that goes direct"],
)
def test_with_a_chain_of_the_listener_rules_only_deny(host: str, chain: str | None, refusal: str) -> None:
    """A rule that does not deny has not decided, so it lifts nothing else that holds for the direct way."""
    rules = ("to = 'a.lan'\nchain = 'default'", "to = '*.lan'\ndeny = true", "to = '10.0.0.0/8'\nchain = 'direct'")
    request = Request(Version.SOCKS5, Command.CONNECT, Address(host, 80))
    decision = Router(config_of(*rules), "onion").decide(request, NOBODY)
    assert (decision.chain and decision.chain.name, decision.refusal) == (chain, refusal)
    assert (decision.rule is None) is (chain is not None)


# --- the ways that there are


def test_a_chain_the_direct_way_and_none() -> None:
    config = config_of("to = '*.onion'\nchain = 'onion'", "to = '*.lan'\nchain = 'direct'", "deny = true")
    onion, lan, denied = (decide(config, host) for host in ("x.onion", "x.lan", "example.org"))
    assert (onion.chain, onion.rule) == (config.chains["onion"], config.rules[0])
    assert (lan.chain, lan.rule) == (DIRECT, config.rules[1])
    assert (denied.chain, denied.rule, denied.refusal) == (None, config.rules[2], "rule 3 says no")


@pytest.mark.parametrize(
    "host", ["127.1", "0x7f.0.0.1", "2130706433", "::ffff:127.0.0.1", "0", "::", "0.0.0.0", "LOCALHOST."]
)
def test_no_spelling_gets_around_a_rule(host: str) -> None:
    assert decide(config_of("to = ['127.0.0.0/8', '::1']\ndeny = true"), host).refusal == "rule 1 says no"


def test_what_is_neither_a_name_nor_an_address_is_refused() -> None:
    decision = decide(config_of("to = '10.0.0.0/8'\ndeny = true"), "010.0.0.256")
    assert (decision.chain, decision.refusal) == (None, "010.0.0.256 is neither a name nor an IP address")


def test_an_address_in_disguise_is_spelt_out_for_the_hops() -> None:
    assert decide(config_of("to = '*.lan'\ndeny = true"), "0x7f.1").destination == Address("127.0.0.1", 80)


# --- lookups

RESOLVING_DENY = "to = '10.0.0.0/8'\nresolve = true\ndeny = true"
RESOLVING_DIRECT = "to = '10.0.0.0/8'\nresolve = true\nchain = 'direct'"


@pytest.mark.parametrize(
    ("rule", "found", "chain", "number", "addresses"),
    [
        (RESOLVING_DENY, ["192.0.2.1"], "default", None, ["192.0.2.1"]),
        (RESOLVING_DENY, ["192.0.2.1", "10.0.0.1"], None, 1, ["10.0.0.1"]),
        (RESOLVING_DENY, ["::ffff:10.0.0.1"], None, 1, ["::ffff:10.0.0.1"]),
        (RESOLVING_DENY, [], None, 1, []),
        (RESOLVING_DIRECT, ["192.0.2.1"], "default", None, ["192.0.2.1"]),
        (RESOLVING_DIRECT, ["192.0.2.1", "10.0.0.1"], "direct", 1, ["10.0.0.1"]),
        (RESOLVING_DIRECT, [], "default", None, []),
    ],
    ids=[
        "denies another",
        "denies one of them",
        "denies it in disguise",
        "denies what it cannot tell",
        "lets another rule decide",
        "takes the one",
        "does not take what it cannot tell",
    ],
)
def test_a_rule_that_looks_names_up(
    rule: str, found: list[str], chain: str | None, number: int | None, addresses: list[str]
) -> None:
    config = config_of(rule)
    first = decide(config, "example.org")
    assert first.needs_addresses
    assert (first.chain, first.rule) == (None, None)
    decision = decide(config, "example.org", found=found)
    assert not decision.needs_addresses
    assert decision.chain == (config.chains.get(chain, DIRECT) if chain else None)
    assert (decision.rule.number if decision.rule else None) == number
    assert decision.addresses == tuple(Address(ip, 80) for ip in addresses)


@pytest.mark.parametrize("host", ["10.0.0.1", "::1", "127.1", "localhost", "printer.lan"])
def test_nothing_is_looked_up_where_it_does_not_matter(host: str) -> None:
    """It is an address, or an earlier rule has decided."""
    assert not decide(config_of("to = '*.lan'\nchain = 'direct'", RESOLVING_DENY), host).needs_addresses


def test_nothing_is_looked_up_for_clients_of_other_rules() -> None:
    config = config_of("from = '192.168.0.0/16'\n" + RESOLVING_DENY)
    assert not decide(config, "example.org").needs_addresses
    assert decide(config, "example.org", caller=Caller("192.168.1.1")).needs_addresses


def test_other_rules_do_not_see_what_was_found() -> None:
    config = config_of("to = '172.16.0.0/12'\nresolve = true\ndeny = true", "to = '10.0.0.0/8'\nchain = 'onion'")
    assert decide(config, "example.org", found=["10.0.0.1"]).chain == config.chains["default"]


@settings(max_examples=150)
@given(
    rule_tables,
    requests,
    callers,
    st.lists(st.sampled_from(["10.0.0.1", "192.168.7.7", "2001:db8::1", "203.0.113.1"]), max_size=2, unique=True),
)
def test_look_ups_as_a_walk_through_all_rules_has_them(
    tables: list[Table], request: Request, caller: Caller, found: list[str]
) -> None:
    for table in tables[::2]:
        to = table.get("to", [])
        table["to"] = ["10.0.0.0/8", *(to if isinstance(to, list) else [])]
        table["resolve"] = True
    config = parse_config(toml_of(tables) + HEAD)
    router = Router(config)
    decision = router.decide(request, caller)
    looked_up = decision.needs_addresses
    if looked_up:
        decision = router.decide(request, caller, [Address(ip, request.destination.port) for ip in found])
    expected = first_match(config.rules, request, caller, found if looked_up else None)
    assert (decision.rule.number if decision.rule else None) == expected


# --- associations


def associate(config: Config, *hosts: str, port: int = 53) -> list[str | None]:
    """The chain of an association, and then those of datagrams to `hosts`."""
    router, request = Router(config), Request(Version.SOCKS5, Command.UDP_ASSOCIATE, Address("0.0.0.0", 0))
    decisions = [router.decide(request, NOBODY)]
    decisions += [router.decide_datagram(request, NOBODY, Address(host, port)) for host in hosts]
    return [decision.chain.name if decision.chain else None for decision in decisions]


def test_an_association_is_decided_on_without_a_destination() -> None:
    rules = ["to = '*.onion'\nchain = 'onion'", "ports = '1-65535'\ndeny = true", "commands = 'udp'\nchain = 'slow'"]
    assert associate(config_of(*rules)) == ["slow"]
    assert associate(config_of("to = '0.0.0.0/0'\ndeny = true")) == ["default"]
    assert associate(config_of("commands = ['udp']\ndeny = true")) == [None]


def test_datagrams_are_decided_on_one_by_one() -> None:
    config = config_of("to = '10.0.0.0/8'\ndeny = true", "to = '*.onion'\nchain = 'onion'")
    hosts = ["10.0.0.1", "10.1", "x.onion", "192.0.2.1", "x.256"]
    assert associate(config, *hosts) == ["default", None, None, "onion", "default", None]


def test_a_datagram_waits_for_no_look_up() -> None:
    """Rules that deny match as if the name had such an address; rules that allow do not match."""
    assert associate(config_of(RESOLVING_DENY), "example.org", "192.0.2.1") == ["default", None, "default"]
    assert associate(config_of(RESOLVING_DIRECT), "example.org", "10.0.0.1") == ["default", "default", "direct"]


def test_all_chains_of_the_reference_are_declared() -> None:
    assert {*CHAINS} <= {*config_of().chains, "direct"}


def test_both_of_tors_commands_are_one_word() -> None:
    router = Router(config_of("commands = 'resolve'\ndeny = true"))
    denied = [
        command
        for command in Command
        if not router.decide(Request(Version.SOCKS5, command, Address("192.0.2.1", 0)), NOBODY).chain
    ]
    assert denied == [Command.RESOLVE, Command.RESOLVE_PTR]


# --- Caller


def test_repr_does_not_show_the_user() -> None:
    assert "carol" not in repr(Caller("192.0.2.1", b"carol"))


@pytest.mark.parametrize(
    ("host", "ips"),
    [
        ("192.0.2.1", ["192.0.2.1"]),
        ("2001:db8::1", ["2001:db8::1"]),
        ("fe80::1%eth0", ["fe80::1"]),
        ("::ffff:192.0.2.1", ["192.0.2.1"]),
        ("", []),
    ],
)
def test_the_ip_address_of_a_caller(host: str, ips: list[str]) -> None:
    assert Caller(host).ips == tuple(ip_address(ip).packed for ip in ips)


@pytest.mark.parametrize(
    ("caller", "account"),
    [
        (Caller("192.0.2.1"), "192.0.2.1"),
        (Caller("::ffff:192.0.2.1"), "192.0.2.1"),
        (Caller("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::"),
        (Caller("fe80::1%eth0"), "fe80::"),
        (Caller(), ""),
        (Caller("192.0.2.1", b"carol"), "user carol"),
        (Caller("192.0.2.1", b"gssapi:carol@EXAMPLE.ORG"), "user gssapi:carol@EXAMPLE.ORG"),
        (Caller("192.0.2.1", b"ident:carol"), "192.0.2.1"),
    ],
)
def test_what_a_client_counts_as(caller: Caller, account: str) -> None:
    assert caller.account == account
