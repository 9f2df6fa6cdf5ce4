"""`chainsocks manual`, from the command line."""

from __future__ import annotations

import pytest

from tests.commands import run_main


def test_a_page_of_the_manual(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run_main(capsys, "manual", "deadlines")
    assert (status, err) == (0, "")
    assert "handshake" in out
