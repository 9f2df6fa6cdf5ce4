"""`chainsocks check --explain`, as a function: the exit status tells whether the request is allowed."""

from __future__ import annotations

import json

import pytest

from chainsocks.commands.explain import explain
from chainsocks.config.load import parse_config


@pytest.mark.parametrize(("rule", "status"), [("deny = true", 1), ("chain = 'direct'", 0)])
def test_the_exit_status(capsys: pytest.CaptureFixture[str], rule: str, status: int) -> None:
    config = parse_config(f"[[rules]]\n{rule}\n")
    question = {"host": None, "user": None, "what": "connect", "socks": "5"}
    assert explain(config, "192.0.2.1:80", **question, as_json=True) == status  # type: ignore[arg-type]
    assert json.loads(capsys.readouterr().out)["rule"] == 1
