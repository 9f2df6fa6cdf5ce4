"""The figures as bars, in SVG: the direct connection is 1.0, and every way is so many times that.

Figures of which more is better are one panel, those of which less is are others. What has no direct counterpart (CPU
time and memory of the relay) is in the table only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from chainsocks.tools.bench.figures import MEASURES, Column, Measure
from chainsocks.tools.bench.run import Report

__all__ = ["as_svg"]

MARGIN, LEFT, GAP = 24, 56, 18
"""Around everything; for the numbers of an axis; between two groups of bars."""
BAR, SPACE, NAME = 30, 3, 124
"""A bar; between two bars; what the name of a group needs."""
LINE, HEIGHT, ABOVE, BELOW = 34, 190, 50, 40
"""A line of the title; a panel's bars; above them, for its own title; below them, for the names of its groups."""
NARROWEST = 460

COLOURS = ("#8a8f98", "#2f6fb0", "#e08a1e", "#3a9a6b", "#b5489b", "#7a5ac2", "#c2453d")
"""The direct connection is grey; the others differ for colour-blind eyes too, by lightness, as long as they are few."""

INK, FAINT = "#22262b", "#d9dde2"


@dataclass(frozen=True, slots=True)
class _Group:
    """The bars of one measure, as multiples of the direct connection; None where there is no figure."""

    title: str
    values: tuple[float | None, ...]

    @property
    def width(self) -> int:
        """What its bars need, or else its name."""
        return max(len(self.values) * (BAR + SPACE) - SPACE, NAME)


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    groups: tuple[_Group, ...]

    @property
    def width(self) -> int:
        """All of it, with its axis."""
        return LEFT + GAP + sum(group.width + GAP for group in self.groups) + GAP

    @property
    def top(self) -> float:
        """The end of the axis: a round number, not below any bar, nor below 1."""
        return _round_up(max(value or 0 for group in self.groups for value in (*group.values, 1.0)))


def as_svg(report: Report) -> str:
    """Return the picture. Without a figure of the direct connection there is nothing in it but its title."""
    columns = report.columns
    rows = [row for row in ([panel for panel in row if panel.groups] for row in _rows(columns)) if row]
    width = max([sum(panel.width for panel in row) for row in rows] + [NARROWEST]) + 2 * MARGIN
    height = 2 * MARGIN + 2 * LINE + len(rows) * (ABOVE + HEIGHT + BELOW)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{MARGIN}" y="{MARGIN + 12}" font-size="16" font-weight="600">'
        "chainsocks bench: the direct connection is 1.0</text>",
        *_legend(columns),
    ]
    y = MARGIN + 2 * LINE + ABOVE
    for row in rows:
        x = MARGIN
        for panel in row:
            parts += _draw(panel, x, y)
            x += panel.width
        y += HEIGHT + BELOW + ABOVE
    return "\n".join((*parts, "</svg>", ""))


def _rows(columns: Sequence[Column]) -> Iterator[list[_Panel]]:
    """Yield the panels, from top to bottom and from left to right. Each has an axis of its own."""

    def panel(title: str, wanted: Callable[[Measure], bool]) -> _Panel:
        return _Panel(title, tuple(_groups(columns, filter(wanted, MEASURES))))

    def is_beside(measure: Measure) -> bool:
        return "beside" in measure.title

    yield [panel("more is better", lambda measure: measure.more_is_better)]
    yield [
        panel("less is better", lambda measure: not (measure.more_is_better or is_beside(measure))),
        panel("less is better, beside bulk", is_beside),
    ]


def _groups(columns: Sequence[Column], measures: Iterable[Measure]) -> Iterator[_Group]:
    """Yield those measures that the first column, which is the direct connection, has a figure for."""
    for measure in measures:
        base = columns[0].figures.get(measure) if columns else None
        if base:
            yield _Group(measure.title, tuple(_ratio(column, measure, base) for column in columns))


def _ratio(column: Column, measure: Measure, base: float) -> float | None:
    value = column.figures.get(measure)
    return None if value is None else value / base


def _legend(columns: Sequence[Column]) -> Iterator[str]:
    x, y = MARGIN, MARGIN + LINE
    for column, colour in zip(columns, _colours(len(columns)), strict=True):
        yield f'<rect x="{x}" y="{y}" width="12" height="12" rx="2" fill="{colour}"/>'
        yield f'<text x="{x + 18}" y="{y + 10}">{escape(column.name)}</text>'
        x += 18 + 8 * len(column.name) + GAP


def _draw(panel: _Panel, x: int, y: int) -> Iterator[str]:
    """Draw a panel from `x` on, whose bars go down from `y`: its title, the axis, and then group by group."""
    bottom = y + HEIGHT
    left, right = x + LEFT, x + panel.width - GAP
    yield f'<text x="{x}" y="{y - 26}" font-weight="600">{panel.title}</text>'
    for mark in _marks(panel.top):
        yield _line(left, right, bottom - HEIGHT * mark / panel.top, f'stroke="{FAINT}"')
        at = bottom - HEIGHT * mark / panel.top + 4
        yield f'<text x="{left - 8}" y="{at:.1f}" text-anchor="end" font-size="11">{mark:g}</text>'
    x = left + GAP
    for group in panel.groups:
        yield from _draw_group(group, x, bottom, HEIGHT / panel.top)
        x += group.width + GAP
    yield _line(left, right, bottom - HEIGHT / panel.top, f'stroke="{INK}" stroke-dasharray="4 3"')


def _draw_group(group: _Group, x: int, bottom: int, unit: float) -> Iterator[str]:
    """Draw the bars of a group from `x` on, `unit` for each 1.0, and its name below them."""
    indent = (group.width - len(group.values) * (BAR + SPACE) + SPACE) // 2
    for place, (value, colour) in enumerate(zip(group.values, _colours(len(group.values)), strict=True)):
        if value is not None:
            yield from _bar(x + indent + place * (BAR + SPACE), bottom, unit * value, value, colour)
    for number, text in enumerate(group.title.split(", ")):
        yield (
            f'<text x="{x + group.width / 2:.1f}" y="{bottom + 16 + 14 * number}" text-anchor="middle" '
            f'font-size="11">{escape(text)}</text>'
        )


def _line(left: float, right: float, y: float, style: str) -> str:
    return f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" {style}/>'


def _bar(x: float, bottom: float, height: float, value: float, colour: str) -> Iterator[str]:
    yield (
        f'<rect class="bar" x="{x:.1f}" y="{bottom - height:.1f}" width="{BAR}" height="{height:.1f}" '
        f'fill="{colour}"><title>{value:.3g}</title></rect>'
    )
    yield (
        f'<text x="{x + BAR / 2:.1f}" y="{bottom - height - 4:.1f}" text-anchor="middle" font-size="10">'
        f"{_short(value)}</text>"
    )


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _colours(count: int) -> list[str]:
    return [COLOURS[0] if place == 0 else COLOURS[1 + (place - 1) % (len(COLOURS) - 1)] for place in range(count)]


def _round_up(value: float) -> float:
    """Return 1, 1.5, 2, 3, 4, 5 or 8 times a power of ten, the least that is not below `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 1.5, 2, 3, 4, 5, 8, 10) if power * step >= value)


def _marks(top: float) -> list[float]:
    """Return the values to draw lines at: four or five steps from 0."""
    leading = round(top / 10.0 ** math.floor(math.log10(top)), 3)
    steps = 4 if leading in (2, 4, 8) else 3 if leading in (1.5, 3) else 5
    return [top * step / steps for step in range(steps + 1)]
