"""A picture of a chain in one line, with the place marked where the walk ended.

::

    here ──> paris ──> osaka ──> lima ──> example.org:443
    here ──> paris ──> [✗ osaka] ··> lima ··> example.org:443        osaka itself failed
    here ──> paris ──> osaka ──✗ lima ··> example.org:443            osaka did not reach lima: either may have failed
    here ──✗ [✗ paris] ··> osaka ··> lima                            there is no connection to paris
    here ──> paris ──> (osaka | [✗ lima]) ──> example.org:443        one of two members has failed
    here ··> [✗ paris] ──> osaka ──> example.org:443                 paris has failed, and was skipped
    here ──> paris ··> (osaka) ──> example.org:443                   osaka works, and is not needed

Where the terminal cannot show these signs, ASCII takes their place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from chainsocks.chain.trip import CONNECT, RESOLVE
from chainsocks.config.chains import hops_of
from chainsocks.config.hops import Hop
from chainsocks.errors import DialTimeout, HopRefused
from chainsocks.protocol.address import printable
from chainsocks.protocol.handshake import State
from chainsocks.tools.probe.findings import Member, Standing
from chainsocks.tools.probe.walk import Walk

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


@dataclass(frozen=True, slots=True)
class _Spot:
    """One place in the picture."""

    names: tuple[str, ...]
    """The hops that may stand there."""
    failed: tuple[bool, ...]
    position: int | None
    """Its position in the walk, from 1; None where it was left out."""


def picture(walk: Walk, signs: Signs, members: Sequence[Member] = ()) -> Text:
    """Draw a walk, and beside it the other hops that may stand where it went."""
    dead, cut = _trouble(walk)
    drawn = Text("here")
    broken = _was_not_begun(walk)
    for spot in _spots(walk, members):
        untried = broken or spot.position is None
        if spot.position is not None and spot.position == cut:
            drawn.append(f" {signs.failed}", FAILED)
            broken = untried = True
        else:
            drawn.append(f" {signs.untried if untried else signs.passed}", UNTRIED if untried else "")
        drawn.append(" ")
        drawn.append_text(_label(spot, signs, UNTRIED if untried else ""))
        broken = broken or (spot.position is not None and spot.position == dead)
    return drawn


def _label(spot: _Spot, signs: Signs, style: str) -> Text:
    """Name the hops that may stand at a place, and mark those that have failed."""
    alternatives = [
        Text(f"[{signs.mark} {name}]", FAILED) if failed else Text(name, style)
        for name, failed in zip(spot.names, spot.failed, strict=True)
    ]
    is_left_out = spot.position is None and not any(spot.failed)
    if len(alternatives) == 1 and not is_left_out:
        return alternatives[0]
    return Text("(", style).append_text(Text(" | ", style).join(alternatives)).append(")", style)


def _spots(walk: Walk, members: Sequence[Member]) -> Iterator[_Spot]:
    """Go through the places of the chain, and the destination."""
    chain, left = walk.route.chain, list(walk.route.hops)
    dead, _ = _trouble(walk)
    for place, one in enumerate(chain.hops, 1):
        hops = list(dict.fromkeys(hops_of((one,))))
        there = bool(left) and left[0] in hops
        position = len(walk.route.hops) - len(left) + 1 if there else None
        held = left.pop(0) if there else None
        failed = tuple((hop == held and position == dead) or _has_failed(walk, place, hop, members) for hop in hops)
        yield _Spot(tuple(printable(hop.name) for hop in hops), failed, position)
    if walk.destination:
        position = len(walk.route.hops) + 1
        yield _Spot((str(walk.destination),), (position == dead,), position)


def _has_failed(walk: Walk, place: int, hop: Hop, members: Sequence[Member]) -> bool:
    """Tell whether a member is to be marked; where no walk succeeded, only if it is sure that this hop failed."""
    member = next((one for one in members if (one.place, one.hop) == (place, hop)), None)
    if member is None or member.report is None or member.standing is not Standing.FAILED:
        return False
    return walk.error is None or _trouble(member.report.walk)[0] == member.report.position


def _trouble(walk: Walk) -> tuple[int | None, int | None]:
    """Return which of the places is dead, and the way to which of them is cut; the first hop's place is 1."""
    if walk.error is None:
        return None, None
    position, step = walk.failed_at or 1, walk.error.place.step
    if step == CONNECT or (step == RESOLVE and position == 1):
        return position, position
    if step == State.REQUEST and isinstance(walk.error, HopRefused | DialTimeout):
        return None, position + 1  # the hop did not reach the next one, and either of them may be guilty
    return position, None


def _was_not_begun(walk: Walk) -> bool:
    """Tell whether nothing was opened, because the chain cannot carry what it is asked for."""
    return walk.error is not None and walk.passed < (walk.failed_at or 1) - 1
