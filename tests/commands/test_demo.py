"""`chainsocks demo`, from the command line."""

from __future__ import annotations

import pytest

from tests.commands import run_main


def test_the_demo_comes_to_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run_main(capsys, "demo")
    assert status == 0
    assert "The web server answered" in out
