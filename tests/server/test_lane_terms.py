"""Which sessions may use the lane: every configuration key is honoured by it, or makes sessions tasks."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import pytest

from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.choices import NamesOnly
from chainsocks.config.limits import Limits
from chainsocks.config.listeners import Listener
from chainsocks.config.models import Config, HealthSettings, Ident, Server, ServerGssapi, Timeouts, User
from chainsocks.config.passwords import PlainPassword
from chainsocks.config.rules import Rule
from chainsocks.protocol.address import Address
from chainsocks.server import lane_terms
from chainsocks.server.lane_terms import HONOURED, STEPS_ASIDE, may_use_lane, offers_lane
from chainsocks.session.routing_decision import RoutingDecision

LISTENER = Listener(Address("127.0.0.1", 1080))
DESTINATION = Address("192.0.2.80", 80)
HOPPING = Chain("socks5://192.0.2.1", name="default")
DECISION = RoutingDecision(DESTINATION, DIRECT, DIRECT)


@pytest.mark.parametrize("kind", [Config, Server, Listener, Timeouts, HealthSettings, Limits, User, Chain, Rule])
def test_every_key_is_classified(kind: type[Any]) -> None:
    honoured, aside = HONOURED[kind], STEPS_ASIDE.get(kind, frozenset())
    assert honoured | aside == {each.name for each in fields(kind)}, "say in lane_terms what the lane does with it"
    assert not honoured & aside


@pytest.mark.parametrize(
    ("config", "offered"),
    [
        (Config(), True),
        (Config(Server(lane=False)), False),
        (Config(Server(ident=Ident.CHECK)), False),
        (Config(Server(gssapi=ServerGssapi())), False),
        (Config(Server(workers=2, max_sessions=7, private=True, keepalive=1), Timeouts(idle=1, dial=1)), True),
        (Config(users=(User("carol", PlainPassword(b"secret")),)), True),
        (Config(chains={"default": HOPPING}, rules=(Rule(1, "direct"),)), True),
    ],
)
def test_a_configuration_offers_the_lane(config: Config, *, offered: bool) -> None:
    assert offers_lane(LISTENER, config) is offered
    assert may_use_lane(LISTENER, config, DECISION) is offered


@pytest.mark.parametrize("rules", [(), (Rule(1, "default"), Rule(2, None))])
def test_without_a_direct_way_all_sessions_are_tasks(rules: tuple[Rule, ...]) -> None:
    assert not offers_lane(LISTENER, Config(chains={"default": HOPPING}, rules=rules))


@pytest.mark.parametrize(("chain", "offered"), [("default", False), ("direct", True), (None, True)])
def test_a_listener_with_a_chain_offers_the_lane_if_that_is_direct(chain: str | None, *, offered: bool) -> None:
    config = Config(chains={"default": HOPPING}, rules=(Rule(1, "direct"),))
    assert offers_lane(replace(LISTENER, chain=chain), config) is offered


@pytest.mark.parametrize(
    ("decision", "may"),
    [
        (DECISION, True),
        (RoutingDecision(DESTINATION), False),
        (RoutingDecision(DESTINATION, HOPPING, HOPPING), False),
        (DECISION._replace(rule=Rule(1, "direct")), True),
        (DECISION._replace(chain=Chain(name="out", dial=3), dialled=Chain(name="out", dial=3)), True),
        (DECISION._replace(names_only=NamesOnly.WARN), True),
    ],
)
def test_a_decision_may_use_the_lane(decision: RoutingDecision, *, may: bool) -> None:
    assert may_use_lane(LISTENER, Config(), decision) is may


@dataclass(frozen=True, slots=True)
class NewListener:
    """A listener of a later version, with keys that the lane has not heard of."""

    address: Address
    kind: str = "socks"
    names_only: NamesOnly = NamesOnly.OFF
    chain: str | None = None
    tls: str | None = None
    fixed: list[str] = field(default_factory=list)


@pytest.mark.parametrize(
    ("listener", "offered"),
    [
        (NewListener(DESTINATION), True),
        (NewListener(DESTINATION, tls="cert.pem"), False),
        (NewListener(DESTINATION, fixed=["192.0.2.1:80"]), False),
    ],
)
def test_a_new_key_makes_sessions_tasks(monkeypatch: pytest.MonkeyPatch, listener: Any, *, offered: bool) -> None:
    monkeypatch.setitem(lane_terms.HONOURED, NewListener, HONOURED[Listener])
    assert offers_lane(listener, Config()) is offered
