"""The state of a server in a few words, for the log and the service manager."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chainsocks.config.groups import hops_of
from chainsocks.observe.record import sessions_begun
from chainsocks.protocol.address import printable
from chainsocks.server.server import Server

__all__ = ["Summary", "summarize"]


@dataclass(frozen=True, slots=True)
class Summary:
    """How many sessions there are, and which hops are in backoff."""

    sessions: int
    hops: int
    """Those of all chains."""
    resting: Sequence[str] = ()
    """The names of hops in backoff."""
    waiting: int = 0
    """Connections that wait for a session to end."""
    begun: int = 0
    """Sessions since the start of the process."""

    def __str__(self) -> str:
        """Return it as ``213 sessions, 2 of 3 hops well``."""
        sessions = f"{self.sessions} session{'' if self.sessions == 1 else 's'}"
        if not self.hops:
            return sessions
        return f"{sessions}, {self.hops - len(self.resting)} of {self.hops} hop{'' if self.hops == 1 else 's'} well"

    @property
    def line(self) -> str:
        """All of it, in a line for the log."""
        parts = [f"state: {self}", f"sessions since the start: {self.begun}"]
        if self.waiting:
            parts.append(f"connections that wait: {self.waiting}")
        if self.resting:
            parts.append(f"in backoff: {', '.join(map(printable, self.resting))}")
        return "; ".join(parts)


def summarize(server: Server) -> Summary:
    """Return the state of the server of this process."""
    service = server.service
    health = service.dialer.choices.health
    hops = {hop.identity: hop for chain in service.config.chains.values() for hop in hops_of(chain.hops)}
    return Summary(
        server.admission.taken,
        len(hops),
        tuple(hop.name for hop in hops.values() if health.in_backoff(hop)),
        server.admission.waiting,
        sessions_begun(),
    )
