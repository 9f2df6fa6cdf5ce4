"""Reloading a server."""

from __future__ import annotations

from chainsocks.errors import Problem
from chainsocks.server.reload import Outcome


def test_an_outcome_shows_each_problem_with_its_file() -> None:
    outcome = Outcome("/etc/c.toml", (Problem("server.listen", "is missing"), Problem("", "is odd")))
    assert not outcome.is_applied
    assert str(outcome) == "/etc/c.toml: server.listen: is missing\n/etc/c.toml: is odd"
    assert Outcome("/etc/c.toml").is_applied
    assert str(Outcome("/etc/c.toml")) == ""
