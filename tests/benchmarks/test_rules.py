"""The benchmark of rules measures what it says."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from benchmarks.rules import config_of, main, questions, walk
from chainsocks.routing.rules import Router


@pytest.mark.parametrize("size", [10, 300])
def test_both_find_the_same_rule_for_all_requests(size: int) -> None:
    config = config_of(size)
    router = Router(config)
    found = [router.decide(*question).rule for question in questions(size)]
    assert [rule and rule.number for rule in found] == [walk(config.rules, question) for question in questions(size)]
    assert any(found)
    assert not all(found)


def test_there_are_all_kinds_of_rules_and_the_same_ones_each_time() -> None:
    rules = config_of(300).rules
    assert rules == config_of(300).rules
    for key in ("to", "ports", "clients", "users", "commands", "versions"):
        assert any(getattr(rule, key) for rule in rules)


def test_a_smoke_run() -> None:
    done = CliRunner().invoke(main, ["--smoke"])
    assert done.exit_code == 0, done.output
    assert re.search(r"^1,000 rules, one by one +\d", done.output, re.MULTILINE)
    assert re.search(r"1,000 rules cost \d+\.\d\d times what 10 rules cost", done.output)
