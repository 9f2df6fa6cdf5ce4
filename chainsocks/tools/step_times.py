"""The steps of a dial with their times: a trail that notes them as they start, and a table that shows them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from rich.table import Table

from chainsocks.chain.trip import OPEN
from chainsocks.errors import Place
from chainsocks.protocol.address import Address, printable

__all__ = ["Taken", "Trail", "add_steps", "add_total", "milliseconds", "step_table"]


@dataclass(frozen=True, slots=True)
class Taken:
    """A step, and the seconds that it took."""

    place: Place
    seconds: float


@dataclass(slots=True)
class Trail:
    """The steps of one dial, in order; `note` is a `chainsocks.chain.trip.OnStep`."""

    now: Callable[[], float]
    ended: float | None = None
    """When the last step ended, where no other step follows."""
    _began: list[tuple[float, Place]] = field(default_factory=list)

    def note(self, place: Place, deadline: float = math.inf) -> None:
        """Note that a step starts. A step that goes on, because its answer comes in pieces, is the same one."""
        if not self._began or self._began[-1][1] != place:
            self._began.append((self.now(), place))

    def end(self, moment: float) -> None:
        """Note when the dial ended, in the middle of its last step or not."""
        self.ended = moment

    @property
    def taken(self) -> tuple[Taken, ...]:
        """All steps but the last, which says that the way is open or has not ended yet."""
        moments = list(self._began)
        if self.ended is not None and moments and moments[-1][1].step != OPEN:
            moments.append((self.ended, moments[-1][1]))
        return tuple(Taken(place, end - began) for (began, place), (end, _) in pairwise(moments))


def step_table() -> Table:
    """Return an empty table for the steps of hops."""
    table = Table("hop", "protocol", "address", "step")
    table.add_column("ms", justify="right")
    return table


def add_steps(
    table: Table, name: str, protocol: str, address: Address, taken: Sequence[Taken], otherwise: str = ""
) -> None:
    """Add a row for each step of one hop; for a hop that took none, one row that says `otherwise`."""
    cells = (printable(name), protocol, str(address))
    for step, lasted in [(str(step.place.step), milliseconds(step.seconds)) for step in taken] or [(otherwise, "")]:
        table.add_row(*cells, step, lasted)
        cells = ("", "", "")


def add_total(table: Table, name: str, seconds: float | None, steps: str = "") -> None:
    """Add a row for several steps together, between two lines; None for a time that is not known."""
    table.add_section()
    table.add_row(name, "", "", steps, "-" if seconds is None else milliseconds(seconds))
    table.add_section()


def milliseconds(seconds: float) -> str:
    """Show a time."""
    return f"{seconds * 1000:.2f}"
