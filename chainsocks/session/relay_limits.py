"""How long a relay may be silent: the rule of the request says so, else its chain, else ``[timeouts]``."""

from __future__ import annotations

from typing import NamedTuple

from chainsocks.config.models import Timeouts
from chainsocks.session.routing_decision import RoutingDecision

__all__ = ["RelayLimits", "relay_limits"]


class RelayLimits(NamedTuple):
    """Seconds without data after which a relay ends; ``math.inf`` for never."""

    idle: float
    half_close: float
    """After one side has finished."""


def relay_limits(decision: RoutingDecision, timeouts: Timeouts) -> RelayLimits:
    """Return the limits of the relay of a request."""
    idle, half_close = timeouts.idle, timeouts.half_close
    for each in (decision.chain, decision.rule):
        if each is not None:
            idle = idle if each.idle is None else each.idle
            half_close = half_close if each.half_close is None else each.half_close
    return RelayLimits(idle, half_close)
