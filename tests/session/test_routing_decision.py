"""The way of a request through a session: rules, their lookups, and who names IP addresses."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock

from chainsocks.config.chains import Chain
from chainsocks.config.choices import NamesOnly
from chainsocks.config.models import Config
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import Command, ReplyCode, Request, Version
from chainsocks.routing.rules import Caller, Router
from chainsocks.session.routing_decision import (
    Policy,
    RoutingDecision,
    asks_for_address,
    datagram_filter,
    route_request,
    stricter,
)
from tests.config.files import read
from tests.hops import add_hop, make_hop
from tests.memory import Host, MemoryNetwork
from tests.session.serving import DESTINATION, GRANTED5, Client, echo, session

Log = pytest.LogCaptureFixture
REFUSED, UNREACHABLE = "05 02 00 01 00000000 0000", "05 04 00 01 00000000 0000"
HEAD = "[hops]\ntor = 'socks5://10.0.0.1:1080'\n[chains]\nonion = ['tor']\n"


def connect_to(host: str, port: int = 80) -> bytes:
    return b"\x05\x01\x00\x05\x01\x00\x03" + bytes((len(host),)) + host.encode() + port.to_bytes(2, "big")


async def ask(client: Client, host: str, answer: str) -> None:
    await client.send(connect_to(host))
    await client.expect("05 00" + answer)


# --- what the rules say


async def test_a_rule_says_no_before_anything_is_dialled(caplog: Log) -> None:
    async with session(caplog, read("[[rules]]\nto = '192.0.2.0/24'\ndeny = true\n")) as client:
        await ask(client, "192.0.2.80", REFUSED)
        await client.expect_end()
    assert client.network.connects == []
    assert " chain=- rule=1 reply=02 " in client.line
    assert 'outcome="rule 1 says no"' in client.line


async def test_each_goes_the_way_of_its_rule(caplog: Log) -> None:
    config = read(HEAD + "[[rules]]\nto = '*.onion'\nchain = 'onion'\n[[rules]]\nchain = 'direct'\n")
    async with session(caplog, config) as client:
        hop = config.hops["tor"]
        client.network.hosts[hop.address] = Host(echo)
        await client.send(connect_to("x.onion"))
        await client.expect("05 00")
        await trio.testing.wait_all_tasks_blocked()
        assert [address for _, address in client.network.connects] == [hop.address]
    assert " chain=onion rule=1 " in client.line
    caplog.clear()
    async with session(caplog, config) as client:
        await ask(client, "192.0.2.80", GRANTED5)
        assert [address for _, address in client.network.connects] == [DESTINATION]
    assert " chain=direct rule=2 " in client.line


async def test_no_rule_and_no_default(caplog: Log) -> None:
    async with session(caplog, read(HEAD + "[[rules]]\nto = '*.onion'\nchain = 'onion'\n")) as client:
        await ask(client, "example.org", REFUSED)
        await client.expect_end()
    assert " chain=- rule=- reply=02 " in client.line
    assert "no rule matches" in client.line


async def test_without_rules_the_line_says_nothing_of_them(caplog: Log) -> None:
    async with session(caplog) as client:
        await ask(client, "192.0.2.80", GRANTED5)
    assert "rule=" not in client.line


async def test_a_client_is_known_by_its_address(caplog: Log) -> None:
    config = read("[[rules]]\nfrom = '192.0.2.1'\nchain = 'direct'\n[[rules]]\ndeny = true\n")
    async with session(caplog, config) as client:
        await ask(client, "192.0.2.80", GRANTED5)
    assert " rule=1 " in client.line


# --- lookups

DENY_INSIDE = "[[rules]]\nto = '10.0.0.0/8'\nresolve = true\ndeny = true\n"


async def test_a_second_look_up_cannot_find_another_address(caplog: Log) -> None:
    """DNS rebinding: the rules see one address, and the dial would see another."""
    async with session(caplog, read(DENY_INSIDE)) as client:
        answers = [["192.0.2.80"], ["10.0.0.5"]]
        asked = []

        async def rebind(name: Address, client: str = "") -> list[Address]:
            asked.append(name)
            return [Address(host, name.port) for host in answers[len(asked) - 1]]

        client.network.resolve = rebind  # type: ignore[method-assign]
        await ask(client, "example.org", GRANTED5)
        assert [address for _, address in client.network.connects] == [DESTINATION]
        assert asked == [Address("example.org", 80)]


async def test_of_all_addresses_those_in_the_rule_are_connected_to(caplog: Log) -> None:
    config = read(HEAD + "[[rules]]\nto = '192.0.2.0/24'\nresolve = true\nchain = 'direct'\n")
    async with session(caplog, config) as client:
        client.network.names["example.org"] = ["203.0.113.1", "192.0.2.80"]
        await ask(client, "example.org", GRANTED5)
        assert [address for _, address in client.network.connects] == [DESTINATION]


@pytest.mark.parametrize(
    ("names", "answer", "outcome"),
    [
        ({"example.org": ["10.0.0.5", "192.0.2.80"]}, REFUSED, "rule 1 says no"),
        ({}, REFUSED, "rule 1 says no: a lookup of its name found no address to compare"),
    ],
    ids=["inside", "nobody can tell"],
)
async def test_what_is_inside_or_may_be_is_denied(
    names: dict[str, list[str]], answer: str, outcome: str, caplog: Log
) -> None:
    async with session(caplog, read(DENY_INSIDE)) as client:
        client.network.names.update(names)
        await ask(client, "example.org", answer)
        await client.expect_end()
    assert client.network.connects == []
    assert f'outcome="{outcome}"' in client.line


async def test_a_direct_way_does_not_look_up_again_what_has_no_address(caplog: Log) -> None:
    async with session(caplog, read("[[rules]]\nto = '10.0.0.0/8'\nresolve = true\nchain = 'direct'\n")) as client:
        await ask(client, "example.org", UNREACHABLE)
        await client.expect_end()
    assert 'outcome="no address for example.org, which the rules asked for"' in client.line


async def test_a_look_up_has_its_limit(autojump_clock: MockClock, caplog: Log) -> None:
    config = read("[timeouts]\nhandshake = 3\nresolve = 4\n" + DENY_INSIDE)
    async with session(caplog, config) as client:
        client.network.resolve_delay = 100
        await ask(client, "example.org", REFUSED)
        assert trio.current_time() == 4
        await client.expect_end()


async def test_a_name_still_goes_to_the_hops_as_a_name(caplog: Log) -> None:
    hop = make_hop(1)
    config = read(DENY_INSIDE)
    config = Config(rules=config.rules, chains={"default": Chain(hop)})
    async with session(caplog, config) as client:
        add_hop(client.network, hop)
        client.network.names["example.org"] = ["192.0.2.80"]
        client.network.hosts[Address("example.org", 80)] = Host(echo)
        await ask(client, "example.org", GRANTED5)
        assert [address for _, address in client.network.connects] == [hop.address, Address("example.org", 80)]


# --- names_only


@pytest.mark.parametrize("host", ["192.0.2.80", "::ffff:192.0.2.80", "3221226064"])
async def test_an_address_is_refused_where_names_are_wanted(host: str, caplog: Log) -> None:
    async with session(caplog, names_only=NamesOnly.REFUSE) as client:
        await ask(client, host, REFUSED)
        await client.expect_end()
    assert client.network.connects == []
    assert 'outcome="names_only: the client asks for an IP address"' in client.line


async def test_or_warned_of(caplog: Log) -> None:
    async with session(caplog, names_only=NamesOnly.WARN) as client:
        await ask(client, "192.0.2.80", GRANTED5)
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith(client.line.partition(" ")[0].replace("id=", "session "))
    assert warning.endswith(
        "client 192.0.2.1:5555: asks for the IP address of 192.0.2.80:80: "
        "it may have resolved a name itself (names_only)"
    )


async def test_a_name_is_what_is_wanted(caplog: Log) -> None:
    async with session(caplog, names_only=NamesOnly.REFUSE) as client:
        client.network.names["example.org"] = ["192.0.2.80"]
        await ask(client, "example.org", GRANTED5)


async def test_a_chain_may_want_names_too(caplog: Log) -> None:
    config = read(
        "[hops]\ntor = 'socks5://10.0.0.1:1080'\n[chains]\ndefault = { hops = ['tor'], names_only = 'refuse' }"
    )
    async with session(caplog, config, names_only=NamesOnly.WARN) as client:
        await ask(client, "192.0.2.80", REFUSED)
        await client.expect_end()
    assert client.network.connects == []


def request(host: str, command: Command = Command.CONNECT, version: Version = Version.SOCKS5) -> Request:
    return Request(version, command, Address(host, 0 if command is Command.UDP_ASSOCIATE else 21))


@pytest.mark.parametrize(
    ("asked", "refused"),
    [
        (request("192.0.2.1", Command.BIND), True),
        (request("0.0.0.0", Command.BIND), False),
        (request("::", Command.BIND), False),
        (request("0.0.0.0"), True),
        (request("0.0.0.0", Command.UDP_ASSOCIATE), False),
        (request("192.0.2.1", Command.UDP_ASSOCIATE), False),
        (request("256.1"), True),
        (request("x.onion"), False),
        (request("localhost"), False),
    ],
)
async def test_which_requests_are_for_an_address(
    asked: Request,
    refused: bool,  # noqa: FBT001
    nursery: trio.Nursery,
) -> None:
    assert asks_for_address(asked) is refused
    policy, network = Policy.of(Config()), MemoryNetwork(nursery)
    decision = await route_request(asked, Caller("192.0.2.1"), policy, network, NamesOnly.REFUSE)
    assert (decision.refusal is not None) is refused


def test_the_stricter_one_wins() -> None:
    assert stricter(NamesOnly.OFF, NamesOnly.WARN) is stricter(NamesOnly.WARN, NamesOnly.OFF) is NamesOnly.WARN
    assert stricter(NamesOnly.WARN, NamesOnly.REFUSE) is stricter(NamesOnly.REFUSE, NamesOnly.WARN) is NamesOnly.REFUSE


# --- datagrams


def judged(text: str, names_only: NamesOnly, *hosts: str) -> list[str | None]:
    router, asked, caller = Router(read(text)), request("0.0.0.0", Command.UDP_ASSOCIATE), Caller("192.0.2.1")
    chain = router.decide(asked, caller).chain
    assert chain
    decision = RoutingDecision(asked.destination, chain, chain, names_only)
    passes = datagram_filter(router, asked, caller, decision, "session 7:")
    assert passes
    told = [passes(Address(host, 53)) for host in hosts]
    return [address.host if address else None for address in told]


def test_datagrams_go_the_way_of_their_association_or_nowhere() -> None:
    text = (
        HEAD
        + "default = ['tor']\n[[rules]]\nto = '*.onion'\nchain = 'onion'\n[[rules]]\nto = '10.0.0.0/8'\ndeny = true\n"
    )
    hosts = ["example.org", "x.onion", "10.0.0.1", "10.1", "127.1", "192.0.2.1"]
    assert judged(text, NamesOnly.OFF, *hosts) == ["example.org", None, None, None, "127.0.0.1", "192.0.2.1"]


def test_datagrams_may_have_to_name_names(caplog: Log) -> None:
    hosts = ["example.org", "192.0.2.1", "0x7f.1", "192.0.2.2"]
    assert judged("", NamesOnly.REFUSE, *hosts) == ["example.org", None, None, None]
    assert caplog.records == []
    assert judged("", NamesOnly.WARN, *hosts) == ["example.org", "192.0.2.1", "127.0.0.1", "192.0.2.2"]
    [record] = caplog.records
    assert "session 7: asks for the IP address of 192.0.2.1:53" in record.getMessage()


# --- logins


LOGIN_REQUIRED = "[[users]]\nname = 'carol'\npassword_env = 'PASSWORD'\n"


async def test_an_identd_is_no_login(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "wonderland")
    policy, network = Policy.of(read(LOGIN_REQUIRED)), MemoryNetwork(nursery)
    assert policy.login_required
    for asked, caller, problem in [
        (request("x", version=Version.SOCKS4), Caller("192.0.2.1", b"carol"), "SOCKS4 cannot log in"),
        (request("x"), Caller("192.0.2.1"), "a login is required"),
    ]:
        assert (await route_request(asked, caller, Policy.of(Config()), network)).refusal is None
        decision = await route_request(asked, caller, policy, network)
        assert problem in str(decision.refusal)
        assert decision.matched == ""
    assert (await route_request(request("x"), Caller("192.0.2.1", b"carol"), policy, network)).refusal is None


async def test_a_refusal_has_its_code_and_its_rule(nursery: trio.Nursery) -> None:
    policy = Policy.of(read("[[rules]]\nto = '192.0.2.0/24'\ndeny = true\n"))
    decision = await route_request(request("192.0.2.7"), Caller("192.0.2.1"), policy, MemoryNetwork(nursery))
    assert decision.refusal
    assert (str(decision.refusal), decision.refusal.reply_code) == ("rule 1 says no", ReplyCode.NOT_ALLOWED_BY_RULESET)
    assert decision.matched == "1"
