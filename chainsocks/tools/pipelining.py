"""What `check` says of pipelining: which hops are asked at once, what that saves, and what has to be known of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from chainsocks.chain.legs import Leg, legs
from chainsocks.chain.pipeline import flights, round_trips
from chainsocks.config.hops import Chain, Pipeline
from chainsocks.config.models import Config
from chainsocks.protocol.address import UNSPECIFIED, printable

__all__ = ["remark_on_chain", "remark_on_hop", "warn_of_pipelining"]


def remark_on_hop(leg: Leg) -> Iterator[str]:
    """Say what is sent ahead to a hop, if anything is."""
    if leg.pipeline is not Pipeline.OFF:
        yield f"pipelined: {leg.pipeline}"


def remark_on_chain(chain: Chain) -> Iterator[str]:
    """Say which hops of a pipelined chain are asked at once, and how many round trips of a link a dial takes."""
    plan = legs(chain, UNSPECIFIED)
    if not _pipelined(plan):
        return
    together = [f"{flight[0].position}-{flight[-1].position}" for flight in flights(plan) if len(flight) > 1]
    if together:
        yield f"asked at once: {', '.join(together)}"
    usual = [replace(leg, pipeline=Pipeline.OFF) for leg in plan]
    yield f"round trips: {round_trips(plan)} instead of {round_trips(usual)}"


def warn_of_pipelining(config: Config) -> Iterator[str]:
    """Say what the hops that are pipelined have to be known for."""
    plans = (legs(chain, UNSPECIFIED) for chain in config.chains.values())
    if names := dict.fromkeys(leg.hop.name for plan in plans for leg in _pipelined(plan)):
        yield (
            f"pipelined: {', '.join(map(printable, names))}; only for hops that are known to keep what is sent ahead "
            "of their answers: through one that loses it, as microsocks does, every dial ends with a time-out"
        )


def _pipelined(plan: Sequence[Leg]) -> list[Leg]:
    return [leg for leg in plan if leg.pipeline is not Pipeline.OFF]
