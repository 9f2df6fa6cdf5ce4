"""`chainsocks schema`: JSON on standard output."""

from __future__ import annotations

import json

import pytest

from chainsocks.config.sections import SECTIONS
from tests.commands import run_main


def test_the_output_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run_main(capsys, "schema")
    assert (status, err) == (0, "")
    assert list(json.loads(out)["properties"]) == list(SECTIONS)
