"""Groups in a file: what they become, and every way in which they cannot."""

from __future__ import annotations

import pytest

from chainsocks.config.chains import Chain
from chainsocks.config.choices import Pick
from chainsocks.config.groups import Group, hops_of
from chainsocks.config.hops import Hop
from chainsocks.config.load import parse_config
from chainsocks.config.models import Config, HealthSettings
from chainsocks.errors import ConfigError
from chainsocks.protocol.address import Address

HOPS = """
[hops]
paris = "socks5://10.0.0.1"
osaka = "socks5://10.0.0.2"
lima = "socks4://10.0.0.3"
named = "socks5://named.example"
"""


def read(text: str) -> Config:
    return parse_config(HOPS + text)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return [str(problem) for problem in caught.value.problems]


def test_a_list_is_a_group_for_failover() -> None:
    config = read('[groups]\nexits = ["osaka", "paris"]\n[chains]\ndefault = ["paris", "exits"]')
    group = config.groups["exits"]
    assert group == Group(config.hops["osaka"], config.hops["paris"], name="exits")
    assert (group.pick, group.hedge, group.retry_refused, group.check) == (Pick.FAILOVER, None, False, None)
    assert config.chains["default"] == Chain(config.hops["paris"], group)


def test_all_keys() -> None:
    config = read(
        """
        [groups.exits]
        hops = ["paris", "osaka", "named"]
        pick = "random"
        weights = { osaka = 3, named = 0.5 }
        hedge = 0.3
        retry_refused = true
        check = "30s"
        check_target = "example.org:443"
        [chains.default]
        hops = ["exits", "exits"]
        hedge = "500ms"
        skip_dead = true
        length = 1
        [health]
        rest = 1
        longest_rest = "5m"
        remeasure = 30
        """
    )
    group, chain = config.groups["exits"], config.chains["default"]
    assert (group.weights, group.hedge, group.retry_refused) == ((1, 3, 0.5), 0.3, True)
    assert (group.check, group.check_target) == (30, Address("example.org", 443))
    assert (chain.hedge, chain.skip_dead, chain.length) == (0.5, True, 1)
    assert config.health == HealthSettings(1, 300, 30)


@pytest.mark.parametrize("other", ["socks5://u:q@gw", "socks5://v:p@gw", "socks5://gw", "socks4a://u@gw"])
def test_hops_at_one_address_with_other_logins_or_protocols_are_other_hops(other: str) -> None:
    config = read(f'a = "socks5://u:p@gw"\nb = "{other}"\n[groups]\nx = ["a", "b"]\n[chains]\ndefault = ["x", "x"]')
    assert len({hop.identity for hop in config.groups["x"].hops if isinstance(hop, Hop)}) == 2


def test_a_hop_in_two_groups_of_a_group_is_the_same_hop_once() -> None:
    read('[groups]\nouter = ["inner", "paris"]\ninner = ["osaka", "paris"]\n[chains]\ndefault = ["outer", "outer"]')


