"""Curves over a count of hops, in SVG: what was measured as a line with points, what was expected as dashes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from chainsocks.tools.bench.plot import COLOURS, FAINT, INK

__all__ = ["Curve", "as_svg"]

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 148, 56, 52
APART = 15
"""Between the names at the ends of two curves."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """A name, and points from left to right."""

    name: str
    measured: Sequence[Point]
    expected: Sequence[Point]


class _Axes:
    """Where a point is in the picture."""

    def __init__(self, curves: Sequence[Curve]) -> None:
        points = [point for curve in curves for point in (*curve.measured, *curve.expected)]
        self.xs = sorted({x for x, _ in points})
        highest = max(y for _, y in points)
        power = 10.0 ** math.floor(math.log10(highest))
        step = next(power * part for part in (0.2, 0.5, 1, 2) if highest <= 8 * power * part)
        self.marks = [step * number for number in range(math.ceil(highest / step) + 1)]

    def x(self, value: float) -> float:
        first, last = self.xs[0], self.xs[-1]
        return LEFT + 16 + (WIDTH - LEFT - RIGHT - 32) * ((value - first) / (last - first) if last > first else 0.5)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.marks[-1]

    def path(self, points: Sequence[Point]) -> str:
        return " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)


def as_svg(title: str, curves: Sequence[Curve]) -> str:
    """Return the picture."""
    axes = _Axes(curves)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="24" y="30" font-size="15" font-weight="600">{escape(title)}</text>',
        *_draw_axes(axes),
    ]
    names = _places([axes.y(curve.measured[-1][1]) for curve in curves])
    for curve, colour, at in zip(curves, COLOURS[1:], names, strict=False):
        parts += _draw(curve, colour, at, axes)
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 10}" font-size="11">lines: measured; dashes: expected</text>')
    return "\n".join((*parts, "</svg>", ""))


def _draw_axes(axes: _Axes) -> Iterator[str]:
    for mark in axes.marks:
        y = axes.y(mark)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{FAINT}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" font-size="11">{mark:g}</text>'
    for value in axes.xs:
        yield f'<text x="{axes.x(value):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{value:g}</text>'


def _draw(curve: Curve, colour: str, name_at: float, axes: _Axes) -> Iterator[str]:
    yield (
        f'<polyline points="{axes.path(curve.expected)}" fill="none" stroke="{INK}" stroke-width="1" '
        'stroke-dasharray="3 4"/>'
    )
    yield f'<polyline points="{axes.path(curve.measured)}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for x, y in curve.measured:
        yield f'<circle cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="3.5" fill="{colour}"/>'
    last = curve.measured[-1][1]
    yield (
        f'<text x="{WIDTH - RIGHT + 6}" y="{name_at + 4:.1f}" fill="{colour}" font-weight="600">'
        f"{escape(curve.name)} {last:.2f}</text>"
    )


def _places(wanted: Sequence[float]) -> list[float]:
    """Move names apart that would be written over each other."""
    places = dict(enumerate(wanted))
    lowest = math.inf
    for index in sorted(places, key=lambda index: -places[index]):
        places[index] = lowest = min(places[index], lowest - APART)
    return [places[index] for index in range(len(wanted))]
