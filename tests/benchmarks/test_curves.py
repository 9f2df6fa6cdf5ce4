from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.curves import curves, save_curves

NAMED = {"off": [(1, 0.16, 0.16), (2, 0.37, 0.36), (3, 0.65, 0.64)], "chain": [(1, 0.1, 0.12), (2, 0.2, 0.2)]}


def test_each_name_has_a_line_as_measured_and_one_as_expected() -> None:
    [axes] = curves("dials", NAMED).axes
    lines = [list(map(tuple, np.asarray(line.get_xydata()).tolist())) for line in axes.lines]
    assert lines[:4] == [
        [(1, 0.16), (2, 0.36), (3, 0.64)],
        [(1, 0.16), (2, 0.37), (3, 0.65)],
        [(1, 0.12), (2, 0.2)],
        [(1, 0.1), (2, 0.2)],
    ]
    assert axes.get_legend_handles_labels()[1] == ["off: 0.65 s through 3", "chain: 0.20 s through 2", "expected"]


def test_the_file_is_svg(tmp_path: Path) -> None:
    save_curves("A <title> & more", NAMED, tmp_path / "dials.svg")
    assert "A &lt;title&gt; &amp; more" in (tmp_path / "dials.svg").read_text()
