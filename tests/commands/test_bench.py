"""`chainsocks bench`, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import CHAINSOCKS, run_main, run_process
from tests.e2e.programs import clean_environment


def test_what_cannot_be_measured(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run_main(capsys, "bench", "--only", "nonsense")
    assert (status, out) == (2, "")
    assert "nonsense" in err


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">&-", "2>&-"], ids=["all", "the second", "the third"])
def test_a_closed_standard_descriptor_is_no_place_for_a_file_of_its_own(tmp_path: Path, closed: str) -> None:
    """The memory that it shares with its children would get the number, and their standard streams would replace it."""
    arguments = "bench --only idle --hops 1 --idle-sessions 5 --seconds 0.05"
    shell = ["/bin/sh", "-c", f"exec {CHAINSOCKS} {arguments} {closed}"]
    status, _, err = run_process(shell, clean_environment(tmp_path), tmp_path)
    assert (status, err) == (0, "")
