"""What all sessions of a server share."""

from __future__ import annotations

from dataclasses import dataclass, field

from chainsocks.chain.attempts import Choices
from chainsocks.chain.dialer import Dialer
from chainsocks.chain.health import Health
from chainsocks.config.models import Config
from chainsocks.network import Network
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
    own_listeners: OwnListeners = field(default_factory=OwnListeners)
    policy: Policy = field(init=False)
    dialer: Dialer = field(init=False)
    port_shares: PortShares = field(init=False)

    def __post_init__(self) -> None:
        choices = Choices(Health(self.network.now, self.config.health))
        object.__setattr__(self, "policy", Policy.of(self.config))
        object.__setattr__(self, "port_shares", PortShares(self.config.server.udp_ports))
        object.__setattr__(self, "dialer", Dialer(self.network, self.config.timeouts, choices))
