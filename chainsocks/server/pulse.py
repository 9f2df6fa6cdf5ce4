"""The pulse of the workers: whether all their event loops move, for the watchdog of a service manager.

The parent asks all workers for their state in turns. When all have answered, it tells the service manager that they are
alive. A worker that is being replaced is not waited for.
"""

from __future__ import annotations

import math
import time

from chainsocks.server.orders import Order
from chainsocks.server.pool import Pool
from chainsocks.server.service_manager import ServiceManager
from chainsocks.server.summary import Summary

__all__ = ["Pulse"]


class Pulse:
    """Asks the workers of a pool, and tells a service manager. Without one, nothing is asked."""

    def __init__(self, pool: Pool, manager: ServiceManager) -> None:
        self._pool = pool
        self._manager = manager
        self.due = math.inf if manager.interval == math.inf else 0
        """When `take` has something to do."""

    @property
    def summary(self) -> Summary:
        """What the workers have told last, added up. A hop is in backoff if it is in any of them."""
        told = [slot.summary for slot in self._pool.workers]
        resting = dict.fromkeys(name for summary in told for name in summary.resting)
        return Summary(
            sum(summary.sessions for summary in told), max((summary.hops for summary in told), default=0), (*resting,)
        )

    def take(self) -> None:
        """Tell the service manager, if all workers have answered; ask those that have."""
        now = time.monotonic()
        if now < self.due:
            return
        workers = [slot for slot in self._pool.workers if slot.channel]
        if workers and all(slot.told for slot in workers):
            self._manager.is_alive(self.summary)
            for slot in workers:
                slot.told = None
        for slot in workers:
            if not slot.told and not slot.is_asked:
                slot.is_asked = True
                slot.tell(Order.TELL)
        self.due = now + self._manager.interval
