"""What sessions share."""

from __future__ import annotations

from dataclasses import replace

import trio

from chainsocks.chain.blame import FailedAt, Suspect
from chainsocks.config.listeners import Listener
from chainsocks.config.models import Config, HealthSettings
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import Command, Request, Version
from chainsocks.routing.rules import Caller
from chainsocks.session.login import Logins
from chainsocks.session.routing_decision import route_request
from chainsocks.session.service import Service
from tests.config.files import read
from tests.hops import make_hop
from tests.memory import MemoryNetwork


async def test_it_is_made_of_the_configuration(nursery: trio.Nursery) -> None:
    config = replace(read("[[rules]]\nto = '*.lan'\ndeny = true\n"), health=HealthSettings(rest=50))
    service = Service(config, Logins(()), MemoryNetwork(nursery))
    assert service.policy_of(Listener(Address("127.0.0.1", 1080))).router.has_rules
    service.dialer.choices.health.record_failure(Suspect(make_hop(1), FailedAt.REQUEST), "refused")
    assert service.dialer.choices.health.in_backoff(make_hop(1))


async def test_two_servers_know_nothing_of_each_other(nursery: trio.Nursery) -> None:
    one, other = (Service(Config(), Logins(()), MemoryNetwork(nursery)) for _ in range(2))
    one.dialer.choices.health.record_failure(Suspect(make_hop(1), FailedAt.REQUEST), "refused")
    assert not other.dialer.choices.health.in_backoff(make_hop(1))


async def test_another_configuration_keeps_what_has_been_learnt(nursery: trio.Nursery) -> None:
    config = read("[hops]\na = 'socks5://a.example'\nb = 'socks5://b.example'\n[chains]\ndefault = ['a', 'b']")
    former = Service(config, Logins(()), MemoryNetwork(nursery))
    health = former.dialer.choices.health
    for hop in config.hops.values():
        health.record_failure(Suspect(hop, FailedAt.REQUEST), "refused")
    changed = read("[server]\nudp_ports = '2000-2003'\n[hops]\nb = 'socks5://b.example'\n[chains]\ndefault = ['b']")
    service = former.renewed(changed)
    assert service.config.isolation_key == former.config.isolation_key
    assert [health.in_backoff(hop) for hop in config.hops.values()] == [True, True], "nothing has changed yet"
    service.take_over(former)
    assert service.dialer.choices.health is health
    assert [health.in_backoff(hop) for hop in config.hops.values()] == [False, True]
    assert service.port_shares is not former.port_shares
    assert service.renewed(changed).port_shares is service.port_shares


async def test_a_chain_that_is_gone_takes_no_request(nursery: trio.Nursery) -> None:
    """A connection may wait for its turn while its listener's chain is removed by a reload."""
    listener = Listener(Address("127.0.0.1", 1080), chain="office")
    policy = Service(Config(), Logins(()), MemoryNetwork(nursery)).policy_of(listener)
    request = Request(Version.SOCKS5, Command.CONNECT, Address("x", 80))
    decision = await route_request(request, Caller("127.0.0.1"), policy, MemoryNetwork(nursery))
    assert str(decision.refusal) == 'no chain is called "office"'
