"""The picture: well-formed, a bar for each figure that can be compared, as high as it says."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

import pytest

from chainsocks.tools.bench.figures import MEASURES, Column, Measure, Unit
from chainsocks.tools.bench.plot import as_svg
from chainsocks.tools.bench.run import Report

SVG = "{http://www.w3.org/2000/svg}"
COMPARED = [measure for measure in MEASURES if measure.unit in (Unit.RATE, Unit.SESSIONS, Unit.LATENCY)]
NOT_COMPARED = [measure for measure in MEASURES if measure not in COMPARED]


def report(*names: str) -> Report:
    """The direct way, and each further one worse by its number; what costs a relay only, only relays have."""
    columns = []
    for number, name in enumerate(names, 1):
        figures = {measure: 100.0 / number if measure.more_is_better else 100.0 * number for measure in COMPARED}
        figures |= {measure: 7.0 for measure in NOT_COMPARED if number > 1}
        columns.append(Column(name, (), figures))
    return Report(1, columns)


def draw(report: Report) -> ElementTree.Element:
    return ElementTree.fromstring(as_svg(report))


def bars(picture: ElementTree.Element) -> list[ElementTree.Element]:
    return [rect for rect in picture.iter(f"{SVG}rect") if rect.get("class") == "bar"]


def numbers(element: ElementTree.Element, *names: str) -> list[float]:
    return [float(element.get(name, "nan")) for name in names]


def texts(picture: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in picture.iter(f"{SVG}text")]


def test_a_bar_for_each_figure_that_the_direct_way_has_too() -> None:
    assert len(bars(draw(report("direct", "1 hop", "2 hops")))) == 3 * len(COMPARED)


def test_bars_are_as_high_as_they_say() -> None:
    picture = draw(report("direct", "1 hop", "2 hops"))
    heights = [float(bar.get("height", "nan")) for bar in bars(picture)]
    said = [bar.findtext(f"{SVG}title") for bar in bars(picture)]
    more, less = ["1", "0.5", "0.333"], ["1", "2", "3"]
    flows = sum(measure.more_is_better for measure in COMPARED)
    assert said == more * flows + less * (len(COMPARED) - flows)
    for first in range(0, len(heights), 3):
        for height, text in zip(heights[first : first + 3], said[first : first + 3], strict=True):
            assert height / heights[first] == pytest.approx(float(text or "nan"), abs=0.01)


def test_the_direct_bars_reach_the_line_at_one() -> None:
    picture = draw(report("direct", "1 hop"))
    ones = {float(line.get("y1", "nan")) for line in picture.iter(f"{SVG}line") if line.get("stroke-dasharray")}
    tops = {float(bar.get("y", "nan")) for bar in bars(picture)[::2]}
    assert len(ones) == 2, "the panels in a row have theirs at the same height here"
    assert sorted(tops) == pytest.approx(sorted(ones), abs=0.11)


def test_the_best_bar_fills_its_panel_and_none_leaves_the_picture() -> None:
    picture = draw(report("direct", *(f"{number} hops" for number in range(1, 7))))
    width, height = numbers(picture, "width", "height")
    assert max(float(bar.get("height", "nan")) for bar in bars(picture)) > 100
    for bar in bars(picture):
        x, y, wide, high = numbers(bar, "x", "y", "width", "height")
        assert 0 < x < x + wide < width
        assert 0 < y < y + high < height


def test_no_bar_stands_in_another() -> None:
    boxes = [numbers(bar, "x", "y", "width", "height") for bar in bars(draw(report("direct", "1 hop", "2 hops")))]
    for (x, y, wide, high), (other_x, other_y, other_wide, other_high) in itertools.combinations(boxes, 2):
        apart = x + wide <= other_x or other_x + other_wide <= x or y + high <= other_y or other_y + other_high <= y
        assert apart


def test_ways_are_told_apart() -> None:
    picture = draw(report("direct", *(f"{number} hops" for number in range(1, 7))))
    assert len({bar.get("fill") for bar in bars(picture)}) == 7


def test_the_words() -> None:
    words = texts(draw(report("direct", "<a & b>")))
    assert {"direct", "<a & b>", "more is better", "less is better", "less is better, beside bulk"} <= set(words)
    assert {"bulk up", "bulk down", "8 streams", "sessions", "echo", "p99"} <= set(words)


def test_a_figure_that_is_missing_is_no_bar() -> None:
    figures = report("direct", "1 hop")
    del figures.columns[1].figures[COMPARED[0]]
    del figures.columns[0].figures[COMPARED[1]]
    assert len(bars(draw(figures))) == 2 * len(COMPARED) - 3


@pytest.mark.parametrize("columns", [[], [Column("direct", ())], [Column("direct", (), {COMPARED[0]: 0.0})]])
def test_with_nothing_to_compare_it_is_still_a_picture(columns: list[Column]) -> None:
    picture = draw(Report(1, columns))
    assert bars(picture) == []
    assert "less is better" not in texts(picture)


@pytest.mark.parametrize("factor", [0.001, 0.4, 1, 1.01, 1.4, 9.99, 1234])
def test_an_axis_has_round_marks(factor: float) -> None:
    measure: Measure = COMPARED[-1]
    figures = Report(1, [Column("direct", (), {measure: 1.0}), Column("proxy", (), {measure: factor})])
    marks = [text.text for text in draw(figures).iter(f"{SVG}text") if text.get("text-anchor") == "end"]
    assert 4 <= len(marks) <= 6
    assert all(len((mark or "").replace(".", "").strip("0")) <= 2 for mark in marks)
    assert float(marks[-1] or "nan") >= max(1, factor)
