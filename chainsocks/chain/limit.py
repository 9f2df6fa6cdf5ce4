"""The time limit of the step under way, for a session or for one attempt of a dial.

A cancel scope costs as much as a step of a handshake, so all steps share one, whose deadline each step moves. This is
the only place where an expired scope becomes an error: `Limit.expired` makes that of the step that ran out of time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import TracebackType
from typing import Self

from chainsocks.network import Network

__all__ = ["Limit"]

Expired = Callable[[], Exception]
"""Makes the error to raise when the deadline has come."""


class Limit:
    """A ``with`` block whose deadline moves from step to step; when it comes, the block raises the error of `expired`.

    Set `expired` before the deadline can come. `scope` is the cancel scope inside; set ``scope.deadline`` (seconds on
    the network's clock, ``inf`` for none) to bound what begins now.
    """

    __slots__ = ("expired", "scope")

    def __init__(self, network: Network, deadline: float = math.inf) -> None:
        self.scope = network.open_scope(deadline)
        self.expired: Expired = TimeoutError

    def clear(self) -> None:
        """Remove the deadline: what follows has limits of its own."""
        self.scope.deadline = math.inf

    def __enter__(self) -> Self:
        self.scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        handled = self.scope.__exit__(kind, error, trace)
        if self.scope.cancelled_caught:
            raise self.expired() from None
        return handled
