"""What is said of a value that does not fit, and the place that it has in the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from chainsocks.config.complaints import Place, as_written, describe_kind
from tests.config.files import problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[server]\nport = 1080\n", "server.port: unknown key; known are "),
        (
            "[server]\nlisten = [{ address = 1080, port = 1 }]\n",
            "server.listen[1].port: unknown key; known are address, ",
        ),
        ("[server]\nlisten = { address = 1080, port = 1 }\n", "server.listen.port: unknown key; known are address, "),
        ("[server]\nlisten = [{ names_only = 'off' }]\n", "server.listen[1].address: this key is missing"),
        ("[server]\nworkers = '2'\n", "server.workers: found '2', expected a whole number"),
        ("[server]\nworkers = -1\n", "server.workers: found -1, expected at least 0"),
        (
            "[server]\nident = 'of'\n",
            "server.ident: found 'of', expected 'off' or 'check' or",
        ),
        ("[hops]\na = { address = 5 }\n", "hops.a.address: expected a text in quotes"),
        ("[hops]\na = { username = 5 }\n", "hops.a.username: found something else, expected a text in quotes"),
        ("[hops]\na = 5\n", "hops.a: expected a URL or a table, found 5"),
        ("[groups]\na = 'bob:hunter2'\n", "groups.a: expected a list of hop names or a table, found a text"),
        ("[chains]\na = 5\n", 'chains.a: expected a list of hop names, a table, or "direct", found 5'),
        ("timeouts = 'x'\n", "timeouts: expected a table, found a text"),
        ("[[rules]]\nports = [25, {}]\ndeny = true\n", "rules[1].ports[2]: expected a text in quotes"),
    ],
)
def test_what_is_said(text: str, problem: str) -> None:
    [said] = problems(text)
    assert said.startswith(problem)


@pytest.mark.parametrize(
    ("raw", "location", "written"),
    [
        ({"ports": [25]}, ("ports", 0), ("ports", 0)),
        ({"ports": 25}, ("ports", 0), ("ports",)),
        ({"listen": {"mode": 5}}, ("listen", 0, "mode"), ("listen", "mode")),
        ({"listen": [{"mode": 5}]}, ("listen", 0, "mode"), ("listen", 0, "mode")),
        ({"listen": "x"}, ("listen", 0, "address"), ("listen",)),
        ({}, ("name",), ("name",)),
    ],
)
def test_a_place_is_that_in_the_file(raw: Mapping[str, Any], location: Place, written: Place) -> None:
    assert as_written(raw, location) == written


def test_a_text_in_place_of_a_table_is_not_repeated() -> None:
    values: list[object] = ["bob:hunter2", 5, [], True]
    assert [describe_kind(value) for value in values] == ["a text", "5", "a list", "true"]
