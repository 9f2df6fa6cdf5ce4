"""What `check` found in a file, as JSON. No secret is in it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from chainsocks.config.chains import Chain
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop
from chainsocks.config.limits import Limit, Limits
from chainsocks.config.models import Config, HealthSettings, Timeouts
from chainsocks.errors import Problem
from chainsocks.protocol.masking import masked, masked_name

__all__ = ["as_document", "member_document"]


def as_document(
    path: Path, config: Config | None = None, *, problems: Iterable[Problem] = (), warnings: Sequence[str] = ()
) -> str:
    """Return the JSON text for the file at `path`: its `problems`, or what `config` means, with `warnings`.

    Durations are in seconds; null stands for "off".
    """
    return json.dumps(
        {
            "file": masked(str(path.absolute())),
            "valid": config is not None,
            "problems": [{"place": problem.path, "message": problem.message} for problem in problems],
            "warnings": list(warnings),
            "configuration": None if config is None else _configuration(config),
        }
    )


def member_document(member: Hop | Group) -> dict[str, object]:
    """Return a member of a chain for a JSON document."""
    if isinstance(member, Hop):
        return {"name": member.name, "protocol": member.protocol, "address": str(member.address)}
    return {"name": member.name, "pick": member.pick, "hops": [member_document(one) for one in member.hops]}


def _configuration(config: Config) -> dict[str, object]:
    default = config.default_chain
    return {
        "listen": [str(listener) for listener in config.server.listen],
        "users": [masked_name(user.name) for user in config.users],
        "default": None if default is None else default.name,
        "chains": {name: _chain(chain, config.timeouts) for name, chain in config.chains.items()},
        "direct": _chain(config.direct, config.timeouts),
        "rules": [str(rule) for rule in config.rules],
        "timeouts": _seconds(config.timeouts),
        "health": _seconds(config.health),
        "limits": _limits(config.limits),
    }


def _chain(chain: Chain, timeouts: Timeouts) -> dict[str, object]:
    dial = timeouts.dial if chain.dial is None else chain.dial
    return {
        "hops": [member_document(member) for member in chain.hops],
        "dial": None if math.isinf(dial) else dial,
        "udp": chain.udp,
        "send_proxy": chain.send_proxy,
        "seal": chain.seal,
    }


def _limits(limits: Limits) -> dict[str, object]:
    """Return all limits, null for those that are off, and the clients that none is for."""
    return {**{limit: getattr(limits, limit) for limit in Limit}, "trusted": [*map(str, limits.trusted)]}


def _seconds(durations: Timeouts | HealthSettings) -> dict[str, float | None]:
    return {name: None if math.isinf(value) else value for name, value in asdict(durations).items()}
