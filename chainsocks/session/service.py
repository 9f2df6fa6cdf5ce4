"""What all sessions of a server share."""

from __future__ import annotations

from dataclasses import dataclass, field

from chainsocks.chain.attempts import Choices
from chainsocks.chain.dialer import Dialer
from chainsocks.chain.health import Health
from chainsocks.chain.warm import WarmWays
from chainsocks.config.limits import Limits
from chainsocks.config.models import Config
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
    limits: Limiter | None = field(init=False)
    """The same; None if nothing is limited."""
    policy: Policy = field(init=False)
    dialer: Dialer = field(init=False)
    port_shares: PortShares = field(init=False)

    def __post_init__(self) -> None:
        config, network, put = self.config, self.network, object.__setattr__
        choices = Choices(Health(network.now, config.health))
        chains = [chain for chain in config.chains.values() if chain.warm]
        warm = WarmWays(chains, config.timeouts, network, choices, config.health, config.isolation_key)
        limiter = self.limiter or Limiter(network.now, config.limits)
        put(self, "limits", limiter if config.limits != Limits() else None)
        put(self, "policy", Policy.of(config))
        put(self, "port_shares", PortShares(config.server.udp_ports))
        dialer = Dialer(network, config.timeouts, choices, warm=warm if chains else None, counters=self.counters)
        put(self, "dialer", dialer)
