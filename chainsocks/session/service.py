"""What all sessions of a server share.

A running server that gets another configuration makes a service for it from the one that it has (`Service.renewed`).
What has been learnt stays: the health of hops and the turns of groups, logins that were right, the key of isolation,
the counts of ports. Sessions of both services use it, so it is changed no sooner than the server changes to the new
one (`Service.take_over`).
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field, replace

from chainsocks.chain.attempts import Choices
from chainsocks.chain.dialer import Dialer
from chainsocks.chain.health import Health
from chainsocks.chain.warm import WarmWays
from chainsocks.config.groups import groups_of, hops_of
from chainsocks.config.limits import Limits
from chainsocks.config.listeners import Listener
from chainsocks.config.models import Config
from chainsocks.config.tls import context_of, listener_context_of
from chainsocks.limits.limiter import Limiter
from chainsocks.network import Network
from chainsocks.observe.counters import Counters
from chainsocks.observe.events import Events
from chainsocks.session.login import Logins
from chainsocks.session.own_listeners import OwnListeners
from chainsocks.session.port_shares import PortShares
from chainsocks.session.routing_decision import Policy

__all__ = ["Service"]


@dataclass(frozen=True, slots=True)
class Service:
    """What all sessions of a server share: the configuration, and what was made of it."""

    config: Config
    logins: Logins
    network: Network
    events: tuple[Events, ...] = ()
    """Listeners to the events of all sessions."""
    counters: Counters | None = None
    """What is counted; None where nothing asks for it."""
    own_listeners: OwnListeners = field(default_factory=OwnListeners)
    limiter: Limiter | None = None
    """The limits of the server, which it has for all services one after another; None to make them here."""
    former: InitVar[Service | None] = None
    """The service that this one is made from."""
    limits: Limiter | None = field(init=False)
    """The same; None if nothing is limited."""
    _policies: dict[str | None, Policy] = field(init=False)
    """By the chains that listeners name."""
    dialer: Dialer = field(init=False)
    port_shares: PortShares = field(init=False)

    def __post_init__(self, former: Service | None) -> None:
        config, network, put = self.config, self.network, object.__setattr__
        choices = former.dialer.choices if former else Choices(Health(network.now, config.health))
        chains = [chain for chain in config.chains.values() if chain.warm]
        warm = WarmWays(chains, config.timeouts, network, choices, config.health, config.isolation_key)
        limiter = self.limiter or Limiter(network.now, config.limits)
        put(self, "limits", limiter if config.limits != Limits() else None)
        put(self, "_policies", {each.chain: Policy.of(config, each.chain) for each in config.server.listen})
        ports = config.server.udp_ports
        same_ports = former and former.port_shares.ports == ports
        put(self, "port_shares", former.port_shares if former and same_ports else PortShares(ports))
        dialer = Dialer(network, config.timeouts, choices, warm=warm if chains else None, counters=self.counters)
        put(self, "dialer", dialer)

    def policy_of(self, listener: Listener) -> Policy:
        """Return what decides on the requests of a listener, maybe one that the configuration has no more."""
        policy = self._policies.get(listener.chain)
        if policy is None:
            policy = self._policies[listener.chain] = Policy.of(self.config, listener.chain)
        return policy

    def renewed(self, config: Config) -> Service:
        """Make a service for another configuration, which keeps what has been learnt. It may be made in a thread."""
        config = replace(config, isolation_key=self.config.isolation_key)
        for hop in config.hops.values():
            if hop.tls:
                context_of(hop.tls)  # reads files, and keeps what is made of them for the sessions
        for listener in config.server.listen:
            if listener.tls:
                listener_context_of(listener.tls)
        return replace(self, config=config, logins=self.logins.renewed(config.users), former=self)

    def take_over(self, former: Service) -> None:
        """Have what has been learnt follow this configuration; called when the server changes to this service."""
        if former.dialer.warm and self.dialer.warm:
            self.dialer.warm.follow(former.dialer.warm)
        chains = [*self.config.chains.values()]
        choices = self.dialer.choices
        choices.health.change(self.config.health, (hop for chain in chains for hop in hops_of(chain.hops)))
        choices.picks.keep(group for chain in chains for group in groups_of(chain.hops))
