"""Curves in SVG."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest

from benchmarks.curves import Curve, as_svg

SVG = "{http://www.w3.org/2000/svg}"


def points(line: ElementTree.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.attrib["points"].split())]


def test_a_picture_has_two_lines_for_each_curve() -> None:
    curves = [
        Curve("off", [(1, 0.16), (2, 0.37), (3, 0.65)], [(1, 0.16), (2, 0.36), (3, 0.64)]),
        Curve("<b>", [(1, 0.1), (2, 0.2), (3, 0.3)], [(1, 0.1), (2, 0.2), (3, 0.3)]),
    ]
    tree = ElementTree.fromstring(as_svg("seconds & hops", curves))
    lines = [points(line) for line in tree.iter(f"{SVG}polyline")]
    assert [len(line) for line in lines] == [3, 3, 3, 3]
    assert lines[2] == lines[3]  # measured as expected
    for line in lines:
        assert [x for x, _ in line] == sorted({x for x, _ in line})
        assert [y for _, y in line] == sorted({y for _, y in line}, reverse=True)  # more is higher
    texts = [text.text or "" for text in tree.iter(f"{SVG}text")]
    assert "seconds & hops" in texts
    assert "off 0.65" in texts
    assert "<b> 0.30" in texts


@pytest.mark.parametrize("highest", [0.00042, 0.95, 1.0, 1.49, 7.3, 812.0])
def test_the_axis_reaches_above_every_point_in_a_few_round_steps(highest: float) -> None:
    tree = ElementTree.fromstring(as_svg("x", [Curve("a", [(1, highest)], [(1, highest)])]))
    marks = [float(text.text or "") for text in tree.iter(f"{SVG}text") if text.get("text-anchor") == "end"]
    assert 3 <= len(marks) <= 10
    assert marks[0] == 0
    assert marks[-1] >= highest * 0.999


def test_names_do_not_lie_on_each_other() -> None:
    same = [(1.0, 1.0), (2.0, 2.0)]
    tree = ElementTree.fromstring(as_svg("x", [Curve(name, same, same) for name in "abc"]))
    heights = sorted(float(text.attrib["y"]) for text in tree.iter(f"{SVG}text") if (text.text or "").endswith(" 2.00"))
    assert len(heights) == 3
    assert min(below - above for above, below in pairwise(heights)) >= 12
