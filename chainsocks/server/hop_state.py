"""What a worker answers about its hops, and which of them are not well.

There are two sources. The health of hops (`chainsocks.chain.health`) decides about those that another one can replace.
Requests use the others in any case, and only the counters have their failures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import chainsocks.control.messages as messages
from chainsocks.chain.health import MISSED_IN_A_ROW, Health
from chainsocks.config.groups import hops_of
from chainsocks.config.hops import Hop
from chainsocks.config.models import Config
from chainsocks.control.messages import HopState
from chainsocks.observe.counters import Counters
from chainsocks.protocol.address import printable

__all__ = ["BAD", "all_hops", "read_hops", "trouble_of"]

BAD = (HopState.FAILING, HopState.BACKOFF, HopState.RESTED)
"""The states of hops that are not well."""


def all_hops(config: Config) -> dict[str, Hop]:
    """Return all hops by name: those that the file declares, and those of chains that options give."""
    in_chains = {hop.name: hop for chain in config.chains.values() for hop in hops_of(chain.hops)}
    return {**in_chains, **config.hops}


def read_hops(
    config: Config, health: Health, counters: Counters, using: Mapping[str, int], now: float
) -> list[messages.Hop]:
    """Return how all hops are. `using` says how many sessions go through each."""
    latencies = counters.latencies()
    chains: dict[str, list[str]] = {}
    for chain in config.chains.values():
        for name in dict.fromkeys(hop.name for hop in hops_of(chain.hops)):
            chains.setdefault(name, []).append(chain.name)
    return [
        _read(hop, name, tuple(chains.get(name, ())), health, counters, using.get(name, 0), latencies.get(name), now)
        for name, hop in all_hops(config).items()
    ]


def _read(
    hop: Hop,
    name: str,
    chains: tuple[str, ...],
    health: Health,
    counters: Counters,
    sessions: int,
    latency: float | None,
    now: float,
) -> messages.Hop:
    known, trouble = health.outlook(hop), counters.trouble(name)
    why, since, retry, failures = None, known.rested_since, None, known.failures
    if known.rested_since is not None:
        state = HopState.RESTED
    elif known.failed_since is not None:
        state, why, since, retry = HopState.BACKOFF, known.why, known.failed_since, max(0, known.retry - now)
    elif trouble and (trouble.are_certain or trouble.count >= MISSED_IN_A_ROW):
        state, why, since, failures = HopState.FAILING, trouble.why, trouble.since, trouble.count
    else:
        is_known = counters.requests(name) or not math.isinf(known.last_success)
        state = HopState.WELL if is_known else HopState.UNKNOWN
    return messages.Hop(
        name,
        hop.protocol,
        str(hop.address),
        chains,
        state,
        why,
        None if since is None else now - since,
        retry,
        failures,
        known.dial_time,
        None if math.isinf(known.last_success) else now - known.last_success,
        sessions,
        workers_avoiding=int(health.in_backoff(hop)),
        latency=latency,
    )


def trouble_of(hop: messages.Hop) -> str | None:
    """Say what is wrong with a hop, in a sentence; None if it is well."""
    some = hop.workers > 1 and hop.state is not HopState.FAILING and hop.workers_avoiding < hop.workers
    where = f" in {hop.workers_avoiding} of {hop.workers} workers" if some else ""
    match hop.state:
        case HopState.FAILING:
            return f"failing: {hop.why}"  # which begins with the hop, as every error of a dial
        case HopState.BACKOFF:
            return f"hop {printable(hop.name)} is in backoff{where}: {hop.why}"
        case HopState.RESTED:
            return f"hop {printable(hop.name)} is rested{where}"
    return None