def test_groups_in_groups_in_any_order() -> None:
    config = read('[groups]\nouter = ["inner", "paris"]\ninner = ["osaka", "lima"]\n[chains]\ndefault = ["outer"]')
    assert [hop.name for hop in hops_of(config.chains["default"].hops)] == ["osaka", "lima", "paris"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[groups]\nx = []", ["groups.x: expected at least one entry"]),
        ('[groups]\nx = ["oska"]', ["groups.x[1]: no hop or group is called 'oska'; did you mean 'osaka'?"]),
        (
            '[groups]\nx = ["direct"]',
            ['groups.x[1]: "direct" is no hop: to go without hops, use a rule that has chain = "direct"'],
        ),
        ('[groups]\nx = ["x"]', ["groups.x: a group cannot be a member of itself: x -> x"]),
        (
            '[groups]\nx = ["y"]\ny = ["z", "paris"]\nz = ["x"]',
            [
                f"groups.{circle[0]}: a group cannot be a member of itself: {circle}"
                for circle in ("x -> y -> z -> x", "y -> z -> x -> y", "z -> x -> y -> z")
            ],
        ),
        ('[groups]\nparis = ["osaka"]', ["groups.paris: this is the name of a hop, too; give one of them another"]),
        (
            '[groups]\nx = { hops = ["paris"], pick = "fast" }',
            [
                "groups.x.pick: found 'fast', expected 'failover' or 'round-robin' or 'random' or 'fastest' or 'sticky'"
                "; did you mean 'fastest'?"
            ],
        ),
        (
            '[groups]\nx = { hops = ["paris"], weights = { paris = 2 } }',
            ['groups.x: weights need pick = "random"'],
        ),
        (
            '[groups]\nx = { hops = ["paris"], pick = "random", weights = { osaka = 2 } }',
            ["groups.x.weights.osaka: this is none of its hops; known are paris"],
        ),
        (
            '[groups]\nx = { hops = ["paris"], pick = "random", weights = { paris = 0 } }',
            ["groups.x.weights.paris: found 0, expected more than 0"],
        ),
        (
            '[groups]\nx = { hops = ["paris"], check_target = "example.org:80" }',
            ['groups.x: check_target needs check, as in check = "30s"'],
        ),
        (
            '[groups]\nx = { hops = ["paris"], check = 5, check_target = "example.org" }',
            ["groups.x.check_target: 'example.org': a port is missing, as in example.org:1080"],
        ),
        (
            '[groups]\nx = { hops = ["y"], check = 5, check_target = "[2001:db8::1]:80" }\ny = ["osaka", "lima"]',
            [
                "groups.x.check_target: hop 'lima': socks4 cannot carry the IPv6 address of [2001:db8::1]:80; "
                "only socks5 and http can"
            ],
        ),
        ('[groups]\nx = { hops = ["paris"], hege = 5 }', ["groups.x.hege: unknown key; did you mean 'hedge'?"]),
        # Members that are the same.
        (
            '[groups]\nx = ["paris", "osaka", "paris"]',
            ["groups.x[3]: 'paris' is listed twice; take one out, or give `weights` to prefer it"],
        ),
        (
            '[groups]\nx = { hops = ["y", "y"] }\ny = ["paris"]',
            ["groups.x.hops[2]: 'y' is listed twice; take one out, or give `weights` to prefer it"],
        ),
        (
            'a = "socks5://u:p@gw:1080"\nb = "socks5h://u:p@gw"\n[groups]\nx = ["a", "paris", "b"]',
            ["groups.x[3]: 'b' is the same hop as 'a': same protocol, address and login; take one of them out"],
        ),
        (
            'a = { url = "socks5://gw", isolate = "session" }\nb = "socks5://gw"\n[groups]\nx = ["a", "b"]',
            ["groups.x[2]: 'b' is the same hop as 'a': same protocol, address and login; take one of them out"],
        ),
        ("[health]\nrest = 0", ['health.rest: found 0, expected more than 0 seconds; "off" disables it']),
        # Chains with groups in them.
        (
            '[groups]\nx = ["paris", "lima"]\n[chains]\ndefault = ["x", "named"]',
            [
                "chains.default[1]: plain socks4 cannot carry the name in named.example:1080; give this hop "
                'protocol = "socks4a", or resolve = "local" (which shows the name to the local resolver)'
            ],
        ),
        (
            '[chains]\ndefault = { hops = ["lima", "paris", "named"], skip_dead = true }',
            [
                "chains.default.hops[1]: plain socks4 cannot carry the name in named.example:1080; give this hop "
                'protocol = "socks4a", or resolve = "local" (which shows the name to the local resolver)'
            ],
        ),
        (
            '[groups]\nx = ["paris", "osaka"]\n[chains]\ndefault = ["x", "x", "x"]',
            ["chains.default.hops: its groups hold 3 places and have 2 hops for them"],
        ),
        (
            '[chains]\ndefault = { hops = ["paris"], hedge = 1 }',
            ["chains.default.hedge: it needs a group: only there is a next member to try"],
        ),
        (
            '[chains]\ndefault = { hops = ["paris", "osaka"], length = 1 }',
            ["chains.default: length needs skip_dead = true; without it, a chain uses all its hops"],
        ),
        (
            '[chains]\ndefault = { hops = ["paris", "osaka"], skip_dead = true, length = 3 }',
            ["chains.default: length is 3, but the chain has only 2 hops"],
        ),
    ],
)
def test_what_cannot_be(text: str, found: list[str]) -> None:
    assert [problem for problem in problems(text) if "default" not in problem or "default" in found[0]] == found
