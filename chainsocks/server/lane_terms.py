"""Which sessions may use the lane (`chainsocks.server.lane`), by listener, configuration and routing decision.

The list of keys is closed. A key stands in `HONOURED` if the lane does what it says, or if it says nothing about a
direct CONNECT. With any other key that is not at its default, the sessions that it is about are tasks. So a new key
cannot be bypassed by the lane.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, fields
from typing import Any

from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.limits import Limits
from chainsocks.config.listeners import Listener
from chainsocks.config.models import Config, HealthSettings, Server, Timeouts, User
from chainsocks.config.rules import Rule
from chainsocks.protocol.address import Address
from chainsocks.server.network import TrioNetwork
from chainsocks.session.access import Access
from chainsocks.session.relay_limits import RelayLimits, relay_limits
from chainsocks.session.routing_decision import RoutingDecision
from chainsocks.session.service import Service

__all__ = ["HONOURED", "STEPS_ASIDE", "Terms", "may_use_lane", "offers_lane"]

HONOURED: dict[type, frozenset[str]] = {
    Config: frozenset(
        {
            "control",
            "direct",
            "server",
            "timeouts",
            "hops",
            "chains",
            "users",
            "rules",
            "groups",
            "health",
            "isolation_key",
            "limits",
            "log",
            "source",
            "web",
        },
    ),
    Listener: frozenset({"address", "chain", "group", "mode", "names_only", "proxy_protocol", "udp"}),
    Server: frozenset(
        {
            "bind_address",
            "keepalive",
            "lane",
            "listen",
            "max_sessions",
            "open",
            "private",
            "udp_address",
            "udp_ports",
            "via",
            "workers",
        }
    ),
    Timeouts: frozenset(
        {
            "bind",
            "connect",
            "dial",
            "grace",
            "half_close",
            "handshake",
            "hop",
            "ident",
            "idle",
            "next_request",
            "proxy_protocol",
            "reply",
            "resolve",
            "udp_idle",
        }
    ),
    HealthSettings: frozenset({"longest_rest", "remeasure", "rest"}),
    User: frozenset({"name", "password"}),
    Limits: frozenset(
        {
            "bandwidth",
            "bandwidth_per_user",
            "failed_logins",
            "handshakes",
            "new_per_second",
            "sessions_per_client",
            "sessions_per_user",
            "trusted",
        }
    ),
    Chain: frozenset(
        {
            "dial",
            "half_close",
            "hedge",
            "idle",
            "isolates",
            "needs_arrival",
            "length",
            "name",
            "names_only",
            "pipeline",
            "resolver",
            "route",
            "seal",
            "skip_dead",
            "udp",
            "udp_filter",
            "warm",
            "warm_age",
            "warm_idle",
        }
    ),
    Rule: frozenset(
        {
            "chain",
            "clients",
            "commands",
            "half_close",
            "idle",
            "number",
            "ports",
            "resolve",
            "to",
            "users",
            "versions",
            "written",
        }
    ),
}
"""The keys that the lane honours, or that say nothing about its sessions."""

STEPS_ASIDE: dict[type, frozenset[str]] = {
    Listener: frozenset({"kind", "target", "tls"}),
    Server: frozenset({"gssapi", "ident"}),
    Chain: frozenset({"egress", "family", "hops", "interface", "mark", "send_proxy", "source"}),
}
"""The keys that make sessions tasks. They need no entry here to do so: this is the list that a test compares."""


def offers_lane(listener: Listener, config: Config) -> bool:
    """Whether any session of `listener` may use the lane."""
    values = (listener, config, config.server, config.timeouts, config.health, config.limits, *config.users)
    chains = _chains_of(listener, config)
    return config.server.lane and all(map(_is_honoured, values)) and any(map(_is_honoured, chains))


def _chains_of(listener: Listener, config: Config) -> Iterator[Chain]:
    """Yield the chains that requests of `listener` may go through."""
    if listener.chain is not None:
        yield config.chains.get(listener.chain, config.direct)
        return
    if config.default_chain:
        yield config.default_chain
    for rule in config.rules:
        if rule.chain:
            yield config.chains.get(rule.chain, config.direct)


def may_use_lane(listener: Listener, config: Config, decision: RoutingDecision) -> bool:
    """Whether a session of `listener` with `decision` may use the lane."""
    chain, rule = decision.dialled, decision.rule
    return (
        chain is not None
        and offers_lane(listener, config)
        and _is_honoured(chain)
        and (rule is None or _is_honoured(rule))
    )


class Terms:
    """What the sessions of a listener have in common while the server uses one service."""

    __slots__ = (
        "_verdicts",
        "access",
        "are_open",
        "limits",
        "listener",
        "methods",
        "network",
        "outgoing",
        "policy",
        "service",
        "timeouts",
    )

    def __init__(self, listener: Listener, service: Service) -> None:
        self.listener = listener
        self.service = service
        self.timeouts = service.config.timeouts
        self.limits = service.limits
        self.network = service.network
        self.outgoing = self.network.outgoing if isinstance(self.network, TrioNetwork) else None
        self.methods = service.logins.methods
        self.policy = service.policy_of(listener)
        self.access = Access.of(service, listener, None)
        """Where sessions that no rule decides on may connect to."""
        self.are_open = offers_lane(listener, service.config)
        """Whether any session may use the lane."""
        self._verdicts: dict[tuple[int, int], RelayLimits | None] = {}

    def known(self, name: Address) -> Sequence[Address] | None:
        """Return the addresses of a name that need no lookup; None where there are none."""
        network = self.network
        return network.resolver.known(name) if isinstance(network, TrioNetwork) else None

    def dial_limit(self, decision: RoutingDecision) -> float:
        """Return the seconds for the connect of a direct way."""
        chain, timeouts = decision.chain, self.timeouts
        dial = timeouts.dial if chain is None or chain.dial is None else chain.dial
        return min(timeouts.connect, dial)

    def allow(self, decision: RoutingDecision) -> RelayLimits | None:
        """Return the limits of a session's relay in the lane, or None if the session may not use the lane.

        They are remembered for each chain and rule, which live as long as the service.
        """
        key = id(decision.dialled), id(decision.rule)
        try:
            return self._verdicts[key]
        except KeyError:
            if decision.dialled is not decision.chain:
                return None  # it has been made for this session only
            may = may_use_lane(self.listener, self.service.config, decision)
            limits = self._verdicts[key] = relay_limits(decision, self.timeouts) if may else None
            return limits


def _is_honoured(value: Any) -> bool:
    """Whether all fields of `value` that the lane does not honour are at their defaults."""
    honoured = HONOURED[type(value)]
    default = DIRECT if isinstance(value, Chain) else None
    return all(
        getattr(value, each.name) == (getattr(default, each.name) if default else _default_of(each))
        for each in fields(value)
        if each.name not in honoured
    )


def _default_of(field: Field[Any]) -> Any:
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else None
