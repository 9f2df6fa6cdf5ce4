"""What `check` and `serve` warn of. Most warnings are tested with the rest of `check`; here are those about rules."""

from __future__ import annotations

import pytest

from chainsocks.tools.warnings import warnings
from tests.config.files import read

HEAD = "[hops]\ntor = 'socks5://127.0.0.1:9050'\n[chains]\nonion = ['tor']\n"


def warned(*rules: str) -> list[str]:
    return warnings(read(HEAD + "".join(f"[[rules]]\n{rule}\n" for rule in rules)))


@pytest.mark.parametrize(
    ("rules", "blocked"),
    [
        (["deny = true", "to = 'x'\nchain = 'direct'"], {2: "rule 1"}),
        (["to = 'x'\nchain = 'direct'", "deny = true"], {}),
        (["ports = 25\ndeny = true", "to = 'x'\nchain = 'direct'"], {}),
        (["to = '*.org'\ndeny = true", "to = '*.example.org'\nports = 25\nchain = 'direct'"], {2: "rule 1"}),
        (["to = '*.org'\ndeny = true", "to = ['org', 'a.org']\nchain = 'direct'"], {}),
        (["to = '.org'\ndeny = true", "to = ['org', 'a.org', '*.org']\nchain = 'direct'"], {2: "rule 1"}),
        (["to = 'a.org'\ndeny = true", "to = '*.org'\nchain = 'direct'"], {}),
        (["to = '10.0.0.0/8'\ndeny = true", "to = '10.1.0.0/16'\nchain = 'direct'"], {2: "rule 1"}),
        (["to = '10.1.0.0/16'\ndeny = true", "to = '10.0.0.0/8'\nchain = 'direct'"], {}),
        (["to = '10.0.0.0/16'\ndeny = true", "to = '10.0.0.0/8'\nchain = 'direct'"], {}),
        (["to = '::/0'\ndeny = true", "to = '10.0.0.0/8'\nchain = 'direct'"], {}),
        (["to = '0.0.0.0/0'\ndeny = true", "chain = 'direct'"], {}),
        (["to = 'a'\ndeny = true", "to = 'b'\ndeny = true", "to = ['a', 'b']\nchain = 'direct'"], {3: "rules 1-2"}),
        (["from = '10.0.0.0/8'\ndeny = true", "from = '10.0.0.0/8'\nchain = 'direct'"], {}),
    ],
)
def test_a_rule_that_can_never_match(rules: list[str], blocked: dict[int, str]) -> None:
    assert warned(*rules) == [
        f"rule {number} can never match: all of it is matched first by {by}" for number, by in blocked.items()
    ]


def test_not_a_thousand_warnings() -> None:
    found = warned("deny = true", *["to = 'x'\nchain = 'direct'"] * 1000)
    assert len(found) == 11
    assert found[-1] == "990 more rules can never match"


def test_look_ups_are_warned_of_in_one_line() -> None:
    rule = "to = '10.0.0.0/8'\nports = {}\nresolve = true\ndeny = true"
    ports = [rule.format(port) for port in (1, 2, 3)]
    assert warned(ports[0]) == [
        "names are resolved locally for rule 1 (resolve): the local resolver sees the destinations"
    ]
    [warning] = warned(*ports[:2], "to = 'x'\nchain = 'direct'", ports[2])
    assert "for rules 1-2, 4 (resolve)" in warning


@pytest.mark.parametrize(
    ("listen", "warned"),
    [
        ('"[::]:1080"', True),
        ('["[::]:1080", "0.0.0.0:1080"]', False),
        ('["[::]:1080", "0.0.0.0:1081"]', True),
        ('["[::]:1080", "192.0.2.1:1080"]', False),
        ('"[::1]:1080"', False),
    ],
)
def test_all_addresses_by_ipv6_are_none_by_ipv4(listen: str, warned: bool) -> None:  # noqa: FBT001
    found = warnings(read(f"[server]\nopen = true\nlisten = {listen}\n"))
    expected = "[::]:1080 accepts clients by IPv6 only: listen on 0.0.0.0:1080 as well for IPv4"
    assert found == ([expected] if warned else [])
