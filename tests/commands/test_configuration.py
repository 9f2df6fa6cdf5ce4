"""The configuration of a command. The options of `serve` are tested with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chainsocks.commands.configuration import load, with_options
from chainsocks.config.models import Config
from chainsocks.errors import ConfigError


def test_a_file_that_is_named_is_the_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chainsocks.toml").write_text("[server]\nworkers = 2")
    (tmp_path / "other.toml").write_text("[server]\nworkers = 3")
    assert load(None).server.workers == 2
    assert load(Path("other.toml")).server.workers == 3


def test_all_problems_of_options_are_reported_together() -> None:
    with pytest.raises(ConfigError) as caught:
        with_options(Config(), ("nonsense",), ("socks6://a",), None)
    assert [problem.path for problem in caught.value.problems] == ["--listen", "--hop"]
