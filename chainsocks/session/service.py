"""What all sessions of a server share, and what it stands on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from chainsocks.chain.bind import BindNetwork
from chainsocks.chain.dial import Choices
from chainsocks.chain.health import Health
from chainsocks.chain.resolve import ResolveNetwork
from chainsocks.chain.walk import OnStep
from chainsocks.config.models import Config
from chainsocks.routing.rules import Router
from chainsocks.session.associate import DatagramNetwork
from chainsocks.session.ident import IdentNetwork
from chainsocks.session.login import Logins

__all__ = ["Service", "SessionNetwork"]


class SessionNetwork(IdentNetwork, BindNetwork, DatagramNetwork, ResolveNetwork, Protocol):
    """What lies below a session."""


@dataclass(frozen=True, slots=True)
class Service:
    """What all sessions of a server share."""

    config: Config
    logins: Logins
    network: SessionNetwork
    on_step: OnStep | None = None
    router: Router = field(init=False)
    choices: Choices = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "router", Router(self.config))
        object.__setattr__(self, "choices", Choices(Health(self.network.now, self.config.health)))
