"""Steps of a dial, each with the time that it took: noted as they begin, and shown as a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from rich.table import Table

from chainsocks.chain.trip import OPEN
from chainsocks.config.hops import Hop
from chainsocks.errors import Place
from chainsocks.protocol.address import printable

__all__ = ["Apart", "Taken", "Trail", "hop_names", "milliseconds", "step_table"]

STEP_WIDTH = 18
"""Columns for a step, which brings the table below 80."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A step, and the seconds that it took."""

    place: Place
    seconds: float


@dataclass(frozen=True, slots=True)
class Apart:
    """A hop that took no step in the walk that is shown, and maybe some in another one."""

    name: str
    """With its place in the chain."""
    hop: Hop
    why: str
    """Said where it took none at all."""
    taken: Sequence[Taken] = ()


@dataclass(slots=True)
class Trail:
    """The steps of one dial, in order; `note` is a `chainsocks.chain.trip.OnStep`."""

    now: Callable[[], float]
    ended: float | None = None
    """When the last step has ended, where nothing came behind it."""
    _began: list[tuple[float, Place]] = field(default_factory=list)

    def note(self, place: Place, deadline: float = math.inf) -> None:
        """Note that a step starts. A step that goes on, because its answer comes in pieces, is the same one."""
        if not self._began or self._began[-1][1] != place:
            self._began.append((self.now(), place))

    def end(self, moment: float) -> None:
        """Hear when it was over, in the middle of the last step or not."""
        self.ended = moment

    @property
    def taken(self) -> tuple[Taken, ...]:
        """All steps but the last, which says that the way is open or has not ended yet."""
        moments = list(self._began)
        if self.ended is not None and moments and moments[-1][1].step != OPEN:
            moments.append((self.ended, moments[-1][1]))
        return tuple(Taken(place, end - began) for (began, place), (end, _) in pairwise(moments))


def step_table(
    taken: Sequence[Taken], hops: Sequence[Hop], silent: Sequence[Apart] = (), beside: Sequence[Apart] = ()
) -> Table:
    """Make a row for each step, then one for each of `silent`, then one for all together; then those of `beside`."""
    table = Table("hop", "protocol", "address")
    table.add_column("step", max_width=STEP_WIDTH)
    table.add_column("ms", justify="right")
    protocols = {position: hop.protocol.value for position, hop in enumerate(hops, 1)}
    for cells in _rows(taken, protocols):
        table.add_row(*cells)
    for one in silent:
        table.add_row(*_silent_row(one))
    table.add_section()
    table.add_row("all hops" if hops else "all of it", "", "", "", milliseconds(sum(step.seconds for step in taken)))
    table.add_section()
    for other in beside:
        for cells in _rows(other.taken, dict.fromkeys(_positions(other.taken), other.hop.protocol.value)):
            table.add_row(*cells)
        if not other.taken:
            table.add_row(*_silent_row(other))
    return table


def _positions(taken: Sequence[Taken]) -> set[int]:
    return {step.place.position for step in taken}


def _silent_row(one: Apart) -> tuple[str, ...]:
    return printable(one.name), one.hop.protocol.value, str(one.hop.address), one.why, ""


def hop_names(hops: Sequence[Hop]) -> list[str]:
    """Return the names of a chain's hops with their places, as a `chainsocks.errors.Place` has them."""
    return [f"{hop.name} ({position} of {len(hops)})" for position, hop in enumerate(hops, 1)]


def milliseconds(seconds: float) -> str:
    """Show a time."""
    return f"{seconds * 1000:.2f}"


def _rows(taken: Sequence[Taken], protocols: dict[int, str]) -> Iterator[tuple[str, ...]]:
    previous: Place | None = None
    for step in taken:
        place, lasted = step.place, milliseconds(step.seconds)
        if previous is not None and previous.position == place.position:
            yield "", "", "", place.step, lasted
        else:
            protocol = protocols.get(place.position, "")
            yield (
                printable(place.who or "destination"),
                protocol,
                str(place.address),
                place.step,
                milliseconds(step.seconds),
            )
        previous = place
