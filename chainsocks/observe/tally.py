"""The tally of one UDP association: the datagrams that were passed on, their bytes, and those that were dropped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from chainsocks.datagrams import Drop
from chainsocks.observe.record import Traffic

__all__ = ["Drops", "Tally"]


class Drops(Counter[Drop]):
    """Dropped datagrams by reason; ``str`` lists the reasons that occurred."""

    def __str__(self) -> str:
        return ", ".join(f"{self[reason]} {reason}" for reason in Drop if self[reason])


@dataclass(slots=True, eq=False)
class Tally:
    """The bytes of payload passed on, the datagrams that had them, and those that were dropped."""

    traffic: Traffic
    drops: Drops = field(default_factory=Drops)
    up: int = 0
    """Datagrams passed on from the client."""
    down: int = 0
    """Datagrams passed on to the client."""
