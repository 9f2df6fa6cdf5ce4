"""The index finds what trying one rule after the other finds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from chainsocks.config.hosts import host_of
from chainsocks.config.load import parse_config
from chainsocks.config.rules import Rule, Spoken
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import Command, Request
from chainsocks.routing.index import NONE, Index, Question, _Test
from chainsocks.routing.rules import Caller, Router
from tests.routing.reference import HEAD, Table, callers, first_match, requests, rule_tables, toml_of


def rules_of(*tables: str) -> tuple[Rule, ...]:
    return parse_config(HEAD + "".join(f"[[rules]]\n{table}\n" for table in tables)).rules


def question(host: str, port: int = 80, client: str = "", user: bytes | None = None) -> Question:
    return Question(host_of(Address(host, port)), port, Caller(client).ips, user, Command.CONNECT, Spoken.SOCKS5)


@settings(max_examples=200)
@given(rule_tables, requests, callers)
def test_it_finds_what_a_walk_through_all_rules_finds(tables: list[Table], request: Request, caller: Caller) -> None:
    config = parse_config(toml_of(tables) + HEAD)
    decision = Router(config).decide(request, caller)
    assert (decision.rule.number if decision.rule else None) == first_match(config.rules, request, caller)


def test_the_lowest_number_wins_in_whichever_branch_it_is() -> None:
    rules = rules_of(
        "to = ['10.0.0.0/8', 'example.org']\nports = 25\ndeny = true",
        "from = '192.168.0.0/16'\nchain = 'slow'",
        "to = '10.0.0.1'\nchain = 'onion'",
        "to = '.example.org'\nchain = 'direct'",
        "chain = 'slow'",
    )
    index = Index(rules)
    assert index.first(question("10.0.0.1", 25)) == 1
    assert index.first(question("10.0.0.1")) == 3
    assert index.first(question("10.0.0.1", client="192.168.1.1")) == 2
    assert index.first(question("10.0.0.2")) == 5
    assert index.first(question("example.org")) == 4
    assert index.first(question("www.example.org", 25)) == 4
    assert index.first(question("www.example.org", 25), before=4) == 4
    assert index.first(question("www.example.org", 25), before=3) == 3
    assert Index(rules[:4]).first(question("example.net")) == NONE


def test_without_where_a_request_goes() -> None:
    rules = rules_of("to = '10.0.0.0/8'\nusers = 'ident:carol'\ndeny = true", "to = '*.lan'\ndeny = true")
    index = Index(rules, where=False)
    assert index.first(question("example.org", user=b"ident:carol")) == 1
    assert index.first(question("example.org")) == 2


def test_many_rules_for_one_destination_are_sorted_by_what_else_they_want(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise they would all be tried, one after the other."""
    index = Index(
        rules_of(
            *(f"to = 'example.org'\nfrom = '10.0.{n}.0/24'\nchain = 'slow'" for n in range(100)),
            *(f"to = 'example.org'\nusers = 'ident:user{n}'\nchain = 'slow'" for n in range(100)),
            *(f"to = 'example.org'\nports = {n}\nchain = 'slow'" for n in range(1000, 1100)),
        )
    )
    tried = []
    passes = _Test.passes

    def count(test: _Test, asked: Question) -> bool:
        tried.append(test)
        return passes(test, asked)

    monkeypatch.setattr(_Test, "passes", count)
    for expected, asked in [
        (78, question("example.org", client="10.0.77.1")),
        (151, question("example.org", user=b"ident:user50")),
        (300, question("example.org", 1099)),
        (NONE, question("example.org", 1100, "10.1.0.1", b"nobody")),
    ]:
        tried.clear()
        assert index.first(asked) == expected
        assert len(tried) <= 1


def test_a_rule_with_very_many_hosts_and_clients_is_not_multiplied() -> None:
    networks = ", ".join(f"'10.{n >> 8}.{n & 255}.0/24'" for n in range(1500))
    index = Index(rules_of(f"to = [{networks}]\nfrom = [{networks}]\ncommands = 'connect'\nchain = 'slow'"))
    assert index.first(question("10.5.0.1", client="10.4.0.1")) == 1
    assert index.first(question("10.5.0.1", client="10.200.0.1")) == NONE
