"""Whether the server is alive, and ready for more clients: what load balancers and orchestrators ask."""

from __future__ import annotations

from collections.abc import Sequence

from chainsocks.control.messages import Hop, HopState, ServerState, Status
from chainsocks.web.source import Chain, Member

__all__ = ["chain_problem", "life_problem", "readiness_problem"]


def life_problem(status: Status) -> str | None:
    """Say which event loop does not answer; None if all do."""
    stuck = [str(worker.number) for worker in status.workers if not worker.answers]
    if stuck:
        return f"no answer from worker {', '.join(stuck)}"
    return None if status.workers else "no worker runs"


def readiness_problem(status: Status) -> str | None:
    """Say why the server is not to get more clients; None if it may.

    A hop that is down is no reason: all servers that share it would become unready together, and clients would get no
    reply that says what is wrong.
    """
    if status.state is not ServerState.RUNNING:
        return "it is draining"
    return life_problem(status)


def chain_problem(chain: Chain, hops: Sequence[Hop]) -> str | None:
    """Say which place of a chain has no hop that works, as far as is known; None if each has one."""
    useless = (HopState.FAILING, HopState.BACKOFF, HopState.RESTED)
    avoided = {hop.name for hop in hops if hop.state in useless}
    for number, place in enumerate(chain.places, 1):
        if not _can_be_used(place, avoided):
            return f"place {number} of chain {chain.name} has no hop that works: {place.hop or place.group}"
    return None


def _can_be_used(member: Member, avoided: set[str]) -> bool:
    if member.hop is not None:
        return member.hop not in avoided
    return any(_can_be_used(each, avoided) for each in member.members)
