"""A picture of a chain in one line, with the place marked where the walk ended.

::

    here ──> paris ──> osaka ──> lima ──> example.org:443
    here ──> paris ──> [✗ osaka] ··> lima ··> example.org:443        osaka itself failed
    here ──> paris ──> osaka ──✗ lima ··> example.org:443            osaka did not get us to lima: it may be either
    here ──✗ [✗ paris] ··> osaka ··> lima                            there is no connection to paris

Where the terminal cannot draw these signs, they are written in ASCII.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

from chainsocks.chain.dial import CONNECT, RESOLVE
from chainsocks.errors import DialTimeout, HopRefused
from chainsocks.protocol.address import printable
from chainsocks.protocol.handshake import State
from chainsocks.tools.probe.walk import Failure, Walked

__all__ = ["ASCII", "SIGNS", "Signs", "picture"]

FAILED, UNTRIED = "bold red", "dim"


@dataclass(frozen=True, slots=True)
class Signs:
    """What a picture is drawn with."""

    passed: str
    failed: str
    untried: str
    mark: str


SIGNS = Signs("──>", "──✗", "··>", "✗")
ASCII = Signs("-->", "--X", "..>", "X")


def picture(walked: Walked, signs: Signs) -> Text:
    """Draw a walk."""
    names = [printable(hop.name) for hop in walked.route.hops]
    if walked.destination:
        names.append(str(walked.destination))
    dead, cut = _trouble(walked)
    drawn = Text("here")
    broken = _was_not_begun(walked)
    for number, name in enumerate(names, 1):
        if number == cut:
            drawn.append(f" {signs.failed}", FAILED)
        else:
            drawn.append(f" {signs.untried if broken else signs.passed}", UNTRIED if broken else "")
        broken = broken or number == cut
        if number == dead:
            drawn.append(f" [{signs.mark} {name}]", FAILED)
            broken = True
        else:
            drawn.append(f" {name}", UNTRIED if broken else "")
    return drawn


def _trouble(walked: Walked) -> tuple[int | None, int | None]:
    """Return which of the places is dead, and the way to which of them is cut; the first hop's place is 1."""
    failure = walked.failure
    if failure is None:
        return None, None
    position, step = failure.position or 1, failure.error.place.step
    if step == CONNECT or (step == RESOLVE and position == 1):
        return position, position
    if _is_between(failure):
        return None, position + 1
    return position, None


def _was_not_begun(walked: Walked) -> bool:
    """Whether it was seen beforehand that the chain cannot be walked."""
    failure = walked.failure
    return failure is not None and walked.passed < (failure.position or 1) - 1


def _is_between(failure: Failure) -> bool:
    """Whether the hop did not get us to what follows it, and may not be to blame for that."""
    return failure.error.place.step == State.REQUEST and isinstance(failure.error, HopRefused | DialTimeout)
