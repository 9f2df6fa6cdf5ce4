"""A picture of a chain in one line, or in several on a narrow terminal, with the place marked where the walk ended.

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

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from chainsocks.chain.trip import CONNECT, RESOLVE
from chainsocks.config.groups import hops_of
from chainsocks.config.hops import Hop
from chainsocks.errors import DialTimeout, HopRefused
from chainsocks.protocol.address import printable
from chainsocks.protocol.handshake import State
from chainsocks.tools.probe.findings import Member, Standing
from chainsocks.tools.probe.walk import Walk

__all__ = ["ASCII", "SIGNS", "Signs", "fold", "picture"]

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


def picture(walk: Walk, signs: Signs, members: Sequence[Member] = ()) -> Text:
    """Draw a walk, and beside it the other hops that may stand where it went."""
    dead, cut = _trouble(walk)
    drawn, broken = Text("here"), _was_not_begun(walk)
    for position, hops in _places(walk, members):
        is_cut = position is not None and position == cut
        untried = broken or is_cut or position is None
        style = UNTRIED if untried else ""
        sign, sign_style = (signs.failed, FAILED) if is_cut else (signs.untried if untried else signs.passed, style)
        drawn.append(f" {sign}", sign_style)
        drawn.append(" ")
        drawn.append_text(_label(hops, signs, style, in_use=position is not None))
        broken = broken or is_cut or (position is not None and position == dead)
    return drawn


def fold(drawn: Text, signs: Signs, width: int) -> Iterator[Text]:
    """Yield the lines of a picture in `width` columns: each begins with a sign, and a place is in one line if it fits.

    The lines after the first are moved in.
    """
    arrows = "|".join(map(re.escape, (signs.passed, signs.failed, signs.untried)))
    places = drawn.divide([match.start() for match in re.finditer(rf" (?:{arrows}) ", drawn.plain)])
    line = places.pop(0)
    for place in places:
        if line.cell_len + place.cell_len > width:
            yield line
            line = Text("   ")
        line.append_text(place)
    yield line


_Marked = tuple[str, bool]
"""The name of a hop, and whether it has failed."""


def _label(hops: Sequence[_Marked], signs: Signs, style: str, *, in_use: bool) -> Text:
    """Name the hops that may stand at a place, and mark those that have failed."""
    names = [Text(f"[{signs.mark} {name}]", FAILED) if failed else Text(name, style) for name, failed in hops]
    if len(names) == 1 and (in_use or hops[0][1]):
        return names[0]
    return Text("(", style).append_text(Text(" | ", style).join(names)).append(")", style)


def _places(walk: Walk, members: Sequence[Member]) -> Iterator[tuple[int | None, list[_Marked]]]:
    """Go through the places of the chain and the destination, each with its position in the walk, if it is there."""
    dead, _ = _trouble(walk)
    left = list(walk.route.hops)
    for place, one in enumerate(walk.route.chain.hops, 1):
        hops = list(dict.fromkeys(hops_of((one,))))
        held = left.pop(0) if left and left[0] in hops else None
        position = len(walk.route.hops) - len(left) if held else None
        failed = ((hop == held and position == dead) or _has_failed(walk, place, hop, members) for hop in hops)
        yield position, [(printable(hop.name), mark) for hop, mark in zip(hops, failed, strict=True)]
    if walk.destination:
        position = len(walk.route.hops) + 1
        yield position, [(str(walk.destination), position == dead)]


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
