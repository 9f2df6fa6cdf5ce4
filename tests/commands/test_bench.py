"""`chainsocks bench`, from the command line."""

from __future__ import annotations

import pytest

from tests.commands import run_main


def test_what_cannot_be_measured(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run_main(capsys, "bench", "--only", "nonsense")
    assert (status, out) == (2, "")
    assert "nonsense" in err
