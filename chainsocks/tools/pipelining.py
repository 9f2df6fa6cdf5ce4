"""What `check` says of pipelining: which hops are asked at once, what that saves, and what has to be known of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from chainsocks.chain.legs import legs
from chainsocks.chain.pipeline import flights, round_trips
from chainsocks.config.chains import Chain, hops_of
from chainsocks.config.hops import Hop, Pipeline
from chainsocks.config.models import Config
from chainsocks.protocol.address import UNSPECIFIED, printable

__all__ = ["remark_on_chain", "remark_on_hop", "warn_of_pipelining"]


def remark_on_hop(hop: Hop, chain: Chain) -> Iterator[str]:
    """Say what is sent ahead to a hop of a chain, or of a group in it, if anything is."""
    pipeline = hop.pipelined(chain.pipeline)
    if pipeline is not Pipeline.OFF:
        yield f"pipelined: {pipeline}"


def remark_on_chain(chain: Chain) -> Iterator[str]:
    """Say which hops of a pipelined chain are asked at once, and how many round trips of a link a dial takes.

    Where hops are chosen for each request, so is that.
    """
    if not _pipelined(chain):
        return
    if chain.route is None:
        yield "who is asked at once depends on who is chosen"
        return
    plan = legs(chain.route.hops, UNSPECIFIED, pipeline=chain.pipeline)
    together = [f"{flight[0].position}-{flight[-1].position}" for flight in flights(plan) if len(flight) > 1]
    if together:
        yield f"asked at once: {', '.join(together)}"
    usual = [replace(leg, pipeline=Pipeline.OFF) for leg in plan]
    yield f"round trips: {round_trips(plan)} instead of {round_trips(usual)}"


def warn_of_pipelining(config: Config) -> Iterator[str]:
    """Say what the hops that are pipelined have to be known for."""
    if names := dict.fromkeys(hop.name for chain in config.chains.values() for hop in _pipelined(chain)):
        yield (
            f"pipelined: {', '.join(map(printable, names))}; only for hops that are known to keep what is sent ahead "
            "of their answers: through one that loses it, as microsocks does, every dial ends with a time-out"
        )


def _pipelined(chain: Chain) -> list[Hop]:
    return [hop for hop in hops_of(chain.hops) if hop.pipelined(chain.pipeline) is not Pipeline.OFF]
