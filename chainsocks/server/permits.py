"""Permits: how many sessions there may be at a time, a number that can change while they run."""

from __future__ import annotations

from trio.lowlevel import ParkingLot

__all__ = ["Permits"]


class Permits:
    """A semaphore whose total can be set at any time.

    `trio.Semaphore` has a fixed number of permits, and `trio.CapacityLimiter` keeps a set of the tasks that hold them,
    which costs more for each session. Waiters are served first come, first served: a released permit goes to the first
    of them, and cannot be taken by a task that asks later.
    """

    def __init__(self, total: int) -> None:
        self.was_exhausted = False
        """Whether the log has said that all permits are taken."""
        self._total = total
        self._taken = 0
        self._waiting = ParkingLot()

    @property
    def taken(self) -> int:
        """The permits that are held now; more than `total` for a while after it was lowered."""
        return self._taken

    @property
    def total(self) -> int:
        """The permits that may be held at a time.

        A higher total lets waiters proceed at once. A lower one takes no permit away: there are no new ones until
        enough have been released.
        """
        return self._total

    @total.setter
    def total(self, total: int) -> None:
        self._total = total
        self._serve_waiters()

    def try_acquire(self) -> bool:
        """Take a permit if there is one."""
        if self._taken >= self._total:
            return False
        self._taken += 1
        return True

    async def acquire(self) -> None:
        """Wait for a permit, and take it; not a checkpoint if there is one."""
        if not self.try_acquire():
            await self._waiting.park()  # `_serve_waiters` takes the permit for us

    def release(self) -> None:
        """Give a permit back."""
        self._taken -= 1
        if self._waiting:
            self._serve_waiters()

    def _serve_waiters(self) -> None:
        while self._waiting and self.try_acquire():
            self._waiting.unpark()
