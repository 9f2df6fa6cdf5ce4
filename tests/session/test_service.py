"""What sessions share."""

from __future__ import annotations

from dataclasses import replace

import trio

from chainsocks.chain.blame import FailedAt, Suspect
from chainsocks.config.models import Config, HealthSettings
from chainsocks.session.login import Logins
from chainsocks.session.service import Service
from tests.config.files import read
from tests.hops import make_hop
from tests.memory import MemoryNetwork


async def test_it_is_made_of_the_configuration(nursery: trio.Nursery) -> None:
    config = replace(read("[[rules]]\nto = '*.lan'\ndeny = true\n"), health=HealthSettings(rest=50))
    service = Service(config, Logins(()), MemoryNetwork(nursery))
    assert service.policy.router.has_rules
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
